"""The parent of a worker: holds the listening sockets, and starts another worker when one ends.

It reads no configuration and serves nothing, so that there is little that could make it fail. The
worker opens sockets and passes copies up; when it dies, those who connect wait in the sockets'
queues until the next one, which gets them all, accepts. That one stands by already, with all that
it needs imported: to begin with Python would take longest.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fastlb.process.channel import ENVIRONMENT, receive, send
from fastlb.process.handed import inherited
from fastlb.process.serve import notify_systemd

log = logging.getLogger("fastlb.supervisor")

SETTLED_S = 10.0        # a worker that served so long is no part of a crash loop
CRASHES_FREE = 3        # in a row that are met at once
BACKOFF_S = 0.5         # then; doubled each time, up to
BACKOFF_MAX_S = 10.0
SPARE_S = 0.2           # after a worker is ready, which may have much to do then
GIVE_S = 5.0            # that a worker may take to hear what it gets
LAST_WORDS_MAX = 1000       # messages of a worker that has ended
READY_S = 60.0          # that a new worker may take before an upgrade is given up
NAME = "fastlb-supervisor-"     # of the abstract socket that `fastlb upgrade` finds us by


@dataclass(eq=False)
class Worker:
    process: subprocess.Popen[bytes]
    channel: socket.socket
    begun_s: float
    is_ready: bool = False
    is_serving: bool = False        # told to serve; until then it stands by
    is_leaving: bool = False        # told to stop
    held: set[str] = field(default_factory=set)     # labels that it has named
    failed: Callable[[str], None] | None = None     # somebody waits for it to be ready
    ready: Callable[[], None] | None = None
    deadline_s: float | None = None
    due: set[int] = field(default_factory=set)      # signals, for when it is ready
    why: str = ""                   # it can't serve, as it says


class Supervisor:
    """Runs `command` as the worker, until it is told to stop."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._held: dict[str, list[socket.socket]] = {}
        self._files: set[str] = set()           # of unix sockets, ours to remove
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._signals: list[int] = []
        self._stopping = False
        self._crashes = 0
        self._start_at_s: float | None = None
        self._spare: Worker | None = None       # has all imported, and waits to be needed
        self._spare_at_s: float | None = None
        self._served = False
        self._status = 0

    def run(self) -> int:
        """Returns the exit status."""
        for i, sock in enumerate(inherited()):
            self._held[f"inherited {i}"] = [sock]
        self._open()
        try:
            self._start()
            while self._workers or self._start_at_s is not None:
                self._turn()
        finally:
            self._close()
        return self._status

    # --- the loop ---

    def _open(self) -> None:
        for sock in (self._wake, self._woken, self._door):
            sock.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1,
                       signal.SIGUSR2, signal.SIGCHLD):
            signal.signal(number, lambda number, _: self._signals.append(number))
        self._selector.register(self._woken, selectors.EVENT_READ, self._hear_signals)
        self._door.bind(f"\0{NAME}{os.getpid()}")
        self._door.listen(16)
        self._selector.register(self._door, selectors.EVENT_READ, self._hear_door)

    def _turn(self) -> None:
        due_s = [
            at_s for at_s in (
                self._start_at_s, self._spare_at_s, *(one.deadline_s for one in self._workers)
            ) if at_s is not None
        ]
        wait_s = max(0.0, min(due_s) - time.monotonic()) if due_s else None
        for key, _ in self._selector.select(wait_s):
            key.data()
        now_s = time.monotonic()
        if self._start_at_s is not None and now_s >= self._start_at_s and not self._stopping:
            self._start_at_s = None
            self._start()
        if self._spare_at_s is not None and now_s >= self._spare_at_s:
            self._spare_at_s = None
            self._spare = self._spare or self._born()
        for worker in self._workers:
            if worker.deadline_s is not None and now_s >= worker.deadline_s:
                worker.deadline_s = None
                worker.process.kill()

    def _hear_signals(self) -> None:
        try:
            self._woken.recv(4096)
        except BlockingIOError:
            pass
        signals, self._signals = self._signals, []
        for number in signals:
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop()
            elif number in (signal.SIGHUP, signal.SIGUSR1):
                for worker in self._workers:
                    if not worker.is_ready:
                        worker.due.add(number)      # it may have read the file already
                    elif not worker.is_leaving:
                        worker.process.send_signal(number)
            elif number == signal.SIGUSR2:
                self._upgrade(None)
        self._reap()

    def _stop(self) -> None:
        if not self._stopping:
            notify_systemd("STOPPING=1")
        self._stopping = True
        self._start_at_s = self._spare_at_s = None
        self._end_spare()
        for worker in self._workers:
            worker.is_leaving = True
            worker.process.send_signal(signal.SIGTERM)

    # --- workers ---

    def _start(self, fresh: bool = False) -> Worker:
        """Let one serve: that which stands by, or (`fresh`) a new one, with new code."""
        if fresh:
            self._end_spare()
        worker, self._spare = self._spare or self._born(), None
        worker.begun_s = time.monotonic()
        worker.is_serving = True
        self._workers.append(worker)
        try:
            worker.channel.settimeout(GIVE_S)
            for label, sockets in self._held.items():
                send(worker.channel, {"op": "give", "label": label},
                     [sock.fileno() for sock in sockets])
            send(worker.channel, {"op": "serve"})
            worker.channel.setblocking(False)
        except OSError as error:
            log.error("worker %d doesn't listen: %s", worker.process.pid, error)
            worker.process.kill()
        return worker

    def _end_spare(self) -> None:
        if self._spare is not None:
            self._spare.process.kill()
            self._spare.process.wait()
            self._selector.unregister(self._spare.channel)
            self._spare.channel.close()
            self._spare = None

    def _born(self) -> Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        environment = {**os.environ, ENVIRONMENT: str(theirs.fileno())}
        environment.pop("NOTIFY_SOCKET", None)      # systemd hears of us alone
        environment.pop("WATCHDOG_USEC", None)
        process = subprocess.Popen(
            self._command, env=environment, pass_fds=[theirs.fileno()],
            start_new_session=True,                 # Ctrl-C is for us, and we tell the worker
        )
        theirs.close()
        worker = Worker(process, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, lambda: self._hear_worker(worker))
        return worker

    def _hear_worker(self, worker: Worker) -> None:
        try:
            heard = receive(worker.channel)
        except BlockingIOError:
            return
        except OSError:
            heard = None
        if heard is None:
            self._selector.unregister(worker.channel)
            worker.channel.close()
            return
        message, fds = heard
        op = message.get("op")
        if op == "hold":
            self._hold(worker, message["label"], fds, message.get("unlink"))
        elif op == "drop":
            if not worker.is_leaving or self._stopping:     # (its successor goes on with them)
                self._drop(message["label"])
        elif op == "notify":
            notify_systemd(message["state"])
        elif op == "failed":
            worker.why = message["why"]
        elif op == "ready":
            self._is_ready(worker)
        elif op == "upgrade":
            self._upgrade(worker.channel)

    def _hold(self, worker: Worker, label: str, fds: list[int], unlink: str | None) -> None:
        old = self._held.pop(label, [])
        self._held[label] = [socket.socket(fileno=fd) for fd in fds]
        worker.held.add(label)
        if unlink:
            self._files.add(unlink)
        for sock in old:                            # (the new ones are of the same sockets)
            sock.close()

    def _drop(self, label: str) -> None:
        gone = self._held.pop(label, [])
        names = {sock.getsockname() for sock in gone}
        for sock in gone:
            sock.close()
        left = {sock.getsockname() for socks in self._held.values() for sock in socks}
        for name in (names - left) & self._files:
            self._remove(str(name))

    def _remove(self, path: str) -> None:
        self._files.discard(path)
        try:
            os.unlink(path)
        except OSError:
            pass                                    # it is gone, as wanted

    def _is_ready(self, worker: Worker) -> None:
        worker.is_ready = self._served = True
        worker.deadline_s = None
        for number in worker.due:
            worker.process.send_signal(number)
        worker.due.clear()
        for label in [label for label in self._held if label not in worker.held]:
            self._drop(label)
        for other in self._workers:
            if other is not worker and not other.is_leaving:
                other.is_leaving = True
                other.process.send_signal(signal.SIGTERM)
        self._spare_at_s = time.monotonic() + SPARE_S
        notify_systemd(f"READY=1\nSTATUS=worker {worker.process.pid} serves")
        if worker.ready is not None:
            worker.ready()
            worker.ready = worker.failed = None

    def _reap(self) -> None:
        if self._spare is not None and self._spare.process.poll() is not None:
            log.warning("the spare worker %s", _how(self._spare.process.returncode))
            self._end_spare()
            self._spare_at_s = time.monotonic() + BACKOFF_MAX_S
        for worker in list(self._workers):
            status = worker.process.poll()
            if status is None:
                continue
            self._workers.remove(worker)
            for _ in range(LAST_WORDS_MAX):
                if worker.channel.fileno() >= 0:
                    self._hear_worker(worker)       # what it said last
            if worker.failed is not None:
                worker.failed(worker.why or f"the new process {_how(status)}")
                self._spare_at_s = time.monotonic()
                if not self._workers and not self._stopping:
                    self._start_at_s = time.monotonic()
            elif not worker.is_leaving and not self._stopping:
                self._crashed(worker, status)
            if self._stopping and status > 0:
                self._status = status

    def _crashed(self, worker: Worker, status: int) -> None:
        served_s = time.monotonic() - worker.begun_s
        if not self._served and status > 0:
            self._status = status                   # nobody ever served: it has said why
            return
        if any(not other.is_ready for other in self._workers):
            log.error("the worker %s: another one is being started already", _how(status))
            return
        self._crashes = 0 if worker.is_ready and served_s >= SETTLED_S else self._crashes + 1
        wait_s = 0.0
        if self._crashes > CRASHES_FREE:
            wait_s = min(BACKOFF_S * 2.0 ** (self._crashes - CRASHES_FREE - 1), BACKOFF_MAX_S)
        later = f" in {wait_s:g} s (crash {self._crashes} in a row)" if wait_s else ""
        log.error("the worker %s after %.1f s: starting another%s",
                  _how(status), served_s, later)
        self._start_at_s = time.monotonic() + wait_s

    # --- upgrades ---

    def _upgrade(self, asker: socket.socket | None) -> None:
        def failed(why: str) -> None:
            log.error("upgrade: %s; the old process goes on", why)
            self._tell(asker, {"op": "failed", "why": why})

        def ready() -> None:
            log.info("upgrade: worker %d serves; the old one ends", worker.process.pid)
            self._tell(asker, {"op": "upgraded", "pid": worker.process.pid})

        if self._stopping:
            failed("the process is stopping")
        elif any(not worker.is_ready for worker in self._workers):
            failed("another process is being started")
        elif not self._workers:
            failed("no worker is there")
        else:
            log.info("upgrade: starting a new worker")
            worker = self._start(fresh=True)
            worker.failed, worker.ready = failed, ready
            worker.deadline_s = time.monotonic() + READY_S

    def _hear_door(self) -> None:
        try:
            asker, _ = self._door.accept()
        except BlockingIOError:
            return
        credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, uid, _ = struct.unpack("iII", credentials)
        if uid not in (0, os.geteuid()):            # (an abstract socket has no file mode)
            asker.close()
            return
        self._upgrade(asker)

    def _tell(self, asker: socket.socket | None, message: dict[str, object]) -> None:
        if asker is None or asker.fileno() < 0:
            return
        try:
            send(asker, message)
        except OSError:
            pass                                    # nobody waits any more
        if all(worker.channel is not asker for worker in self._workers):
            asker.close()

    def _close(self) -> None:
        self._end_spare()
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
        for label in list(self._held):
            self._drop(label)
        for path in list(self._files):
            self._remove(path)
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for sock in (self._wake, self._woken, self._door):
            sock.close()


def _how(status: int) -> str:
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"ended with status {status}"
