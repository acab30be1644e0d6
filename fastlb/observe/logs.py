"""Log lines on their way to stderr: nobody who logs ever waits for who reads."""

from __future__ import annotations

import collections
import errno
import json
import logging
import os
import select
import threading
import time

STDERR = 2
LINES_MAX = 10_000          # that wait to be written; then the newest are dropped
BYTES_MAX = 4 << 20
END_S = 1.0                 # to write what is left, when the process ends


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


class Lines(logging.Handler):
    """Writes lines to a descriptor on a thread of its own. `dropped` counts those that didn't fit
    in the queue because nobody read, and `lost` those that couldn't be written."""

    def __init__(self, fd: int = STDERR) -> None:
        super().__init__()
        self._fd = fd
        self.dropped = 0
        self.lost = 0
        self._waiting: collections.deque[bytes] = collections.deque()
        self._bytes = 0
        self._told = 0                  # of those dropped
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_child = False
        os.register_at_fork(after_in_child=self._abandon)

    def _abandon(self) -> None:
        """In a forked child, which has no such thread, and may end at any moment."""
        self._is_child = True
        self._waiting.clear()
        self._changed = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception as error:      # its own arguments don't fit its text
            line = f"{record.levelname} {record.name}: {record.msg!r} can't be shown: {error!r}"
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._is_child:
            self._write([data])
            return
        with self._changed:
            if len(self._waiting) >= LINES_MAX or self._bytes + len(data) > BYTES_MAX:
                self.dropped += 1
                return
            self._waiting.append(data)
            self._bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fastlb-log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        changed = self._changed
        while True:
            with changed:
                changed.wait_for(lambda: self._waiting)
                lines = list(self._waiting)
                n = len(lines)
                dropped, self._told = self.dropped - self._told, self.dropped
            if dropped:
                lines.append(self._drops(dropped))
            self._write(lines)
            with changed:
                for _ in range(n):
                    self._bytes -= len(self._waiting.popleft())
                changed.notify_all()

    def _drops(self, dropped: int) -> bytes:
        record = logging.LogRecord(
            "fastlb", logging.WARNING, __file__, 0,
            "log lines that nobody read in time, and that were dropped: %d", (dropped,), None)
        return self.format(record).encode() + b"\n"

    def _write(self, lines: list[bytes]) -> None:
        data = memoryview(b"".join(lines))
        while data:
            try:
                data = data[os.write(self._fd, data):]
            except OSError as error:
                if error.errno != errno.EAGAIN:     # (whose descriptor doesn't wait by itself)
                    self.lost += len(lines)
                    return
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()

    def flush(self) -> None:
        """Wait until all is written, or nobody reads."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, END_S)


def configure_logging(level: str = "info", format: str = "text") -> None:
    """Send log lines to stderr, one line an event: those below `fastlb` from `level` on, and the
    warnings of all others."""
    handler = Lines()
    if format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours, root = logging.getLogger("fastlb"), logging.getLogger()
    ours.handlers = [handler]
    ours.setLevel(level.upper())
    ours.propagate = False
    if not root.handlers:               # asyncio's, say, would wait for stderr
        root.addHandler(handler)


def lines_dropped() -> int:
    """How many log lines of this process nobody has read in time."""
    handlers = logging.getLogger("fastlb").handlers
    return sum(one.dropped for one in handlers if isinstance(one, Lines))
