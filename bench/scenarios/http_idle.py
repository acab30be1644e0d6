"""User memory of 4,000 idle HTTP connections."""

from bench.methods import IDLE_WARM_CONNECTIONS, RESIDENT, idle_relays
from bench.model import IDLE, SMALL_EXCHANGE_BYTES, Column, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_idle",
    title="User memory of an idle keep-alive HTTP connection, 4,000 of them",
    mode="http",
    kind=IDLE,
    columns=(
        Column("bytes_per_relay", "bytes/connection", 0),
        Column("before_mib", "before MiB"),
        Column("after_mib", "after MiB"),
        RESIDENT,
    ),
    measure=idle_relays,
    traffic=Traffic(4000, "/small", SMALL_EXCHANGE_BYTES, "idle"),
    targets=(Target(1024),),
    direct=False,
    rounds_max=3,
    order=160,
    notes=(
        f"Anonymous memory of the whole process tree after {IDLE_WARM_CONNECTIONS} connections "
        "have come and gone, and again with 4,000 connections that each did one exchange and wait "
        "for their next. They open 64 at a time, so few connections to the servers are kept.",
    ),
)
