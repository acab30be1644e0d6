"""Processes of a run: pinned to a CPU, gone when the harness goes, ended with their whole tree."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_SECONDS_MAX = 5.0
READY_SECONDS_MAX = 20.0
HOST = "bench.test"
PROBE = b"ready?"     # (of datagram_origin.c)
_libc = ctypes.CDLL(None, use_errno=True)


def start(
    argv: Sequence[str],
    cpu: int,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pipes: bool = False,
) -> subprocess.Popen[bytes]:
    """Starts a program on one CPU, with its stderr (and, without pipes, its stdout) in `log`."""

    def in_child() -> None:
        os.sched_setaffinity(0, {cpu})
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    with log.open("wb") as out:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if pipes else subprocess.DEVNULL,
            stdout=subprocess.PIPE if pipes else out,
            stderr=out,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            bufsize=0,
            preexec_fn=in_child,
        )


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{parent}/task"):
                children = Path(f"/proc/{parent}/task/{task}/children").read_text().split()
                found.extend(int(child) for child in children)
    return found


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that `start` gave, and whatever of its tree doesn't end with it."""
    pids = tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pid in pids[1:]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def exchange(
    port: int, path: str = "/small", timeout: float = 2.0, tls: ssl.SSLContext | None = None
) -> bytes:
    """One GET over a connection of its own, until the peer closes."""
    with contextlib.ExitStack() as stack:
        s = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=timeout))
        if tls is not None:
            s = stack.enter_context(tls.wrap_socket(s, server_hostname=HOST))
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := s.recv(65536):
            parts.append(part)
    return b"".join(parts)


def check_forwarded(port: int, tls: ssl.SSLContext | None = None) -> None:
    """Raises unless an http balancer tells the origin of its client, which all have to do alike."""
    _, _, head = exchange(port, "/head", tls=tls).partition(b"\r\n\r\n")
    fields = head.lower().split(b"\r\n")
    scheme = b"http" if tls is None else b"https"
    for wanted in (b"x-forwarded-for: 127.0.0.1", b"x-forwarded-proto: " + scheme):
        if fields.count(wanted) != 1:
            raise RuntimeError(f"the origin does not get {wanted.decode()}, but {head.decode()}")


def wait_until_listening(
    process: subprocess.Popen[bytes], ports: Sequence[int], log: Path
) -> None:
    """Returns once all ports take connections."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    for port in ports:
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            _still_starting(process, port, log, deadline)


def wait_until_serving(
    process: subprocess.Popen[bytes], port: int, log: Path, tls: ssl.SSLContext | None = None
) -> None:
    """Returns once a whole exchange through the port has worked."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    while True:
        with contextlib.suppress(OSError):
            answer = exchange(port, tls=tls)
            if answer.startswith(b"HTTP/1.1 200"):
                return
        _still_starting(process, port, log, deadline)


def wait_until_echoing(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Returns once a datagram has gone to an origin through the port, and come back."""
    deadline = time.monotonic() + READY_SECONDS_MAX
    with socket.socket(type=socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        s.connect(("127.0.0.1", port))
        while True:
            with contextlib.suppress(OSError):
                s.send(PROBE)
                if s.recv(100) == PROBE:
                    return
            _still_starting(process, port, log, deadline)


def _still_starting(
    process: subprocess.Popen[bytes], port: int, log: Path, deadline: float
) -> None:
    """A moment's sleep; raises if the process has ended or takes too long."""
    if process.poll() is not None or time.monotonic() > deadline:
        tail = log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"does not serve on port {port}; its log ends with:\n{tail}")
    time.sleep(0.05)
