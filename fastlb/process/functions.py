"""Functions that a configuration names: "module:function"."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastlb.compile.policies import is_async
from fastlb.config.effective import EffectiveListener
from fastlb.config.plan import EffectivePlan
from fastlb.config.policy import EffectivePolicy
from fastlb.config.rate_limits import EffectiveRateLimit
from fastlb.errors import ConfigError, Problem

END_S = 1.0                 # for a call that is cancelled to end; who takes longer is left behind

Told = set[tuple[str, str, int]]        # kinds of failures, each with its place


class Exited(Exception):
    """A function wanted to end the process, by sys.exit() or like Ctrl-C."""


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs on this thread, if any does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def run_function(function: Callable[[Any], Any], about: object) -> Any:
    """Await a function of the user's. Raises what it raised, and Exited for sys.exit()."""
    try:
        return await function(about)
    except (SystemExit, KeyboardInterrupt) as error:        # (a task would stop the loop with it)
        raise Exited(f"it raised {error!r}").with_traceback(error.__traceback__) from None


def call_function(function: Callable[[Any], Any], about: object) -> Any:
    """Call a function of the user's on a thread. Raises what it raised, and Exited for sys.exit().
    """
    try:
        return function(about)
    except (SystemExit, KeyboardInterrupt) as error:
        raise Exited(f"it raised {error!r}").with_traceback(error.__traceback__) from None


def is_told(error: BaseException, told: Told) -> bool:
    """Whether such an error from that line is in `told` already; now it is."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = (type(error).__name__, last.filename if last else "", (last and last.lineno) or 0)
    if where in told:
        return True
    told.add(where)
    return False


def find(
    call: str | Callable[..., Any], where: str, blocking: bool = False, at_once: bool = False,
    argument: str = "the request or connection",
) -> Callable[..., Any]:
    """The function that is meant, which may lie in the working directory. Raises ConfigError where
    there is none, or none that can be called with one argument; `where` is the key's path.
    `at_once`: nobody can wait for what it says."""
    function = call if not isinstance(call, str) else _imported(call, where)
    name = call if isinstance(call, str) else getattr(call, "__qualname__", repr(call))
    if not callable(function):
        raise _error(f"{name} is no function", where)
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise _error(
            f"{name} can't be called with one argument, {argument}", where
        ) from None
    except ValueError:
        pass                            # (of a builtin, which doesn't tell)
    if blocking and is_async(function):
        raise _error(f"{name} is an async function, which doesn't block: leave it out",
                     f"{where}.blocking")
    if at_once and (blocking or is_async(function)):
        raise _error(f"{name} can't be waited for where each datagram is decided about: write a"
                     " plain function, without blocking", where)
    return function


def look_beside(config: str) -> None:
    """Let functions lie in the directory of a configuration file, too."""
    directory = os.path.dirname(os.path.abspath(config))
    if directory not in sys.path:
        sys.path.append(directory)


def find_all(listeners: list[EffectiveListener]) -> None:
    """Look for all functions that listeners name. Raises ConfigError with all that can't be found.
    """
    problems: list[Problem] = []
    for where, policy, at_once in policies_of(listeners):
        try:
            find(policy.call, where, policy.blocking, at_once)
        except ConfigError as error:
            problems += error.problems
    for where, _, plan in plans_of(listeners):
        try:
            find(plan.call, where, argument="the key's value")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def policies_of(
    listeners: list[EffectiveListener],
) -> Iterator[tuple[str, EffectivePolicy, bool]]:
    """All that a configuration names, with their keys' paths, and whether they decide at once."""
    for listener in listeners:
        where = f"listeners.{listener.name}"
        for route, policy in listener.policies:
            at_once = listener.udp is not None and listener.udp.each
            yield f"{where}.routes.{route}.policy" if route else f"{where}.policy", policy, at_once


def plans_of(
    listeners: Iterable[EffectiveListener],
) -> Iterator[tuple[str, EffectiveRateLimit, EffectivePlan]]:
    """Yield each rate limit that has a plan once, with the path of its key."""
    names = set()
    for listener in listeners:
        for limit, plan in listener.plans:
            if limit.name not in names:
                names.add(limit.name)
                # (one without a name is called by its place, such as web/api)
                where = "rate_limit " if "/" in limit.name else "rate_limits."
                yield f"{where}{limit.name}.plan", limit, plan


def calls_of(listeners: list[EffectiveListener]) -> Iterator[tuple[str, str]]:
    """Yield each "module:function" that listeners name, with the path of its key."""
    for where, policy, _ in policies_of(listeners):
        if isinstance(policy.call, str):
            yield policy.call, where
    for where, _, plan in plans_of(listeners):
        if isinstance(plan.call, str):
            yield plan.call, where


def _imported(call: str, where: str) -> Any:
    module_name, _, name = call.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())    # (after what is installed, which nobody is to shadow)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        said = f"{call}: there is no module {error.name!r}{_places(module_name, error)}"
        raise _error(said, where) from None
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise _error(f"{call}: {module_name} can't be imported: {error!r}", where) from error
    try:
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        file = getattr(sys.modules[module_name], "__file__", None) or "it is part of Python"
        raise _error(f"{call}: {module_name} ({file}) has no {name!r}", where) from None
    return found


def _places(wanted: str, error: ModuleNotFoundError) -> str:
    """Where a module has to be: the end of a sentence. "" for what another module imports."""
    if error.name is None or not f"{wanted}.".startswith(f"{error.name}."):
        return ""
    return "; it has to be installed, in the working directory or beside the configuration file"


def _error(message: str, where: str) -> ConfigError:
    return ConfigError([Problem(message, where)])
