"""Machines of the tests' own: two namespaces, and a cable between them. Only root can make them."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

CLONE_NEWNET = 0x40000000       # of linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns")


class Machine:
    """One end of the cable: `link` has the addresses 10.77.0.HOST, fd77::HOST and fe80::HOST."""

    def __init__(self, link: str, host: int) -> None:
        self.name = f"fastlb-{os.getpid()}-{next(_numbers)}"
        self.link = link
        self.v4, self.v6, self.local = f"10.77.0.{host}", f"fd77::{host}", f"fe80::{host}"
        _ip("netns", "add", self.name)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """What this thread opens or starts meanwhile is of this machine, and stays so."""
        with open("/proc/thread-self/ns/net", "rb") as home, \
                open(f"/run/netns/{self.name}", "rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())

    def set_up(self) -> None:
        with self.inside():
            _ip("link", "set", "lo", "up")
            # (an address counts at once, and is not looked for elsewhere first: "nodad")
            _ip("link", "set", self.link, "addrgenmode", "none", "up")
            _ip("address", "add", f"{self.v4}/24", "dev", self.link)
            for address in (self.v6, self.local):
                _ip("address", "add", f"{address}/64", "dev", self.link, "nodad")

    def believe_sources(self) -> None:
        """Take datagrams in whose source is an address of this machine's, as IPv6 always does."""
        with self.inside():
            for name in ("all", self.link):
                for key, value in (("accept_local", "1"), ("rp_filter", "0")):
                    with open(f"/proc/sys/net/ipv4/conf/{name}/{key}", "w") as file:
                        file.write(value)


@pytest.fixture
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Ours and another one."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("namespaces are for root, and iproute2 makes them")
    with contextlib.ExitStack() as stack:
        both = []
        for link, host in (("near", 1), ("far", 2)):
            try:
                both.append(Machine(link, host))
            except subprocess.CalledProcessError:
                pytest.skip("namespaces can't be made here")
            stack.callback(_ip, "netns", "delete", both[-1].name)
        near, far = both
        _ip("link", "add", near.link, "netns", near.name,
            "type", "veth", "peer", "name", far.link, "netns", far.name)
        for machine in both:
            machine.set_up()
        yield near, far
