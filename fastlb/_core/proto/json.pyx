# Members of a JSON object (RFC 8259), read strictly. What two readers could read differently is no
# JSON here. Nothing is built but a list of the outermost members.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memset

from fastlb._core.base.head cimport Member, Members, Text
from fastlb._core.base.limits cimport JSON_DEPTH_MAX, MEMBERS_MAX
from fastlb._core.base.text cimport equal, hex_value, is_digit, text_of
from fastlb._core.ext.atomic cimport likely

cdef struct Reader:
    const uint8_t* at
    const uint8_t* end
    uint8_t* room               # for strings with escapes; NULL: they are only checked


cdef inline int _peek(Reader* r) noexcept nogil:
    """The next byte that is no white space, or -1."""
    while r.at < r.end and (r.at[0] == c' ' or r.at[0] == c'\n' or r.at[0] == c'\r'
                            or r.at[0] == c'\t'):
        r.at += 1
    return r.at[0] if r.at < r.end else -1


cdef int _hex4(Reader* r) noexcept nogil:
    cdef int i, digit, value = 0
    if r.end - r.at < 4:
        return -1
    for i in range(4):
        digit = hex_value(r.at[i])
        if digit < 0:
            return -1
        value = value << 4 | digit
    r.at += 4
    return value


cdef int _utf8(uint32_t point, uint8_t* into) noexcept nogil:
    if point < 0x80:
        into[0] = <uint8_t> point
        return 1
    if point < 0x800:
        into[0] = <uint8_t> (0xC0 | point >> 6)
        into[1] = <uint8_t> (0x80 | point & 63)
        return 2
    if point < 0x10000:
        into[0] = <uint8_t> (0xE0 | point >> 12)
        into[1] = <uint8_t> (0x80 | point >> 6 & 63)
        into[2] = <uint8_t> (0x80 | point & 63)
        return 3
    into[0] = <uint8_t> (0xF0 | point >> 18)
    into[1] = <uint8_t> (0x80 | point >> 12 & 63)
    into[2] = <uint8_t> (0x80 | point >> 6 & 63)
    into[3] = <uint8_t> (0x80 | point & 63)
    return 4


cdef int _escape(Reader* r, uint8_t* into) noexcept nogil:
    """What follows a backslash: bytes written, or -1."""
    cdef uint8_t c
    cdef int high, low
    if r.at == r.end:
        return -1
    c = r.at[0]
    r.at += 1
    if c == c'u':
        high = _hex4(r)
        if high < 0 or 0xDC00 <= high < 0xE000:
            return -1
        if high < 0xD800 or high >= 0xE000:
            return _utf8(<uint32_t> high, into)
        if r.end - r.at < 6 or r.at[0] != c'\\' or r.at[1] != c'u':
            return -1
        r.at += 2
        low = _hex4(r)
        if not 0xDC00 <= low < 0xE000:
            return -1
        return _utf8(0x10000 + (<uint32_t> (high - 0xD800) << 10) + <uint32_t> (low - 0xDC00), into)
    if c == c'"' or c == c'\\' or c == c'/':
        into[0] = c
    elif c == c'b':
        into[0] = 8
    elif c == c'f':
        into[0] = 12
    elif c == c'n':
        into[0] = c'\n'
    elif c == c'r':
        into[0] = c'\r'
    elif c == c't':
        into[0] = c'\t'
    else:
        return -1
    return 1


