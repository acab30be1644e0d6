"""User memory of 4,000 idle relays."""

from bench.methods import IDLE_WARM_CONNECTIONS, RESIDENT, idle_relays
from bench.model import IDLE, SMALL_EXCHANGE_BYTES, Column, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="tcp_idle",
    title="User memory of an idle relay (both sides), 4,000 of them",
    mode="tcp",
    kind=IDLE,
    columns=(
        Column("bytes_per_relay", "bytes/relay", 0),
        Column("before_mib", "before MiB"),
        Column("after_mib", "after MiB"),
        RESIDENT,
    ),
    measure=idle_relays,
    traffic=Traffic(4000, "/small", SMALL_EXCHANGE_BYTES, "idle"),
    targets=(Target(1024),),
    direct=False,
    rounds_max=3,
    order=50,
    notes=(
        f"Anonymous memory of the whole process tree after {IDLE_WARM_CONNECTIONS} connections "
        "have come and gone, and again with 4,000 idle relays that each did one exchange. A "
        "balancer that sets memory aside at its start shows it under `before`.",
    ),
)
