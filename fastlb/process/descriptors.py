"""Descriptors of a process that is a load balancer and nothing else."""

from __future__ import annotations

import logging
import os
import resource
import sys

log = logging.getLogger("fastlb")

# Besides two a connection: listening sockets, engines, pipes, names, logs, and room to look inside;
# of a low limit not more than a quarter.
RESERVED = 200


def fill_standard() -> None:
    """Open /dev/null for those of stdin, stdout and stderr that are closed: else the next sockets
    would have their numbers, and what is meant for people would go to clients."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            fd = os.open(os.devnull, os.O_RDWR)     # the lowest number that is free: this one
            os.set_inheritable(fd, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:                  # Python found it closed
            setattr(sys, name, open(os.devnull, mode))      # noqa: SIM115 - it stays open


def raise_descriptor_limit() -> int:
    """Raise the soft limit to the hard one; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            log.warning("the descriptor limit stays at %d: %s", soft, error)
            return soft
    return hard


def connections_possible(descriptors: int) -> int:
    """How many connections fit below a descriptor limit: each takes two."""
    return max((descriptors - min(RESERVED, descriptors // 4)) // 2, 1)
