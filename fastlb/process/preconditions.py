"""What a process needs besides its configuration: parsers, packages, files that it may write.

`serve` finds the same out when it starts, with the same words. Addresses are not tried: those that
are taken are mostly taken by the process that serves the file now.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from fastlb.compile.certificates import Contexts, listener_spec, pool_spec, unopened_key_log
from fastlb.config.address import socket_address
from fastlb.config.effective import Effective
from fastlb.errors import ConfigError, Problem
from fastlb.observe.tracing import find_sdk
from fastlb.process.machine import check_parser
from fastlb.process.observing import unopened_log


def check_preconditions(values: Effective) -> None:
    """ConfigError with everything that isn't there."""
    found: list[Problem] = []
    for check in (check_parser, _tracing, _tls):
        try:
            check(values)
        except ConfigError as error:
            found += error.problems
    found += _files(values)
    found += _places(values)
    if found:
        raise ConfigError(found)


def _tracing(values: Effective) -> None:
    if values.tracing is not None:
        find_sdk()


def _tls(values: Effective) -> None:
    contexts = Contexts()
    for listener in values.listeners:
        if listener.tls is not None:
            spec = listener_spec(listener.name, replace(listener.tls, key_log=""))
            contexts.of(spec, f"listeners.{listener.name}")
    for pool in values.pools:
        if pool.tls is not None:
            contexts.of(pool_spec(pool.name, replace(pool.tls, key_log="")), f"pools.{pool.name}")


def _places(values: Effective) -> Iterator[Problem]:
    """Links and folders of addresses to listen on."""
    for listener in values.listeners:
        for bind in listener.binds:
            folder = os.path.dirname(bind.path) if bind.path is not None else ""
            try:
                if bind.host is not None and "%" in bind.host:
                    socket_address(bind.host, 0)
                elif folder and not os.path.isdir(folder):
                    raise FileNotFoundError(2, f"there is no folder {folder}")
            except OSError as error:
                said = error.strerror if folder else "no interface has this name"
                yield Problem(f"{bind}: {said}", f"listeners.{listener.name}.bind")


def _files(values: Effective) -> Iterator[Problem]:
    log = values.access_log
    error = _unwritable(log.path) if log is not None and log.path != "-" else None
    if error is not None:
        yield unopened_log(error)
    logs = [(f"listeners.{one.name}", one.tls.key_log) for one in values.listeners if one.tls]
    logs += [(f"pools.{one.name}", one.tls.key_log) for one in values.pools if one.tls]
    for where, path in logs:
        error = _unwritable(path) if path else None
        if error is not None:
            yield unopened_key_log(path, where, error)


def _unwritable(path: str) -> OSError | None:
    """Why a file can't be appended to. None is made where there isn't one."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC))
    except FileNotFoundError:
        folder = os.path.dirname(path) or "."
        try:
            os.stat(folder)
        except OSError as error:
            return error
        if not os.access(folder, os.W_OK | os.X_OK):
            return PermissionError(13, os.strerror(13))
    except OSError as error:
        return error
    return None
