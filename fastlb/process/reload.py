"""Another configuration for a running balancer: all of it, or nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastlb.config.diff import Difference
from fastlb.config.effective import Effective
from fastlb.control.addresses import names as names_of
from fastlb.control.addresses import unresolved
from fastlb.control.events import Event
from fastlb.errors import NOT_RUNNING, BindError, ConfigError
from fastlb.process.machine import check_parser
from fastlb.process.reopen import SocketSet, reopen

if TYPE_CHECKING:
    from fastlb.process.runtime import Runtime

log = logging.getLogger("fastlb")

SEEN_S = 1.0        # for all engines to go by it, before we say so
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
        raise RuntimeError(NOT_RUNNING)
    async with runtime.edits.lock:
        if runtime.stopping:
            raise RuntimeError("the balancer is stopping")
        threads = 0 if runtime.engines.inline else len(runtime.engines.all)
        warnings = fixed(runtime.effective, new, threads)
        before = runtime.snapshot
        reopened = await _publish(runtime, new)
        for name in runtime.overlay.keep(pool.name for pool in new.pools):
            warnings.append(f"what was set for pool {name} went with it")
        runtime.tell_parent(reopened.renamed(), [])
        await _close(runtime, reopened)
        if before is not None:
            await runtime.wait(lambda: not runtime.any_uses(before), min(SEEN_S, ADOPT_S))
        names = {one.label for one in runtime.listening}
        runtime.tell_parent([], [one for one in reopened.before if one.label not in names])
    return warnings + reopened.warnings


async def _publish(runtime: Runtime, new: Effective) -> SocketSet:
    old, listening, dns = runtime.effective, runtime.listening, runtime.effective.dns
    plans = runtime.plans.known
    check_parser(new)
    pools = runtime.overlay.applied(new.pools)
    names = names_of(pools)
    reopened = reopen(new.listeners, listening, runtime.leaving.all, runtime.ids,
                      len(runtime.engines.all))
    taken = runtime.leaving.take_back(reopened.all)
    try:
        networks = await runtime.networks.learn(new.networks)
        geography = await runtime.geography.learn(new.geo)
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
        runtime.policies.settle()
    except BaseException:
        runtime.effective, runtime.listening = old, listening
        runtime.policies.restore()
        runtime.plans.use(plans)
        runtime.observing.configure(old)
        runtime.discovery.configure(dns)
        runtime.discovery.keep(names_of(runtime.overlay.applied(old.pools)))
        runtime.networks.keep(old.networks)
        runtime.geography.keep(old.geo)
        for one in reopened.new:
            one.close()
        runtime.leaving.put_back(taken)
        raise
    runtime.networks.follow(new.networks, networks)
    runtime.geography.follow(new.geo, geography)
    reopened.tune()
    runtime.discovery.keep(names)
    for one in reopened.new:
        log.info("listener %s: %s", one.listener, one.address)
    return reopened


async def _close(runtime: Runtime, reopened: SocketSet) -> None:
    """When no engine accepts on them any more: closing first would reset who waits there."""
    runtime.leaving.add(reopened.gone, runtime.retired)
    await runtime.wait(lambda: not any(one.sockets for one in reopened.gone), ADOPT_S)
    for one in reopened.gone:
        if one.sockets:
            log.warning("listener %s: %s is closed when the policy that holds up an engine is done",
                        one.listener, one.address)


def tell_reloaded(runtime: Runtime, warnings: list[str], differences: int) -> None:
    for warning in warnings:
        log.warning("reload: %s", warning)
    text = f"reloaded; differences: {differences}"
    log.info("%s", text)
    runtime.events.put(Event("", "", "reloaded", text))


def tell_refused(runtime: Runtime, error: ConfigError | BindError) -> None:
    """Tell whoever follows events that a reload changed nothing. (Whoever asked for it logs it.)"""
    why = str(error).partition("\n")[0]
    runtime.events.put(Event("", "", "refused", f"a reload changed nothing: {why}"))
