# Lines of access logs: our JSON, and the common and combined formats.
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcmp, memset

from fastlb._core.base.head cimport Member, Members, Text
from fastlb._core.base.text cimport hex_value, is_digit, is_literal, text_of, trimmed
from fastlb._core.proto.json cimport json_members


cdef inline bint _is(Text text, const char* name) noexcept nogil:
    return is_literal(text.at, text.size, name)


cdef uint64_t _number(Text text) noexcept nogil:
    """Of its first digits; what is none is 0."""
    cdef uint64_t number = 0
    cdef uint32_t i
    for i in range(text.size):
        if i == 18 or not is_digit(text.at[i]):
            break
        number = number * 10 + (text.at[i] - 48)
    return number


cdef uint32_t _digits(const uint8_t** at, const uint8_t* end, uint32_t most) noexcept nogil:
    """The number at hand, of `most` digits; behind it comes a byte that is passed over."""
    cdef uint32_t number = 0, i = 0
    while i < most and at[0] < end and is_digit(at[0][0]):
        number = number * 10 + (at[0][0] - c'0')
        at[0] += 1
        i += 1
    if at[0] < end:
        at[0] += 1
    return number


cdef uint64_t _since_1970(uint32_t year, uint32_t month, uint32_t day,
                          uint32_t second) noexcept nogil:
    """Seconds, of a date of the Gregorian calendar; 0: it is none, or too far for nanoseconds."""
    cdef uint64_t days
    if not (1970 <= year < 2500 and 1 <= month <= 12 and 1 <= day <= 31 and second <= 86400):
        return 0
    if month <= 2:                      # (years begin in March, so that leap days are last)
        year -= 1
        month += 12
    days = 365 * <uint64_t> year + year // 4 - year // 100 + year // 400 \
        + (153 * (month - 3) + 2) // 5 + day - 1
    return (days - 719468) * 86400 + second


cdef uint64_t _iso(Text text) noexcept nogil:
    """Milliseconds since 1970 of "2026-11-30T17:00:00.123Z"."""
    cdef const uint8_t* at = text.at
    cdef const uint8_t* end = text.at + text.size
    cdef uint32_t year = _digits(&at, end, 4), month = _digits(&at, end, 2)
    cdef uint32_t day = _digits(&at, end, 2), second = _digits(&at, end, 2) * 3600
    cdef uint32_t ms, size
    second += _digits(&at, end, 2) * 60
    second += _digits(&at, end, 2)
    size = <uint32_t> (end - at)
    ms = _digits(&at, end, 3) if size >= 4 else 0
    return _since_1970(year, month, day, second) * 1000 + ms


cdef uint32_t _month(const uint8_t* at, const uint8_t* end) noexcept nogil:
    cdef const char* names = b"JanFebMarAprMayJunJulAugSepOctNovDec"
    cdef uint32_t i
    for i in range(12):
        if end - at >= 3 and memcmp(at, names + 3 * i, 3) == 0:
            return i + 1
    return 0


