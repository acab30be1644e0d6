"""What engines have done by now: for tests in which something has to come before something else."""

from __future__ import annotations

from tests.flow.conftest import DEADLINE_S, Site

# The turn that is under way may have asked for events before; the next one hears of all that is
# here, and is over when the third has begun.
TURNS = 3


def all_is_heard(site: Site) -> None:
    """Wait until the engines have dealt with what clients and servers have sent them, and go by
    the configuration that was published last."""
    for _ in range(TURNS):
        assert site.balancer._instance.running().engines.settle(DEADLINE_S)


def time_passes(site: Site, duration: str) -> None:
    """Move the clock when what was sent until now is there, and wait until what is due is done."""
    all_is_heard(site)
    site.advance(duration)
    all_is_heard(site)
