# The one form of a path that routes see and servers get. Escapes, dot segments,
# double slashes and backslashes are decided on here, once (RFC 3986, 6.2.2; docs/http.md).
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr, memset

from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport Writer, equal, hex_value, put, text_of, trimmed
from fastlb._core.ext.atomic cimport likely

cdef enum Class:
    PLAIN = 0
    ODD = 1             # an escape, or a byte that has to become one
    SLASH = 2
    FORBIDDEN = 3

cdef uint8_t[256] _classes
cdef uint8_t[256] _unreserved


cdef void _fill() noexcept nogil:
    cdef int c
    memset(_classes, PLAIN, sizeof(_classes))
    for c in range(256):
        if c <= 32 or c == 127 or c == c'\\' or c == c'#':      # controls, space, backslash, "#"
            _classes[c] = FORBIDDEN
        elif c >= 128 or c == c'%':
            _classes[c] = ODD
        _unreserved[c] = (c'0' <= c <= c'9' or c'A' <= c <= c'Z' or c'a' <= c <= c'z'
                          or c == c'-' or c == c'.' or c == c'_' or c == c'~')
    _classes[47] = SLASH


_fill()


cdef bint uri_is_plain(Text path) noexcept nogil:
    """Whether a path, which begins with a slash, is normal already: most are."""
    cdef uint32_t i
    cdef uint8_t kind
    for i in range(path.size):
        kind = _classes[path.at[i]]
        if likely(kind == PLAIN):
            continue
        if kind != SLASH:
            return False
        if i + 1 < path.size and (path.at[i + 1] == c'/' or path.at[i + 1] == c'.'):
            return False
    return path.size > 0


cdef inline void _put_escape(uint8_t* into, uint8_t c) noexcept nogil:
    cdef uint8_t high = c >> 4, low = c & 15
    into[0] = c'%'
    into[1] = 48 + high if high < 10 else 55 + high
    into[2] = 48 + low if low < 10 else 55 + low


cdef int _escapes(Text text, uint8_t* into) noexcept nogil:
    """Escapes of unreserved characters undone, the others in upper case, bytes beyond ASCII
    escaped: bytes written, at most three times as many, or -1."""
    cdef uint32_t i = 0, n = 0
    cdef int high, low, c
    while i < text.size:
        c = text.at[i]
        if _classes[c] == FORBIDDEN:
            return -1
        if c >= 128:
            _put_escape(into + n, <uint8_t> c)
            n += 3
            i += 1
            continue
        if c != c'%':
            into[n] = <uint8_t> c
            n += 1
            i += 1
            continue
        if i + 2 >= text.size:
            return -1
        high = hex_value(text.at[i + 1])
        low = hex_value(text.at[i + 2])
        if high < 0 or low < 0:
            return -1
        c = high << 4 | low
        if c == 0:
            return -1
        if _unreserved[c]:
            into[n] = <uint8_t> c
            n += 1
        else:
            _put_escape(into + n, <uint8_t> c)
            n += 3
        i += 3
    return <int> n


cdef inline uint32_t _slash(const uint8_t* at, uint32_t left) noexcept nogil:
    """Bytes of a slash or of what someone behind us may take for one; 0: it is none."""
    if left and at[0] == c'/':
        return 1
    if left >= 3 and at[0] == c'%' and ((at[1] == c'2' and at[2] == c'F')         # %2F, %5C
                                      or (at[1] == c'5' and at[2] == c'C')):
        return 3
    return 0


cdef bint _hides_dots(const uint8_t* at, uint32_t size) noexcept nogil:
    """Whether there is a dot segment once escaped slashes and backslashes are slashes."""
    cdef uint32_t i = 0, n, dots
    while i < size:
        n = _slash(at + i, size - i)
        if n == 0:
            i += 1
            continue
        i += n
        dots = 0
        while i + dots < size and dots < 3 and at[i + dots] == c'.':
            dots += 1
        if 1 <= dots <= 2 and (i + dots == size or _slash(at + i + dots, size - i - dots)):
            return True
    return False


cdef int uri_normalise(Text path, uint8_t* into) noexcept nogil:
    """The normal form of a path, which takes up to three times its bytes: its size, or -1 if it
    has none: a broken escape, a NUL, a backslash, or a way out above the root."""
    cdef int n = _escapes(path, into)
    cdef uint32_t size, i = 0, out = 0, end, segment
    if n <= 0 or into[0] != c'/':
        return -1
    size = <uint32_t> n
    # Dot segments (RFC 3986, 5.2.4), in place: what is written never overtakes what is read.
    while i < size:                     # at a slash
        segment = i + 1
        end = segment
        while end < size and into[end] != c'/':
            end += 1
        if end - segment == 1 and into[segment] == c'.':
            if end == size:
                into[out] = c'/'
                out += 1
        elif end - segment == 2 and into[segment] == c'.' and into[segment + 1] == c'.':
            if out == 0:
                return -1
            while out and into[out - 1] != c'/':
                out -= 1
            out -= 1
            if end == size:
                into[out] = c'/'
                out += 1
        else:
            into[out] = c'/'
            for segment in range(segment, end):
                out += 1
                into[out] = into[segment]
            out += 1
        i = end
    if out == 0:
        into[0] = c'/'
        out = 1
    if _hides_dots(into, out):
        return -1
    return <int> out


