"""The parent of a worker: holds the listening sockets, and starts another worker when one ends.

It reads no configuration and serves nothing, so that there is little that could make it fail. What
fails all the same (a fork, a descriptor that isn't there) is tried again. The worker opens sockets
and passes copies up. When it dies, those who connect wait in the sockets' queues until the next
one, which gets them all, accepts. That one stands by already, with all that it needs imported: to
begin with Python would take longest.
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

from fastlb.process.channel import Message, Truncated, receive, send
from fastlb.process.descriptors import raise_descriptor_limit
from fastlb.process.handed import inherited
from fastlb.process.held import Held
from fastlb.process.serve import notify_systemd
from fastlb.process.signals import take_early
from fastlb.process.unix import UnixFile
from fastlb.process.workers import Worker, how_ended, spawn

log = logging.getLogger("fastlb.supervisor")

SETTLED_S = 10.0        # a worker that served so long is no part of a crash loop
CRASHES_FREE = 3        # in a row that are met at once
KILLED_S = 0.25         # then, where it had served or was killed: clients wait
BACKOFF_S = 0.5         # where it said why it can't start; doubled each time, up to
BACKOFF_MAX_S = 10.0
AGAIN_S = 0.5           # after a process couldn't be started, or a connection accepted
SPARE_S = 0.2           # after a worker is ready, which may have much to do then
SPARE_AGAIN_S = 1.0     # after a spare one has died young
LAST_WORDS_MAX = 10_000     # messages of a worker that has ended
READY_S = 60.0          # that a worker may take to be ready, before it is given up
HURRY_S = 2.0           # that a worker may take to end when it is told to a second time
QUIET_S = 10.0          # how often the same trouble is told
NAME = "fastlb-supervisor-"     # of the abstract socket that `fastlb upgrade` finds us by
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2,
           signal.SIGCHLD)


class Supervisor:
    """Runs `command` as the worker, until it is told to stop."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._held = Held()
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._door_at_s: float | None = None    # it rests until then
        self._signals: list[int] = []
        self._stopping = False
        self._crashes = 0                       # in a row
        self._refusals = 0                      # of these, in a row: it ended by itself
        self._start_at_s: float | None = None
        self._spare: Worker | None = None       # has all imported, and waits to be needed
        self._spare_at_s: float | None = None
        self._told_s: dict[str, float] = {}
        self._served = False
        self._status = 0

    def run(self) -> int:
        """Returns the exit status."""
        raise_descriptor_limit()
        for i, sock in enumerate(inherited()):
            self._held.add(f"inherited {i}", [sock])
        self._open()
        try:
            self._start_at_s = time.monotonic()
            while self._workers or self._start_at_s is not None:
                self._turn()
        finally:
            self._close()
        return self._status

    # --- the loop ---

    def _open(self) -> None:
        for sock in (self._wake, self._woken, self._door):
            sock.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda number, _: self._signals.append(number))
        self._signals += take_early()
        self._selector.register(self._woken, selectors.EVENT_READ, lambda _: self._hear_signals())
        self._door.bind(f"\0{NAME}{os.getpid()}")
        self._door.listen(16)
        self._open_door()

    def _turn(self) -> None:
        due_s = [
            at_s for at_s in (
                self._start_at_s, self._spare_at_s, self._door_at_s,
                *(one.deadline_s for one in self._workers),
            ) if at_s is not None
        ]
        wait_s = max(0.0, min(due_s) - time.monotonic()) if due_s else None
        for key, events in self._selector.select(wait_s):
            self._survive(lambda key=key, events=events: key.data(events))  # type: ignore[misc]
        self._survive(self._look_at_clock)

    def _survive(self, do: Callable[[], object]) -> None:
        """Whatever goes wrong here, the sockets stay open and workers are started."""
        try:
            do()
        except Exception as error:
            if self._may_tell(repr(error)):
                log.error("this is a bug in fastlb; the supervising process goes on",
                          exc_info=error)
            time.sleep(0.01)            # (so that what fails again and again takes no processor)

    def _may_tell(self, what: str) -> bool:
        now_s = time.monotonic()
        if now_s < self._told_s.get(what, -QUIET_S) + QUIET_S:
            return False
        self._told_s[what] = now_s
        return True

    def _look_at_clock(self) -> None:
        now_s = time.monotonic()
        if self._start_at_s is not None and now_s >= self._start_at_s:
            self._start_at_s = None
            if not self._stopping and self._start() is None:
                self._start_at_s = now_s + AGAIN_S
        if self._spare_at_s is not None and now_s >= self._spare_at_s and not self._stopping:
            self._spare_at_s = None
            self._spare = self._spare or self._born()
            if self._spare is None:
                self._spare_at_s = now_s + SPARE_AGAIN_S
        if self._door_at_s is not None and now_s >= self._door_at_s:
            self._open_door()
        for worker in self._workers:
            if worker.deadline_s is not None and now_s >= worker.deadline_s:
                worker.deadline_s = None
                if not worker.is_leaving:
                    worker.why = worker.why or f"it isn't ready after {READY_S:g} s"
                    log.error("worker %d: %s; it is killed", worker.process.pid, worker.why)
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
        again, self._stopping = self._stopping, True
        if not again:
            notify_systemd("STOPPING=1")
        self._start_at_s = self._spare_at_s = None
        self._end_spare()
        for worker in self._workers:
            worker.is_leaving = True
            worker.deadline_s = time.monotonic() + HURRY_S if again else None
            worker.process.send_signal(signal.SIGTERM)

    # --- workers ---

    def _start(self, fresh: bool = False) -> Worker | None:
        """Let one serve: that which stands by, or (`fresh`) a new one, with new code. None where
        the system has no process for us."""
        if fresh:
            self._end_spare()
        worker, self._spare = self._spare or self._born(), None
        if worker is None:
            return None
        worker.begun_s = time.monotonic()
        worker.deadline_s = worker.begun_s + READY_S
        self._workers.append(worker)
        try:
            for label, sockets in self._held:
                worker.outbox.say({"op": "give", "label": label},
                                  [sock.fileno() for sock in sockets])
            worker.outbox.say({"op": "serve"})
        except OSError as error:
            log.error("worker %d doesn't listen: %s", worker.process.pid, error)
            worker.process.kill()
        return worker

    def _end_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.process.kill()
            spare.process.wait()
            self._forget_channel(spare)

    def _born(self) -> Worker | None:
        """A new process, that stands by; None where the system has none for us."""
        try:
            worker = spawn(self._command, self._watch)
        except (OSError, subprocess.SubprocessError) as error:
            if self._may_tell(f"born {error}"):
                log.error("no process can be started: %s; trying again", error)
            return None
        self._selector.register(
            worker.channel, selectors.EVENT_READ, lambda events: self._on_channel(worker, events))
        return worker

    def _watch(self, worker: Worker, full: bool) -> None:
        """`full`: wait until its channel has room, too."""
        if worker.channel.fileno() >= 0:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if full else 0)
            data = self._selector.get_key(worker.channel).data
            self._selector.modify(worker.channel, events, data)

    def _on_channel(self, worker: Worker, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                worker.outbox.flush()
        except OSError:
            pass                            # it is gone, which a read tells
        self._hear_worker(worker)

    def _forget_channel(self, worker: Worker) -> None:
        if worker.channel.fileno() >= 0:
            self._selector.unregister(worker.channel)
            worker.outbox.end()
            worker.channel.close()

    def _hear_worker(self, worker: Worker) -> bool:
        """Whether there may be more to hear."""
        if worker.channel.fileno() < 0:
            return False
        try:
            heard = receive(worker.channel)
        except BlockingIOError:
            return False
        except Truncated as error:
            log.error("worker %d: %s can't be held open for the next worker: %s",
                      worker.process.pid, error.message.get("label"), error)
            worker.held.add(error.message.get("label", ""))
            return True
        except OSError:
            heard = None
        if heard is None:
            self._forget_channel(worker)
            return False
        self._take(worker, *heard)
        return True

    def _take(self, worker: Worker, message: Message, fds: list[int]) -> None:
        op = message.get("op")
        if op == "hold":
            file = message.get("file")
            worker.held.add(message["label"])
            self._held.add(message["label"], [socket.socket(fileno=fd) for fd in fds],
                           UnixFile(*file) if file else None)
        elif op == "drop":
            if not worker.is_leaving or self._stopping:     # (its successor goes on with them)
                self._held.drop(message["label"])
        elif op == "notify":
            notify_systemd(message["state"])
        elif op == "failed":
            worker.why = message["why"]
        elif op == "ready":
            self._is_ready(worker)
        elif op == "upgrade":
            self._upgrade(worker.channel)

    def _is_ready(self, worker: Worker) -> None:
        worker.is_ready = self._served = True
        worker.deadline_s = None
        for number in worker.due:
            worker.process.send_signal(number)
        worker.due.clear()
        self._held.keep(worker.held)
        for other in self._workers:
            if other is not worker and not other.is_leaving:
                other.is_leaving = True
                self._tell(other.channel, {"op": "replaced"})
                other.process.send_signal(signal.SIGTERM)
        if not self._stopping:
            self._spare_at_s = time.monotonic() + SPARE_S
        notify_systemd(f"READY=1\nSTATUS=worker {worker.process.pid} serves")
        if worker.ready is not None:
            worker.ready()
            worker.ready = worker.failed = None

    def _reap(self) -> None:
        spare = self._spare
        if spare is not None and spare.process.poll() is not None:
            now_s = time.monotonic()
            log.warning("the spare worker %s", how_ended(spare.process.returncode))
            self._end_spare()
            young = now_s < spare.begun_s + SPARE_AGAIN_S
            self._spare_at_s = now_s + (SPARE_AGAIN_S if young else 0)
        for worker in list(self._workers):
            status = worker.process.poll()
            if status is None:
                continue
            self._workers.remove(worker)
            for _ in range(LAST_WORDS_MAX):
                if not self._hear_worker(worker):   # what it said last
                    break
            self._forget_channel(worker)
            if worker.failed is not None:
                worker.failed(worker.why or f"the new process {how_ended(status)}")
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
            log.error("the worker %s: another one is being started already", how_ended(status))
            return
        self._crashes = 0 if worker.is_ready and served_s >= SETTLED_S else self._crashes + 1
        wait_s = 0.0
        if worker.is_ready or status < 0:
            self._refusals = 0
            if self._crashes > CRASHES_FREE:
                wait_s = KILLED_S
        else:
            self._refusals += 1
            wait_s = min(BACKOFF_S * 2.0 ** (self._refusals - 1), BACKOFF_MAX_S)
        later = f" in {wait_s:g} s (crash {self._crashes} in a row)" if wait_s else ""
        log.error("the worker %s after %.1f s: starting another%s",
                  how_ended(status), served_s, later)
        self._start_at_s = time.monotonic() + wait_s

    # --- upgrades ---

    def _upgrade(self, asker: socket.socket | None) -> None:
        worker: Worker | None = None

        def failed(why: str) -> None:
            log.error("upgrade: %s; the old process goes on", why)
            self._tell(asker, {"op": "failed", "why": why})

        def ready() -> None:
            assert worker is not None
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
            if worker is None:
                self._spare_at_s = time.monotonic()
                failed("no process can be started")
            else:
                worker.failed, worker.ready = failed, ready

    def _open_door(self) -> None:
        self._door_at_s = None
        self._selector.register(self._door, selectors.EVENT_READ, lambda _: self._hear_door())

    def _hear_door(self) -> None:
        try:
            asker, _ = self._door.accept()
        except BlockingIOError:
            return
        except OSError as error:                    # out of descriptors: who asks waits
            if self._may_tell(f"door {error}"):
                log.error("who asks for an upgrade has to wait: %s", error)
            self._selector.unregister(self._door)
            self._door_at_s = time.monotonic() + AGAIN_S
            return
        credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, uid, _ = struct.unpack("iII", credentials)
        if uid not in (0, os.geteuid()):            # (an abstract socket has no file mode)
            asker.close()
            return
        asker.setblocking(False)                    # (who asks and doesn't read holds nobody up)
        self._upgrade(asker)

    def _tell(self, asker: socket.socket | None, message: Message) -> None:
        if asker is None or asker.fileno() < 0:
            return
        for worker in self._workers:
            if worker.channel is asker:
                try:
                    worker.outbox.say(message)
                except OSError:
                    pass                            # it is gone, which a read tells
                return
        try:
            send(asker, message)
        except OSError:
            pass                                    # nobody waits any more
        asker.close()

    def _close(self) -> None:
        self._end_spare()
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()
        self._held.end()
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for sock in (self._wake, self._woken, self._door):
            sock.close()
