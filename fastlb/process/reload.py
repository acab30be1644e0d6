"""Another configuration for a running balancer: all of it, or nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastlb._core.tables.snapshot import Snapshot
from fastlb.config.diff import Difference
from fastlb.config.effective import Effective
from fastlb.control.addresses import names as names_of
from fastlb.control.addresses import unresolved
from fastlb.process.reopen import Reopened, reopen
from fastlb.process.sockets import Listening

if TYPE_CHECKING:
    from fastlb.process.runtime import Runtime

log = logging.getLogger("fastlb")

ADOPT_S = 10.0      # an engine takes a turn within milliseconds, unless a policy holds it up


@dataclass(frozen=True)
class Reloaded:
    """What a reload did: what is different now, and what could not be changed."""

    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]


def fixed(old: Effective, new: Effective, threads: int) -> list[str]:
    """What only a new process can change."""
    warnings = []
    if threads and new.threads != old.threads:
        warnings.append(
            f"threads stays {threads}: a running process keeps its engines (fastlb upgrade, or"
            " a restart, changes that)"
        )
    if new.busy_poll != old.busy_poll:
        warnings.append("busy_poll stays as it was until the process is started anew")
    return warnings


async def reload(runtime: Runtime, new: Effective) -> list[str]:
    """Serve another configuration from now on; returns warnings. ConfigError or BindError say
    why not, and then all is as it was."""
    if runtime.loop is None or runtime.stopping:
        raise RuntimeError("the balancer isn't running")
    async with runtime.changing.lock:
        if runtime.stopping:
            raise RuntimeError("the balancer is stopping")
        threads = 0 if runtime.engines.inline else len(runtime.engines.all)
        warnings = fixed(runtime.effective, new, threads)
        before = runtime.snapshot
        reopened = await _publish(runtime, new)
        for name in runtime.overlay.keep(pool.name for pool in new.pools):
            warnings.append(f"what was set for pool {name} went with it")
        runtime.tell_parent(reopened.renamed(), [])
        await _close(runtime, reopened.gone, before)
        names = {one.label for one in runtime.listening}
        runtime.tell_parent([], [one for one in reopened.before if one.label not in names])
    return warnings + reopened.warnings


async def _publish(runtime: Runtime, new: Effective) -> Reopened:
    old, listening, dns = runtime.effective, runtime.listening, runtime.effective.dns
    runtime.check_parser(new)
    pools = runtime.overlay.applied(new.pools)
    names = names_of(pools)
    reopened = reopen(new.listeners, listening, runtime.ids, len(runtime.engines.all))
    try:
        runtime.discovery.configure(new.dns)
        failures = await runtime.discovery.learn(names)
        if failures:
            raise unresolved(pools, failures)
        if runtime.stopping:
            raise RuntimeError("the balancer is stopping")
        runtime.policies.refresh(new.listeners)
        runtime.observing.configure(new)
        runtime.effective, runtime.listening = new, reopened.all
        runtime.update()
    except BaseException:
        runtime.effective, runtime.listening = old, listening
        runtime.policies.restore()
        runtime.observing.configure(old)
        runtime.discovery.configure(dns)
        runtime.discovery.keep(names_of(runtime.overlay.applied(old.pools)))
        for one in reopened.new:
            one.close()
        raise
    reopened.tune()
    runtime.discovery.keep(names)
    for one in reopened.new:
        log.info("listener %s: %s", one.listener, one.address)
    return reopened


async def _close(runtime: Runtime, gone: list[Listening], before: Snapshot | None) -> None:
    """When no engine accepts on them any more: closing first would reset who waits there."""
    try:
        if before is not None and gone:
            await runtime.wait(lambda: not runtime.any_uses(before), ADOPT_S)
    finally:
        for one in gone:
            log.info("listener %s: %s is closed", one.listener, one.address)
            one.close()