cdef bint uri_has_double_slash(Text path) noexcept nogil:
    cdef uint32_t i
    for i in range(1, path.size):
        if path.at[i] == c'/' and path.at[i - 1] == c'/':
            return True
    return False


cdef uint32_t uri_merge_slashes(Text path, uint8_t* into) noexcept nogil:
    """A normal path with one slash for each of several in a row: its size."""
    cdef uint32_t i, n = 0
    for i in range(path.size):
        if i == 0 or path.at[i] != c'/' or path.at[i - 1] != c'/':
            into[n] = path.at[i]
            n += 1
    return n


cdef Text uri_rest(Text path, uint32_t segments) noexcept nogil:
    """What follows so many segments and the slashes behind them, where several slashes are one."""
    cdef uint32_t i = 0, k
    for k in range(segments):
        while i < path.size and path.at[i] == c'/':
            i += 1
        while i < path.size and path.at[i] != c'/':
            i += 1
    while i < path.size and path.at[i] == c'/':
        i += 1
    return text_of(path.at + i, path.size - i)


cdef bint uri_has_parameters(Text path) noexcept nogil:
    """Whether a normal path has a ";", which some servers cut off before they look at dot segments,
    or an escaped one, which some undo before that."""
    cdef uint32_t i
    for i in range(path.size):
        if path.at[i] == c';' or (path.at[i] == c'%' and i + 2 < path.size
                                  and path.at[i + 1] == c'3' and path.at[i + 2] == c'B'):
            return True
    return False


cdef int uri_rewritten(Text path, uint8_t* into) noexcept nogil:
    """A path that a route made, which takes up to three times its bytes: its size, or -1 if it
    can't be sent, or has dot segments, which would lead out of where the route sends it."""
    cdef int n = _escapes(path, into)
    if n <= 0 or into[0] != c'/' or _hides_dots(into, <uint32_t> n):
        return -1
    return n


cdef void put_escaped(Writer* w, Text text, bint escapes_too) noexcept nogil:
    """A text as a part of a path's segment; with `escapes_too` a "%" is one more character."""
    cdef uint8_t[3] escape
    cdef uint32_t i
    for i in range(text.size):
        if _unreserved[text.at[i]] or (text.at[i] == c'%' and not escapes_too):
            put(w, text.at + i, 1)
        else:
            _put_escape(escape, text.at[i])
            put(w, escape, 3)


cdef int uri_query(Text query, uint8_t* into) noexcept nogil:
    """A query as it is, with bytes beyond ASCII escaped: its size, or -1 if it can't be sent."""
    cdef uint32_t i, n = 0
    cdef uint8_t c
    for i in range(query.size):
        c = query.at[i]
        if c <= 32 or c == 127 or c == c'#':
            return -1
        if c >= 128:
            _put_escape(into + n, c)
            n += 3
        else:
            into[n] = c
            n += 1
    return <int> n


cdef bint _next_pair(Text* rest, uint8_t end, Text* name, Text* value) noexcept nogil:
    """Cut the next name and value off, up to `end`. A value that isn't there lies at NULL."""
    cdef const uint8_t* at = rest.at
    cdef uint32_t i = 0, split = 0
    if rest.size == 0:
        return False
    while i < rest.size and at[i] != end:
        if at[i] == c'=' and split == 0:
            split = i + 1
        i += 1
    name[0] = text_of(at, split - 1 if split else i)
    value[0] = text_of(at + split, i - split) if split else text_of(NULL, 0)
    if i < rest.size:
        i += 1
    rest.at += i
    rest.size -= i
    return True


cdef bint query_next(Text* rest, Text* name, Text* value) noexcept nogil:
    """The next parameter, as it is written."""
    return _next_pair(rest, c'&', name, value)


cdef bint cookie_next(Text* rest, Text* name, Text* value) noexcept nogil:
    """The next cookie (RFC 6265, 5.4)."""
    while _next_pair(rest, c';', name, value):
        if value.at != NULL:
            name[0] = trimmed(name.at, name.size)
            value[0] = trimmed(value.at, value.size)
            return True
    return False


cdef bint query_find(Text query, Text name, Text* value) noexcept nogil:
    """The first parameter of that name, as it is written."""
    cdef Text found
    while query_next(&query, &found, value):
        if equal(found.at, found.size, name.at, name.size):
            return True
    return False


cdef bint cookie_find(Text cookies, Text name, Text* value) noexcept nogil:
    """The first cookie of that name."""
    cdef Text found
    while cookie_next(&cookies, &found, value):
        if equal(found.at, found.size, name.at, name.size):
            return True
    return False


cdef Text query_decoded(Text text, uint8_t* room) noexcept nogil:
    """A name or value as servers read it (WHATWG URL, 5.1): escapes undone, "+" as a space, and a
    broken escape as it is. `room` is for as many bytes as it has."""
    cdef uint32_t i = 0, n = 0
    cdef int high, low
    cdef uint8_t c
    if text.size == 0 or (memchr(text.at, c'%', text.size) == NULL
                          and memchr(text.at, c'+', text.size) == NULL):
        return text
    while i < text.size:
        c = text.at[i]
        i += 1
        if c == c'+':
            c = c' '
        elif c == c'%' and i + 1 < text.size:
            high = hex_value(text.at[i])
            low = hex_value(text.at[i + 1])
            if high >= 0 and low >= 0:
                c = <uint8_t> (high << 4 | low)
                i += 2
        room[n] = c
        n += 1
    return text_of(room, n)
