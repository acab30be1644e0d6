# Records that engines put into their rings, read by one thread, as lines or as objects.
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from fastlb._core.base.enums cimport READER_AWAKE, READER_NAPS, READER_SLEEPS
from fastlb._core.base.limits cimport PROXY_FACTS, TLS_FACTS
from fastlb._core.base.observations cimport (
    RECORD_ANSWERED, RECORD_H2, RECORD_HTTP, RECORD_OLD, RECORD_TCP, RECORD_TRACED, TOLD_FACTS,
    TOLD_HOST, TOLD_METHOD, TOLD_PARENT, TOLD_PATH, TOLD_QUERY, TOLD_REFERER, TOLD_REQUEST_ID,
    TOLD_TRACE, TOLD_USER_AGENT, Record, Ring,
)
from fastlb._core.base.ring cimport ring_next
from fastlb._core.base.sys cimport clock_offset_ns, event_clear, event_open, event_set, wait_for
from fastlb._core.base.text cimport Writer, put
from fastlb._core.ext.atomic cimport fl_fence, fl_load64, fl_read, fl_store32, fl_store64
from fastlb._core.ext.linux cimport POLLIN, POLLOUT, close, write
from fastlb._core.tables.live cimport Live
from fastlb._core.tables.logformat cimport LogFormat, record_text
from fastlb._core.tables.states cimport per_engine

import os

from fastlb._core.facts.registry import RECORDED as _RECORDED
from fastlb._core.tables.reasons import BY_NUMBER

cdef enum:
    OUT_BYTES = 1048576             # the longest line takes half of it
    WRITE_BYTES = 65536             # as much as one write has, while there is more
    SAFE_BYTES = 4096               # PIPE_BUF: a pipe that is ready takes it without waiting


