# Lines of the access log, made from records. Made for speed: this is most of what the access log
# costs. What clients sent is escaped, so that it can end neither a text nor a line.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastlb._core.base.observations cimport (
    RECORD_H2, RECORD_HTTP, RECORD_OLD, RECORD_TCP, RECORD_TRACED, TOLD_FACTS, TOLD_HOST,
    TOLD_METHOD, TOLD_PARENT, TOLD_PATH, TOLD_QUERY, TOLD_REFERER, TOLD_REQUEST_ID, TOLD_TRACE,
    TOLD_USER_AGENT, Record,
)
from fastlb._core.base.reasons cimport end_reason
from fastlb._core.base.sys cimport clock_date
from fastlb._core.base.text cimport (
    put, put_literal, put_number, put_text, text_of, text_of_literal,
)
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.ext.linux cimport tm

from fastlb._core.facts.registry import RECORDED as _RECORDED

cdef enum Field:
    FIELD_NONE = 0
    FIELD_TIME
    FIELD_TIME_LOCAL
    FIELD_PROTOCOL
    FIELD_LISTENER
    FIELD_ROUTE
    FIELD_POOL
    FIELD_SERVER
    FIELD_CLIENT_IP
    FIELD_CLIENT_PORT
    FIELD_METHOD
    FIELD_HOST
    FIELD_PATH
    FIELD_QUERY
    FIELD_REQUEST
    FIELD_VERSION
    FIELD_STATUS
    FIELD_BYTES_IN
    FIELD_BYTES_OUT
    FIELD_BODY_BYTES
    FIELD_DURATION
    FIELD_CONNECT
    FIELD_FIRST_BYTE
    FIELD_TRIES
    FIELD_REASON
    FIELD_USER_AGENT
    FIELD_REFERER
    FIELD_REQUEST_ID
    FIELD_TRACE_ID
    FIELD_SPAN_ID
    FIELD_PARENT_ID
    FIELD_ENGINE
    FIELD_FACTS                 # from here on recorded facts, by their places

FIELDS = {
    "time": FIELD_TIME,
    "time_local": FIELD_TIME_LOCAL,
    "protocol": FIELD_PROTOCOL,
    "listener": FIELD_LISTENER,
    "route": FIELD_ROUTE,
    "pool": FIELD_POOL,
    "server": FIELD_SERVER,
    "client_ip": FIELD_CLIENT_IP,
    "client_port": FIELD_CLIENT_PORT,
    "method": FIELD_METHOD,
    "host": FIELD_HOST,
    "path": FIELD_PATH,
    "query": FIELD_QUERY,
    "request": FIELD_REQUEST,
    "version": FIELD_VERSION,
    "status": FIELD_STATUS,
    "bytes_in": FIELD_BYTES_IN,
    "bytes_out": FIELD_BYTES_OUT,
    "body_bytes": FIELD_BODY_BYTES,
    "duration": FIELD_DURATION,
    "connect": FIELD_CONNECT,
    "first_byte": FIELD_FIRST_BYTE,
    "tries": FIELD_TRIES,
    "reason": FIELD_REASON,
    "user_agent": FIELD_USER_AGENT,
    "referer": FIELD_REFERER,
    "request_id": FIELD_REQUEST_ID,
    "trace_id": FIELD_TRACE_ID,
    "span_id": FIELD_SPAN_ID,
    "parent_id": FIELD_PARENT_ID,
    "engine": FIELD_ENGINE,
    **{name.replace(".", "_"): FIELD_FACTS + place for place, name in enumerate(_RECORDED)},
}

cdef uint8_t[256] _unlike       # what can't stand in a text as it is: 1; 2: not ASCII


def _fill():
    for i in range(256):
        _unlike[<int> i] = 2 if i > 127 else i < 32 or i == 127 or chr(i) in '"\\'


_fill()


cdef const uint8_t* record_text(const Record* record, int which, uint32_t* size) noexcept nogil:
    cdef const uint8_t* at = <const uint8_t*> record + sizeof(Record)
    cdef int i
    for i in range(which):
        at += record.sizes[i]
    size[0] = record.sizes[which]
    return at


