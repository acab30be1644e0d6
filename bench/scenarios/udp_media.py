"""Large datagrams one way at a fixed rate, as media servers have them."""

from bench.methods import BUSY, LOST, P50, P99, RESIDENT, datagram_stream
from bench.model import MEDIA, UDP_STREAM, Column, Datagrams, Scenario, Target
from bench.scenarios.udp_echo import PEERS

RATE = 100_000

SCENARIO = Scenario(
    name="udp_media",
    title=f"UDP one way, {RATE:,} datagrams of 1,200 bytes a second, 8 flows",
    mode=UDP_STREAM,
    kind=MEDIA,
    columns=(
        Column("cpu_us", "CPU us/datagram", 2),
        Column("requests_s", "datagrams/s", 0),
        P50,
        P99,
        LOST,
        RESIDENT,
        BUSY,
    ),
    measure=datagram_stream,
    datagrams=Datagrams(8, 1200, RATE),
    targets=(
        Target(0.50, PEERS),
        Target(0.50, PEERS, of="fastlb-coalesce"),
        Target(0.0, ("direct",), more=True, key=LOST.key),
    ),
    order=71,
    notes=(
        'fastlb-coalesce: the same with coalesce = "1ms": what follows other datagrams waits so'
        " long at most.",
        "Datagrams leave every 0.5 ms, what is due of a flow together; p50 and p99 are of the way"
        " to the server.",
        "Cost is over those that arrived: what a balancer loses makes the others dearer.",
        "A bare relay in C that receives and sends many at once, as fastlb does, costs 0.49 of"
        " nginx.",
    ),
)
