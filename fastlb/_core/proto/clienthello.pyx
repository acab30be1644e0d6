# The TLS ClientHello (RFC 8446, 4.1.2): the host and the protocols it asks for. It may lie in
# several records.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.limits cimport (
    ALPN_BYTES_MAX, SNIFF_BYTES_MAX, TLS_NAME_BYTES_MAX, TLS_RECORD_BYTES,
)
from fastlb._core.base.text cimport is_digit, lower

cdef enum:
    HANDSHAKE = 22              # a record's type
    CLIENT_HELLO = 1            # a message's
    RECORD_HEAD = 5             # bytes
    MESSAGE_HEAD = 4
    MESSAGE_MIN = 41            # without extensions: version, random, and three lists
    SESSION_MAX = 32
    SERVER_NAME = 0             # extensions
    ALPN = 16
    HOST_NAME = 0               # a kind of name

cdef struct Reader:             # of a message that is known to be here, over its records
    const uint8_t* at
    uint32_t record             # bytes left of the record
    uint32_t left               # of what is read: the message, or a part of it
    bint broken


cdef bint _may_begin_record(const uint8_t* data, uint32_t size) noexcept nogil:
    """As far as it is here. The version is 3.1 or 3.3 of all that anybody speaks."""
    return (size < 1 or data[0] == HANDSHAKE) and (size < 2 or data[1] == 3) \
        and (size < 3 or data[2] <= 4)


cdef int _whole(const uint8_t* data, uint32_t size, Hello* hello) noexcept nogil:
    """Bytes up to the message's end; 0: more is wanted, -1: it is none."""
    cdef uint8_t[MESSAGE_HEAD] head
    cdef uint32_t at = 0, got = 0, need = MESSAGE_HEAD, length, here, i
    while True:                 # ends: each record has a byte at least
        if not _may_begin_record(data + at, size - at):
            return -1
        if size - at < RECORD_HEAD:
            hello.wanted = at + RECORD_HEAD
            return 0
        length = data[at + 3] << 8 | data[at + 4]
        if length == 0 or length > TLS_RECORD_BYTES:
            return -1
        at += RECORD_HEAD
        here = length if length < size - at else size - at
        i = 0
        while got < MESSAGE_HEAD and i < here:
            head[got] = data[at + i]
            got += 1
            i += 1
        got += here - i
        if got and head[0] != CLIENT_HELLO:
            return -1
        if got >= MESSAGE_HEAD:
            need = head[1] << 16 | head[2] << 8 | head[3]
            if need < MESSAGE_MIN or need > SNIFF_BYTES_MAX - MESSAGE_HEAD - RECORD_HEAD:
                return -1
            need += MESSAGE_HEAD
        if got >= need:
            return <int> (at + here - (got - need))
        if here < length:
            hello.wanted = size + (need - got if need - got < length - here else length - here)
            return 0
        at += length


cdef inline void _next_record(Reader* r) noexcept nogil:
    r.record = r.at[3] << 8 | r.at[4]
    r.at += RECORD_HEAD


cdef uint32_t _number(Reader* r, int n_bytes) noexcept nogil:
    cdef uint32_t value = 0
    cdef int i
    for i in range(n_bytes):
        if r.left == 0:
            r.broken = True
            return 0
        if r.record == 0:
            _next_record(r)
        value = value << 8 | r.at[0]
        r.at += 1
        r.record -= 1
        r.left -= 1
    return value


cdef void _skip(Reader* r, uint32_t n) noexcept nogil:
    cdef uint32_t step
    if n > r.left:
        r.broken = True
        return
    r.left -= n
    while n:
        if r.record == 0:
            _next_record(r)
        step = n if n < r.record else r.record
        r.at += step
        r.record -= step
        n -= step


cdef void _take_name(Reader* r, Hello* hello) noexcept nogil:
    """RFC 6066, 3: a list with at most one host in it."""
    cdef uint32_t kind, size, i
    cdef bint found = False, is_host = True
    cdef uint8_t c
    if _number(r, 2) != r.left:
        r.broken = True
    while r.left and not r.broken:
        kind = _number(r, 1)
        size = _number(r, 2)
        if size > r.left or (kind == HOST_NAME and found):
            r.broken = True
        elif kind != HOST_NAME or size > TLS_NAME_BYTES_MAX:
            _skip(r, size)
        else:
            found = True
            for i in range(size):
                c = lower(<uint8_t> _number(r, 1))
                hello.name[i] = c
                if not (c'a' <= c <= c'z' or is_digit(c) or c == c'-' or c == c'.' or c == c'_'):
                    is_host = False
            hello.name_size = size if is_host else 0


cdef void _take_protocols(Reader* r, Hello* hello) noexcept nogil:
    """RFC 7301, 3.1: what there is room for of them."""
    cdef uint32_t size, i
    if _number(r, 2) != r.left:
        r.broken = True
    while r.left and not r.broken:
        size = _number(r, 1)
        if size == 0 or size > r.left:
            r.broken = True
        elif hello.alpn_size + 1 + size > ALPN_BYTES_MAX:
            _skip(r, size)
        else:
            hello.alpn[hello.alpn_size] = <uint8_t> size
            for i in range(size):
                hello.alpn[hello.alpn_size + 1 + i] = <uint8_t> _number(r, 1)
            hello.alpn_size += 1 + size


cdef void _take_extensions(Reader* r, Hello* hello) noexcept nogil:
    """None of them comes twice (RFC 8446, 4.2)."""
    cdef uint32_t kind, size, after
    cdef bint named = False, offered = False
    if _number(r, 2) != r.left:
        r.broken = True
    while r.left and not r.broken:
        kind = _number(r, 2)
        size = _number(r, 2)
        if size > r.left:
            r.broken = True
            return
        after = r.left - size
        r.left = size
        if kind == SERVER_NAME:
            r.broken = r.broken or named
            named = True
            _take_name(r, hello)
        elif kind == ALPN:
            r.broken = r.broken or offered
            offered = True
            _take_protocols(r, hello)
        else:
            _skip(r, size)
        r.left += after


cdef int parse_hello(const uint8_t* data, uint32_t size, Hello* hello) noexcept nogil:
    """Bytes used, 0 (more is wanted: hello.wanted), or -1: this is no hello."""
    cdef Reader r
    cdef uint32_t n
    cdef int used
    hello.name_size = hello.alpn_size = 0
    used = _whole(data, size, hello)
    if used <= 0:
        return used
    r.at = data
    r.record = 0
    r.left = MESSAGE_HEAD
    r.broken = False
    n = _number(&r, MESSAGE_HEAD) & 0xFFFFFF
    r.left = n
    if _number(&r, 2) >> 8 != 3:            # (3.3 in all that anybody speaks)
        return -1
    _skip(&r, 32)
    n = _number(&r, 1)
    if n > SESSION_MAX:
        return -1
    _skip(&r, n)
    n = _number(&r, 2)                      # cipher suites
    if n < 2 or n & 1:
        return -1
    _skip(&r, n)
    n = _number(&r, 1)                      # compression
    if n == 0:
        return -1
    _skip(&r, n)
    if r.left and not r.broken:
        _take_extensions(&r, hello)
    if r.broken:
        hello.name_size = hello.alpn_size = 0
        return -1
    return used