cdef Text _told(const Record* record, int which) noexcept nogil:
    cdef Text text
    if record.size <= sizeof(Record) + 7:
        return text_of(NULL, 0)
    text.at = record_text(record, which, &text.size)
    return text


cdef uint32_t _sequence(const uint8_t* at, uint32_t size) noexcept nogil:
    """How many bytes of UTF-8 make the character that begins here; 0: none do (RFC 3629, 4)."""
    cdef uint8_t c = at[0]
    cdef uint32_t n, i
    if c < 0xC2 or c > 0xF4:
        return 0
    n = 2 if c < 0xE0 else 3 if c < 0xF0 else 4
    if n > size:
        return 0
    for i in range(1, n):
        if at[i] & 0xC0 != 0x80:
            return 0
    if (c == 0xE0 and at[1] < 0xA0) or (c == 0xED and at[1] > 0x9F) \
            or (c == 0xF0 and at[1] < 0x90) or (c == 0xF4 and at[1] > 0x8F):
        return 0
    return n


cdef void _put_odd(Writer* w, uint8_t c, bint json) noexcept nogil:
    cdef const char* hexadecimal = "0123456789abcdef"
    cdef uint8_t[6] escaped
    cdef int n = 0
    escaped[0] = 92
    if json and (c == c'"' or c == c'\\'):
        escaped[1] = c
        n = 2
    elif json:
        memcpy(&escaped[1], <const char*> b"u00", 3)
        n = 6
    else:
        escaped[1] = 120
        n = 4
    if n > 2:
        escaped[n - 2] = hexadecimal[c >> 4]
        escaped[n - 1] = hexadecimal[c & 15]
    put(w, escaped, n)


cdef inline bint _are_plain(const uint8_t* at) noexcept nogil:
    """Whether the next eight bytes can stand in a text as they are: the marks of bytes below 32,
    of 34 and 92 (none of both left over by xor), and of 127 and above."""
    cdef uint64_t word, ones = <uint64_t> 0x0101010101010101u
    cdef uint64_t quotes, strokes, odd
    memcpy(&word, at, 8)
    quotes = word ^ ones * 34
    strokes = word ^ ones * 92
    odd = (word - ones * 32) | (quotes - ones) | (strokes - ones) | (word + ones)
    return (odd | word) & ones * 128 == 0


cdef void _put_escaped(Writer* w, const uint8_t* at, uint32_t size, bint json) noexcept nogil:
    cdef uint32_t start = 0, i = 0, n
    while i < size:
        if i + 8 <= size and _are_plain(at + i):
            i += 8
            continue
        if likely(_unlike[at[i]] == 0):
            i += 1
            continue
        n = _sequence(at + i, size - i) if json and _unlike[at[i]] == 2 else 0
        if n:
            i += n
            continue
        put(w, at + start, i - start)
        _put_odd(w, at[i], json)
        i += 1
        start = i
    put(w, at + start, size - start)


cdef void _put_text(Writer* w, Text text, bint json) noexcept nogil:
    if text.size:
        _put_escaped(w, text.at, text.size, json)
    elif not json:
        put_literal(w, b"-")


cdef void _put_number(Writer* w, uint64_t number) noexcept nogil:
    if unlikely(w.end - w.at < 20):
        w.full = True
        return
    w.at += put_number(w.at, number)


cdef void _put_digits(Writer* w, uint32_t number, int n) noexcept nogil:
    """With zeros in front."""
    cdef int i
    if unlikely(w.end - w.at < n):
        w.full = True
        return
    for i in range(n - 1, -1, -1):
        w.at[i] = 48 + number % 10
        number //= 10
    w.at += n