cdef uint64_t _clf(Text text) noexcept nogil:
    """Milliseconds since 1970 of "30/Nov/2026:17:00:00 +0100"; 0: it is no time."""
    cdef const uint8_t* at = text.at
    cdef const uint8_t* end = text.at + text.size
    cdef uint32_t day = _digits(&at, end, 2), month = _month(at, end), year, second
    cdef int64_t offset, seconds
    cdef bint is_west
    at += 4 if end - at >= 4 else end - at
    year = _digits(&at, end, 4)
    second = _digits(&at, end, 2) * 3600
    second += _digits(&at, end, 2) * 60
    second += _digits(&at, end, 2)
    is_west = at < end and at[0] == c'-'
    if at < end:
        at += 1
    offset = _digits(&at, end, 4)
    offset = (offset // 100 * 60 + offset % 100) * 60
    seconds = <int64_t> _since_1970(year, month, day, second)
    if seconds == 0:
        return 0
    seconds += offset if is_west else -offset
    return <uint64_t> seconds * 1000 if seconds > 0 else 0


cdef int _from_json(Text text, LogLine* line, Members* members, uint8_t* room) noexcept nogil:
    cdef Member* member
    cdef Text value
    cdef uint32_t i
    cdef uint64_t bytes_out = 0
    cdef bint is_tcp = False
    if json_members(text, members, room) != 1:
        return LINE_UNKNOWN
    for i in range(members.n):
        member = &members.all[i]
        if not member.is_plain:
            continue
        value = member.value
        if _is(member.name, b"method"):
            line.method = value
        elif _is(member.name, b"path"):
            line.target = value
        elif _is(member.name, b"query"):
            line.query = value
        elif _is(member.name, b"host"):
            line.host = value
        elif _is(member.name, b"client_ip"):
            line.client_ip = value
        elif _is(member.name, b"client_port"):
            line.client_port = <uint32_t> _number(value) & 65535
        elif _is(member.name, b"listener"):
            line.listener = value
        elif _is(member.name, b"user_agent"):
            line.user_agent = value
        elif _is(member.name, b"referer"):
            line.referer = value
        elif _is(member.name, b"body_bytes"):
            line.bytes = _number(value)
        elif _is(member.name, b"bytes_out"):
            bytes_out = _number(value)
        elif _is(member.name, b"time"):
            line.time_ms = _iso(value)
        elif _is(member.name, b"protocol"):
            is_tcp = _is(value, b"tcp") or _is(value, b"udp")
    if line.bytes == 0:
        line.bytes = bytes_out
    if is_tcp:
        return LINE_CONNECTION
    return LINE_REQUEST if line.method.size and line.target.size else LINE_UNKNOWN


cdef bint _quoted(Text* rest, Text* value, uint8_t** room) noexcept nogil:
    """The next text in quotes; Apache and nginx escape some bytes in it: \\" and \\x22."""
    cdef uint32_t i = 0, n = 0
    cdef uint8_t* into = room[0]
    cdef uint8_t c
    while i < rest.size and rest.at[i] == c' ':
        i += 1
    if i == rest.size or rest.at[i] != c'"':
        return False
    i += 1
    while i < rest.size and rest.at[i] != c'"':
        c = rest.at[i]
        i += 1
        if c == c'\\' and i < rest.size:
            c = rest.at[i]
            i += 1
            if c == c'x' and i + 1 < rest.size and hex_value(rest.at[i]) >= 0 \
                    and hex_value(rest.at[i + 1]) >= 0:
                c = <uint8_t> (hex_value(rest.at[i]) << 4 | hex_value(rest.at[i + 1]))
                i += 2
        into[n] = c
        n += 1
    if i == rest.size:
        return False
    value[0] = text_of(into, n)
    room[0] = into + n
    rest.at += i + 1
    rest.size -= i + 1
    if n == 1 and into[0] == c'-':        # "-": there was none
        value.size = 0
    return True


cdef bint _word(Text* rest, Text* word) noexcept nogil:
    cdef uint32_t i = 0
    while rest.size and rest.at[0] == c' ':
        rest.at += 1
        rest.size -= 1
    while i < rest.size and rest.at[i] != c' ':
        i += 1
    word[0] = text_of(rest.at, i)
    rest.at += i
    rest.size -= i
    return i > 0


cdef int _from_common(Text text, LogLine* line, uint8_t* room) noexcept nogil:
    cdef Text rest = text
    cdef Text request
    cdef Text word
    cdef const uint8_t* found
    if not _word(&rest, &line.client_ip):
        return LINE_UNKNOWN
    found = <const uint8_t*> memchr(rest.at, 91, rest.size)         # [time]
    if found == NULL:
        return LINE_UNKNOWN
    rest.size -= <uint32_t> (found - rest.at)
    rest.at = found
    found = <const uint8_t*> memchr(rest.at, 93, rest.size)
    if found == NULL:
        return LINE_UNKNOWN
    line.time_ms = _clf(text_of(rest.at + 1, <uint32_t> (found - rest.at) - 1))
    rest.size -= <uint32_t> (found + 1 - rest.at)
    rest.at = found + 1
    if not _quoted(&rest, &request, &room):
        return LINE_UNKNOWN
    if not _word(&request, &line.method) or not _word(&request, &line.target):
        return LINE_UNKNOWN
    if not _word(&rest, &word) or not is_digit(word.at[0]) or not _word(&rest, &word):
        return LINE_UNKNOWN
    line.bytes = _number(word)
    if _quoted(&rest, &line.referer, &room):
        _quoted(&rest, &line.user_agent, &room)
    return LINE_REQUEST


cdef int parse_line(Text text, LogLine* line, Members* members, uint8_t* room) noexcept nogil:
    """A LineKind. `room` is for as many bytes as the text has."""
    memset(line, 0, sizeof(LogLine))
    text = trimmed(text.at, text.size)
    if text.size and text.at[text.size - 1] == c'\r':
        text.size -= 1
    if text.size == 0:
        return LINE_UNKNOWN
    if text.at[0] == c'{':
        return _from_json(text, line, members, room)
    return _from_common(text, line, room)
