"""Small datagrams and their answers on 64 flows, as games and DNS have them."""

from bench.methods import BUSY, LOST, P50, P99, RESIDENT, steady_load
from bench.model import SMALL, UDP, Column, Datagrams, Scenario, Target

PEERS = ("nginx", "nginx-debian", "envoy")

SCENARIO = Scenario(
    name="udp_echo",
    title="UDP echo of 100 bytes, 64 flows with a datagram each under way",
    mode=UDP,
    kind=SMALL,
    columns=(
        Column("cpu_us", "CPU us/pair", 2),
        Column("requests_s", "pairs/s", 0),
        P50,
        P99,
        LOST,
        RESIDENT,
        BUSY,
    ),
    measure=steady_load,
    datagrams=Datagrams(64, 100),
    targets=(
        Target(0.60, PEERS),
        Target(0.0, ("direct",), more=True, key=LOST.key),
    ),
    syscalls=True,
    order=70,
    notes=(
        "A pair is a datagram to the server and its answer; sessions begin before the window.",
        "A bare relay in C with the same four calls a pair costs 0.79 to 0.91 of nginx: what is"
        " left is the kernel's.",
    ),
)