cdef class Recorder:
    """The one reader of all rings of a balancer. It must be used by one thread at a time; only
    `interrupt` and `totals` may be called by any."""

    def __cinit__(self, Live live, size_t ring_bytes):
        cdef Ring* rings
        cdef int i
        self.live = live
        self._clock.second = -1
        self._room = <uint8_t*> malloc(OUT_BYTES + 1)
        if self._room == NULL:
            raise MemoryError
        self._out = self._room + 1
        self._w.at = self._out
        self._w.end = self._out + OUT_BYTES
        if ring_bytes & (ring_bytes - 1) or ring_bytes < 65536:
            raise ValueError(f"{ring_bytes} bytes are no ring's")
        if live.table.rings != NULL:
            raise RuntimeError("somebody reads these records already")
        live.table.reader_fd = event_open()
        if live.table.reader_fd < 0:
            raise OSError(-live.table.reader_fd, os.strerror(-live.table.reader_fd))
        rings = <Ring*> per_engine(live.engines, sizeof(Ring))
        for i in range(live.engines):
            rings[i].bytes = <uint8_t*> malloc(ring_bytes)
            rings[i].size = ring_bytes
            if rings[i].bytes == NULL:
                for k in range(i):
                    free(rings[<int> k].bytes)
                free(rings)
                raise MemoryError
        live.table.rings = rings

    def __dealloc__(self):
        free(self._room)

    def record(self, bint on, facts=()) -> None:
        """Whether engines are to put records, and with which facts: those of these names."""
        cdef uint64_t wanted = 0
        for place, name in enumerate(_RECORDED):
            if on and name in facts:
                wanted |= <uint64_t> 1 << <int> place
        fl_store64(&self.live.table.recorded, wanted)
        fl_store32(&self.live.table.recording, on)

    def trace(self, share: float | None) -> None:
        """Give requests spans, and sample a share of those that begin a trace; None: don't."""
        self.live.table.traced_share = <uint64_t> ((share or 0.0) * 4294967296.0)
        fl_store32(&self.live.table.traced, share is not None)

    def use(self, LogFormat format) -> None:
        """What lines are made as; None: none are."""
        self._format = format

    cdef bint _is_empty(self) noexcept nogil:
        cdef int i
        for i in range(self.live.engines):
            if fl_load64(&self.live.table.rings[i].head) != self.live.table.rings[i].tail:
                return False
        return True

    def wait(self, int nap_ms, int sleep_ms) -> None:
        """Let records gather for `nap_ms`, unless a ring fills up; then until there are any, for
        `sleep_ms` at most. `interrupt` ends both."""
        cdef int fd = self.live.table.reader_fd
        cdef int32_t* reader = &self.live.table.reader
        cdef bint woken = False
        with nogil:
            if nap_ms:
                fl_store32(reader, READER_NAPS)
                woken = wait_for(fd, POLLIN, nap_ms)
            if not woken and self._is_empty():
                fl_store32(reader, READER_SLEEPS)
                fl_fence()
                if self._is_empty():
                    wait_for(fd, POLLIN, sleep_ms)
            fl_store32(reader, READER_AWAKE)
            event_clear(fd)

    def interrupt(self) -> None:
        if self.live.table.reader_fd >= 0:
            event_set(self.live.table.reader_fd)

    def drain(self, int fd, bint whole, int patience_ms, bint keep) -> tuple:
        """Write what there is to a descriptor (-1: none) as lines, `whole` where that never waits
        for long, else in pieces that a pipe takes at once, with `patience_ms` for each. Returns of
        how many engines there were any, errno of what failed or 0, and with `keep` the records."""
        cdef Ring* ring
        cdef uint64_t end, at
        cdef const Record* record
        cdef int i, n = 0
        kept = []
        self._error = 0
        self._clock.offset_ns = clock_offset_ns()
        for i in range(self.live.engines):
            ring = &self.live.table.rings[i]
            end = fl_load64(&ring.head)
            if end == ring.tail:
                continue
            n += 1
            if keep:
                at = ring.tail
                while True:
                    record = ring_next(ring, &at, end)
                    if record == NULL:
                        break
                    kept.append((<const char*> record)[:record.size])
            if fd >= 0 and self._format is not None:
                with nogil:
                    self._log(i, end, fd, whole, patience_ms)
            fl_store64(&ring.tail, end)
        if fd >= 0:
            with nogil:
                self._flush(fd, whole, patience_ms)
        return n, self._error, kept

    cdef void _log(self, int engine, uint64_t end, int fd, bint whole,
                   int patience_ms) noexcept nogil:
        cdef Ring* ring = &self.live.table.rings[engine]
        cdef Writer* w = &self._w
        cdef uint64_t at = ring.tail
        cdef uint8_t* before
        cdef const Record* record = ring_next(ring, &at, end)
        while record != NULL:
            before = w.at
            self._format.put_line(self.live.names, record, &self._clock, w)
            if w.full:                  # (it has more than half of the buffer for itself)
                w.full = False
                w.at = before
                self._lost += 1
            else:
                self._lines += 1
            if w.at - self._out >= WRITE_BYTES:
                fl_store64(&ring.tail, at)
                self._flush(fd, whole, patience_ms)
            record = ring_next(ring, &at, end)

    cdef bint _flush(self, int fd, bint whole, int patience_ms) noexcept nogil:
        """Write what is in the buffer. What fails is lost, but for the line's end that is owed, and
        nothing is written before that."""
        cdef uint8_t* out = self._out
        cdef size_t size = self._w.at - out
        cdef size_t owed = 1 if size and self._is_torn else 0
        cdef size_t done = 0, piece
        cdef ssize_t n
        if self._error:
            patience_ms = 0             # it is had once a call, however much there is
        if owed:                        # (in one write with the rest: a pipe may have one page)
            out -= 1
            out[0] = 10
            size += 1
        while done < size:
            piece = size - done
            if not whole:
                if piece > SAFE_BYTES:
                    piece = SAFE_BYTES
                if not wait_for(fd, POLLOUT, patience_ms):
                    self._error = EAGAIN
                    break
            n = write(fd, out + done, piece)
            if n < 0 and errno == EINTR:
                continue
            if n <= 0:
                self._error = errno
                break
            done += n
        self._w.at = self._out
        if done:
            self._is_torn = out[done - 1] != 10
        if done == size:
            return True
        if done < owed:
            done = owed
        while done < size:
            if out[done] == 10:
                self._lost += 1
                self._lines -= 1
            done += 1
        return False

    def totals(self) -> dict[str, int]:
        """Records that engines put, that they `dropped` because the ring was full, `lines` that
        were written and those `lost` because they couldn't be."""
        cdef uint64_t written = 0, dropped = 0
        cdef int i
        for i in range(self.live.engines):
            written += fl_read(&self.live.table.rings[i].written)
            dropped += fl_read(&self.live.table.rings[i].dropped)
        return {"records": written, "dropped": dropped,
                "lines": fl_read(&self._lines), "lost": fl_read(&self._lost)}

    def close(self) -> None:
        """Engines must have ended."""
        if self.live.table.reader_fd >= 0:
            close(self.live.table.reader_fd)
            self.live.table.reader_fd = -1


