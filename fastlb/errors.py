"""What can be wrong, said so that it can be mended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# What RuntimeError says of a Balancer that has to run for what is asked of it.
NOT_RUNNING = (
    "the balancer isn't running: start it first (`async with lb:`, or `with lb.background():`)"
)


@dataclass(frozen=True)
class Problem:
    """One mistake in a configuration: where it is, what it is, and what would be valid."""

    message: str
    path: str = ""                  # "pools.api.balance"; "" for the whole file
    file: str = ""                  # "" for a configuration made in Python
    line: int = 0                   # from 1; 0: not known
    valid: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (where, self.path, self.message) if part)


class ConfigError(ValueError):
    """A configuration that can't be used. `problems` has all of them, not only the first."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BindError(OSError):
    """A listener's address that can't be listened on; the text names the key and the way out."""

    def __str__(self) -> str:
        return self.strerror or super().__str__()


class NotRunningError(ConnectionError):
    """No running process answers; the text says where it was looked for, and what to do."""


class AdminError(RuntimeError):
    """A running process refused what the admin API was asked; `status` is that of HTTP."""

    def __init__(self, status: int, error: str, problems: Iterable[Problem] = ()) -> None:
        self.status = status
        self.problems = tuple(problems)
        told = "".join(f"\n{problem}" for problem in self.problems)
        super().__init__(error + told)