cdef int _sequence(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """The length of a UTF-8 sequence of more than one byte (RFC 3629, 4), or -1."""
    cdef uint8_t c = at[0]
    cdef int n = 2 if 0xC2 <= c <= 0xDF else 3 if (c & 0xF0) == 0xE0 else 4 if 0xF0 <= c <= 0xF4 \
        else -1
    cdef int i
    if n < 0 or end - at < n:
        return -1
    for i in range(1, n):
        if (at[i] & 0xC0) != 0x80:
            return -1
    if (c == 0xE0 and at[1] < 0xA0) or (c == 0xED and at[1] > 0x9F) or (
            c == 0xF0 and at[1] < 0x90) or (c == 0xF4 and at[1] > 0x8F):
        return -1
    return n


cdef bint _string(Reader* r, Text* text) noexcept nogil:
    """A string, from its first quote: the bytes it stands for, where they are or in the room."""
    cdef const uint8_t* start
    cdef uint8_t* out = NULL
    cdef uint8_t[4] spare
    cdef uint8_t c
    cdef int n, k
    r.at += 1
    start = r.at
    while r.at < r.end:
        c = r.at[0]
        if c == c'"':
            if out != NULL:
                text[0] = text_of(r.room, <uint32_t> (out - r.room))
                r.room = out
            else:
                text[0] = text_of(start, <uint32_t> (r.at - start))
            r.at += 1
            return True
        if c < 32:
            return False
        if c == c'\\':
            if out == NULL and r.room != NULL:
                out = r.room
                while start < r.at:
                    out[0] = start[0]
                    out += 1
                    start += 1
            r.at += 1
            n = _escape(r, out if out != NULL else spare)
            if n < 0:
                return False
            if out != NULL:
                out += n
            continue
        n = 1 if likely(c < 0x80) else _sequence(r.at, r.end)
        if n < 0:
            return False
        if out != NULL:
            for k in range(n):
                out[k] = r.at[k]
            out += n
        r.at += n
    return False


cdef bint _number(Reader* r) noexcept nogil:
    if r.at < r.end and r.at[0] == c'-':
        r.at += 1
    if r.at == r.end or not is_digit(r.at[0]):
        return False
    if r.at[0] == c'0':
        r.at += 1
    else:
        _digits(r)
    if r.at < r.end and r.at[0] == c'.':
        r.at += 1
        if not _digits(r):
            return False
    if r.at < r.end and r.at[0] | 32 == 101:
        r.at += 1
        if r.at < r.end and (r.at[0] == c'+' or r.at[0] == c'-'):
            r.at += 1
        if not _digits(r):
            return False
    return True


cdef bint _digits(Reader* r) noexcept nogil:
    cdef const uint8_t* start = r.at
    while r.at < r.end and is_digit(r.at[0]):
        r.at += 1
    return r.at > start


cdef bint _word(Reader* r, const char* word, uint32_t size) noexcept nogil:
    if r.end - r.at < size or memcmp(r.at, word, size) != 0:
        return False
    r.at += size
    return True


cdef bint _scalar(Reader* r, Text* text) noexcept nogil:
    """A string, number or literal."""
    cdef const uint8_t* start = r.at
    cdef uint8_t c = r.at[0]
    cdef bint good
    if c == c'"':
        return _string(r, text)
    if c == c't':
        good = _word(r, "true", 4)
    elif c == c'f':
        good = _word(r, "false", 5)
    elif c == c'n':
        good = _word(r, "null", 4)
    else:
        good = _number(r)
    text[0] = text_of(start, <uint32_t> (r.at - start))
    return good


cdef bint _key(Reader* r, Text* name) noexcept nogil:
    if _peek(r) != 34 or not _string(r, name) or _peek(r) != 58:
        return False
    r.at += 1
    return True


cdef bint _skip(Reader* r) noexcept nogil:
    """Past an object or array at hand, checked to its end."""
    cdef uint64_t objects = 0   # a bit a level
    cdef int depth = 0, c
    cdef uint8_t* room = r.room
    cdef Text ignored
    r.room = NULL
    while True:
        c = _peek(r)
        if c == c'{' or c == c'[':
            if depth == JSON_DEPTH_MAX:
                return False
            objects = objects << 1 | (c == c'{')
            depth += 1
            r.at += 1
            if _peek(r) != (125 if objects & 1 else 93):
                if objects & 1 and not _key(r, &ignored):
                    return False
                continue
        elif c < 0 or not _scalar(r, &ignored):
            return False
        while depth:                    # after a value
            c = _peek(r)
            if c == c',':
                r.at += 1
                if objects & 1 and not _key(r, &ignored):
                    return False
                break
            if c != (125 if objects & 1 else 93):
                return False
            r.at += 1
            objects >>= 1
            depth -= 1
        if depth == 0:
            r.room = room
            return True


cdef int json_members(Text text, Members* members, uint8_t* room) noexcept nogil:
    """1: the members of an object, or none if it is something else; 0: no JSON, or more than
    MEMBERS_MAX members; -1: two of one name. `room` is for as many bytes as the text has."""
    cdef Reader r
    cdef Member* member
    cdef uint32_t i
    cdef int c
    r.at = text.at
    r.end = text.at + text.size
    r.room = room
    members.n = 0
    if text.size >= 3 and memcmp(text.at, b"\xef\xbb\xbf", 3) == 0:
        r.at += 3                       # (a byte order mark may be skipped: RFC 8259, 8.1)
    if _peek(&r) != 123:
        return <int> (_peek(&r) >= 0 and _skip(&r) and _peek(&r) < 0)
    r.at += 1
    c = _peek(&r)
    if c == c'}':
        r.at += 1
        return _peek(&r) < 0
    while True:
        if members.n == MEMBERS_MAX:
            return 0
        member = &members.all[members.n]
        memset(member, 0, sizeof(Member))
        if not _key(&r, &member.name):
            return 0
        c = _peek(&r)
        member.is_plain = c != c'{' and c != c'['
        if c < 0 or not (_scalar(&r, &member.value) if member.is_plain else _skip(&r)):
            return 0
        for i in range(members.n):
            if equal(members.all[i].name.at, members.all[i].name.size, member.name.at,
                     member.name.size):
                return -1
        members.n += 1
        c = _peek(&r)
        if c != c',' and c != c'}':
            return 0
        r.at += 1
        if c == c'}':
            return _peek(&r) < 0
