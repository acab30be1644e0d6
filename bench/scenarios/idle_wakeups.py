"""How often a balancer without any traffic wakes up."""

from bench.methods import RESIDENT, WAKEUP_SECONDS, idle_wakeups
from bench.model import IDLE, Column, Scenario, Target

SCENARIO = Scenario(
    name="idle_wakeups",
    title="Wake-ups of an idle balancer",
    mode="tcp",
    kind=IDLE,
    columns=(
        Column("wakeups_s", "wake-ups/s"),
        Column("cpu_us_s", "CPU us/s", 0),
        RESIDENT,
    ),
    measure=idle_wakeups,
    targets=(Target(1.0),),
    direct=False,
    rounds_max=1,
    order=60,
    notes=(f"Voluntary context switches of all threads over {WAKEUP_SECONDS:.0f} s.",),
)