cdef void _put_seconds(Writer* w, uint64_t ns) noexcept nogil:
    cdef uint64_t us = ns // 1000
    _put_number(w, us // 1000000)
    put_literal(w, b".")
    _put_digits(w, <uint32_t> (us % 1000000), 6)


cdef void _put_measured(Writer* w, uint64_t ns, bint json) noexcept nogil:
    if ns:
        _put_seconds(w, ns)
    elif json:
        put_literal(w, b"null")
    else:
        put_literal(w, b"-")


cdef void _put_time(Writer* w, const Record* record, LogClock* clock, bint iso) noexcept nogil:
    cdef int64_t ns = <int64_t> record.begin_ns + clock.offset_ns
    cdef int64_t second = ns // 1000000000
    if unlikely(second != clock.second):
        clock.second = second
        _date(clock)
    if iso:
        put(w, clock.iso, 20)
        _put_digits(w, <uint32_t> (ns % 1000000000 // 1000000), 3)
        put_literal(w, b"Z")
    else:
        put(w, clock.clf, 26)


cdef void _date(LogClock* clock) noexcept nogil:
    cdef const char* months = "JanFebMarAprMayJunJulAugSepOctNovDec"
    cdef tm now
    cdef Writer w
    clock_date(clock.second, &now)
    w.at = <uint8_t*> clock.iso
    w.end = w.at + sizeof(clock.iso)
    w.full = False
    _put_digits(&w, now.tm_year + 1900, 4)
    put_literal(&w, b"-")
    _put_digits(&w, now.tm_mon + 1, 2)
    put_literal(&w, b"-")
    _put_digits(&w, now.tm_mday, 2)
    put_literal(&w, b"T")
    _put_clock(&w, &now)
    put_literal(&w, b".")
    w.at = <uint8_t*> clock.clf
    w.end = w.at + sizeof(clock.clf)
    _put_digits(&w, now.tm_mday, 2)
    put_literal(&w, b"/")
    put(&w, months + 3 * now.tm_mon, 3)
    put_literal(&w, b"/")
    _put_digits(&w, now.tm_year + 1900, 4)
    put_literal(&w, b":")
    _put_clock(&w, &now)
    put_literal(&w, b" +0000")


cdef void _put_clock(Writer* w, const tm* now) noexcept nogil:
    _put_digits(w, now.tm_hour, 2)
    put_literal(w, b":")
    _put_digits(w, now.tm_min, 2)
    put_literal(w, b":")
    _put_digits(w, now.tm_sec, 2)


cdef Text _version(const Record* record) noexcept nogil:
    cdef const char* text = b"1.1"
    if record.flags & RECORD_OLD:
        text = b"1.0"
    elif record.flags & RECORD_H2:
        text = b"2.0"
    return text_of(<const uint8_t*> text, 3 if record.kind == RECORD_HTTP else 0)


cdef void _put_request(Writer* w, const Record* record, bint json) noexcept nogil:
    """The request's first line."""
    cdef Text method = _told(record, TOLD_METHOD)
    cdef Text query = _told(record, TOLD_QUERY)
    if method.size == 0:
        _put_text(w, method, json)
        return
    _put_text(w, method, json)
    put_literal(w, b" ")
    _put_text(w, _told(record, TOLD_PATH), json)
    if query.size:
        put_literal(w, b"?")
        _put_text(w, query, json)
    put_literal(w, b" HTTP/")
    put_text(w, _version(record))


cdef Text _of_trace(const Record* record, int field) noexcept nogil:
    cdef Text trace = _told(record, TOLD_TRACE)
    if trace.size != 55 or (field == FIELD_SPAN_ID and not record.flags & RECORD_TRACED):
        return text_of(NULL, 0)
    if field == FIELD_SPAN_ID:
        return text_of(trace.at + 36, 16)
    return text_of(trace.at + 3, 32)


cdef void _put_amount(const Record* record, int field, Writer* w, bint json) noexcept nogil:
    if field == FIELD_STATUS:
        if record.status or json:
            _put_number(w, record.status)
        else:
            put_literal(w, b"-")
    elif field == FIELD_BYTES_IN:
        _put_number(w, record.bytes_in)
    elif field == FIELD_BYTES_OUT:
        _put_number(w, record.bytes_out)
    elif field == FIELD_BODY_BYTES:
        _put_number(w, record.body_bytes)
    elif field == FIELD_DURATION:
        _put_seconds(w, record.duration_ns)
    elif field == FIELD_CONNECT:
        _put_measured(w, record.connect_ns, json)
    elif field == FIELD_FIRST_BYTE:
        _put_measured(w, record.first_byte_ns, json)
    elif field == FIELD_TRIES:
        _put_number(w, record.attempts)
    elif field == FIELD_CLIENT_PORT:
        _put_number(w, record.client_port)
    elif field == FIELD_ENGINE:
        _put_number(w, record.engine)


cdef Text _text_of(Names names, const Record* record, int field) noexcept nogil:
    if field == FIELD_PROTOCOL:
        if record.kind == RECORD_HTTP:
            return text_of_literal(b"http")
        return text_of(<const uint8_t*> (b"tcp" if record.kind == RECORD_TCP else b"udp"), 3)
    elif field == FIELD_LISTENER:
        return names.text(record.listener)
    elif field == FIELD_ROUTE:
        return names.text(record.route)
    elif field == FIELD_POOL:
        return names.text(record.pool)
    elif field == FIELD_SERVER:
        return names.text(record.server)
    elif field == FIELD_CLIENT_IP:
        return text_of(<const uint8_t*> record.client_ip, record.client_ip_size)
    elif field == FIELD_METHOD:
        return _told(record, TOLD_METHOD)
    elif field == FIELD_HOST:
        return _told(record, TOLD_HOST)
    elif field == FIELD_PATH:
        return _told(record, TOLD_PATH)
    elif field == FIELD_QUERY:
        return _told(record, TOLD_QUERY)
    elif field == FIELD_USER_AGENT:
        return _told(record, TOLD_USER_AGENT)
    elif field == FIELD_REFERER:
        return _told(record, TOLD_REFERER)
    elif field == FIELD_REQUEST_ID:
        return _told(record, TOLD_REQUEST_ID)
    elif field == FIELD_TRACE_ID or field == FIELD_SPAN_ID:
        return _of_trace(record, field)
    elif field == FIELD_PARENT_ID:
        return _told(record, TOLD_PARENT)
    elif field == FIELD_VERSION:
        return _version(record)
    elif field == FIELD_REASON:
        return end_reason(record.reason).name
    elif field >= FIELD_FACTS:
        return _told(record, TOLD_FACTS + field - FIELD_FACTS)
    return text_of(NULL, 0)


cdef class LogFormat:
    """A line as pairs of what comes before a field (bytes), and the field's name ("" for none).
    With `json`, texts are escaped as JSON wants it, and stand between quotes of the caller's."""

    def __init__(self, pieces: list, bint json):
        cdef int i
        self._kept = [literal for literal, _ in pieces]
        self._json = json
        self._n = len(pieces)
        self._pieces = <Piece*> calloc(self._n + 1, sizeof(Piece))
        if self._pieces == NULL:
            raise MemoryError
        for i, (literal, name) in enumerate(pieces):
            self._pieces[i].literal = text_of(
                <const unsigned char*> <const char*> literal, len(literal))
            self._pieces[i].field = FIELDS[name] if name else FIELD_NONE

    def __dealloc__(self):
        free(self._pieces)

    cdef void put_line(self, Names names, const Record* record, LogClock* clock,
                       Writer* w) noexcept nogil:
        """w.full where there is no room for it."""
        cdef int i, field
        for i in range(self._n):
            put_text(w, self._pieces[i].literal)
            field = self._pieces[i].field
            if field == FIELD_NONE:
                continue
            if field == FIELD_TIME or field == FIELD_TIME_LOCAL:
                _put_time(w, record, clock, field == FIELD_TIME)
            elif field == FIELD_REQUEST:
                _put_request(w, record, self._json)
            elif FIELD_STATUS <= field <= FIELD_TRIES or field == FIELD_CLIENT_PORT \
                    or field == FIELD_ENGINE:
                _put_amount(record, field, w, self._json)
            else:
                _put_text(w, _text_of(names, record, field), self._json)
        put_literal(w, b"\n")