def clock_offset_s() -> float:
    """What is to be added to times of the monotonic clock for those since 1970."""
    return clock_offset_ns() / 1e9


cdef str _name(Live live, uint32_t id):
    return live.names.name(id)


cdef str _told(const Record* record, int which):
    """As UTF-8, or latin-1 where it isn't that."""
    cdef uint32_t size
    cdef const uint8_t* at
    if record.size <= sizeof(Record) + 7:
        return ""
    at = record_text(record, which, &size)
    text = (<const char*> at)[:size]
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def fields_of(Live live, bytes data, double offset_s) -> tuple:
    """The fields of observe.records.Record, in their order; tries as (server, outcome, seconds)."""
    cdef const Record* record = <const Record*> <const char*> data
    cdef bint is_http = record.kind == RECORD_HTTP
    cdef int i
    trace = _told(record, TOLD_TRACE)
    is_trace = len(trace) == 55
    traced = is_trace and record.flags & RECORD_TRACED
    reason = BY_NUMBER.get(record.reason, "")
    tries = [
        (_name(live, record.tried[i].server),
         _outcome(record.tried[i].outcome), record.tried[i].us / 1e6)
        for i in range(record.n_tried)
    ]
    if record.try_ns:
        tries.append((_name(live, record.server),
                      "response" if record.flags & RECORD_ANSWERED else reason,
                      record.try_ns / 1e9))
    return (
        "http" if is_http else "tcp" if record.kind == RECORD_TCP else "udp",
        record.begin_ns / 1e9 + offset_s,
        _name(live, record.listener), _name(live, record.route), _name(live, record.pool),
        _name(live, record.server), record.client_ip[:record.client_ip_size].decode(),
        record.client_port, _told(record, TOLD_METHOD), _told(record, TOLD_HOST),
        _told(record, TOLD_PATH), _told(record, TOLD_QUERY),
        _version(record.flags) if is_http else "",
        record.status, record.bytes_in, record.bytes_out, record.body_bytes,
        record.duration_ns / 1e9, record.connect_ns / 1e9 if record.connect_ns else None,
        record.first_byte_ns / 1e9 if record.first_byte_ns else None,
        record.attempts, tuple(tries), reason, _told(record, TOLD_USER_AGENT),
        _told(record, TOLD_REFERER), _told(record, TOLD_REQUEST_ID),
        trace[3:35] if is_trace else "", trace[36:52] if traced else "",
        _told(record, TOLD_PARENT), is_trace and trace[53:] in _SAMPLED, record.engine,
        *[_told(record, TOLD_FACTS + i) for i in range(TLS_FACTS + PROXY_FACTS)],
        _others(record),
    )


cdef dict _others(const Record* record):
    """Facts that are neither of TLS nor of proxies, by their names."""
    found = {}
    for place in range(<int> (TLS_FACTS + PROXY_FACTS), len(_RECORDED)):
        text = _told(record, TOLD_FACTS + place)
        if text:
            found[_RECORDED[place]] = text
    return found


_SAMPLED = {f"{i:02x}" for i in range(1, 256, 2)}


cdef str _version(int flags):
    return "1.0" if flags & RECORD_OLD else "2.0" if flags & RECORD_H2 else "1.1"


def _outcome(int outcome) -> str:
    if outcome >= 100:
        return str(outcome)
    return "overtaken" if outcome == 1 else BY_NUMBER.get(outcome, "")
