# One path for all: what routes see is what the server gets. Escapes, dot segments, double slashes
# and backslashes are decided on here, once (RFC 3986, 6.2.2; docs/http.md).
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memset

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
        if c <= 32 or c == 127 or c == 92 or c == 35:      # controls, space, backslash, "#"
            _classes[c] = FORBIDDEN
        elif c >= 128 or c == 37:
            _classes[c] = ODD
        _unreserved[c] = (48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122
                          or c == 45 or c == 46 or c == 95 or c == 126)
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
        if i + 1 < path.size and (path.at[i + 1] == 47 or path.at[i + 1] == 46):
            return False
    return path.size > 0


cdef inline void _put_escape(uint8_t* into, uint8_t c) noexcept nogil:
    cdef uint8_t high = c >> 4, low = c & 15
    into[0] = 37
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
        if c != 37:
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
    if left and at[0] == 47:
        return 1
    if left >= 3 and at[0] == 37 and ((at[1] == 50 and at[2] == 70)         # %2F, %5C
                                      or (at[1] == 53 and at[2] == 67)):
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
        while i + dots < size and dots < 3 and at[i + dots] == 46:
            dots += 1
        if 1 <= dots <= 2 and (i + dots == size or _slash(at + i + dots, size - i - dots)):
            return True
    return False


cdef int uri_normalise(Text path, bint merge_slashes, uint8_t* into) noexcept nogil:
    """The normal form of a path, which takes up to three times its bytes: its size, or -1 if it
    has none: a broken escape, a NUL, a backslash, or a way out above the root."""
    cdef int n = _escapes(path, into)
    cdef uint32_t size, i = 0, out = 0, end, segment
    if n <= 0 or into[0] != 47:
        return -1
    size = <uint32_t> n
    # Dot segments (RFC 3986, 5.2.4), in place: what is written never overtakes what is read.
    while i < size:                     # at a slash
        segment = i + 1
        end = segment
        while end < size and into[end] != 47:
            end += 1
        if end - segment == 1 and into[segment] == 46:
            if end == size:
                into[out] = 47
                out += 1
        elif end - segment == 2 and into[segment] == 46 and into[segment + 1] == 46:
            if out == 0:
                return -1
            while out and into[out - 1] != 47:
                out -= 1
            out -= 1
            if end == size:
                into[out] = 47
                out += 1
        elif end == segment and end < size and merge_slashes:
            pass
        else:
            into[out] = 47
            for segment in range(segment, end):
                out += 1
                into[out] = into[segment]
            out += 1
        i = end
    if out == 0:
        into[0] = 47
        out = 1
    if _hides_dots(into, out):
        return -1
    return <int> out


cdef int uri_rewritten(Text path, uint8_t* into) noexcept nogil:
    """A path that a route made, which takes up to three times its bytes: its size, or -1 if it
    can't be sent, or has dot segments, which would lead out of where the route sends it."""
    cdef int n = _escapes(path, into)
    if n <= 0 or into[0] != 47 or _hides_dots(into, <uint32_t> n):
        return -1
    return n


cdef void put_escaped(Writer* w, Text text, bint escapes_too) noexcept nogil:
    """A text as a part of a path's segment; with `escapes_too` a "%" is one more character."""
    cdef uint8_t[3] escape
    cdef uint32_t i
    for i in range(text.size):
        if _unreserved[text.at[i]] or (text.at[i] == 37 and not escapes_too):
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
        if c <= 32 or c == 127 or c == 35:
            return -1
        if c >= 128:
            _put_escape(into + n, c)
            n += 3
        else:
            into[n] = c
            n += 1
    return <int> n


cdef bint query_find(Text query, Text name, Text* value) noexcept nogil:
    """The first parameter of that name, as it is written."""
    cdef uint32_t i = 0, start, split
    while i < query.size:
        start = i
        split = 0
        while i < query.size and query.at[i] != 38:
            if query.at[i] == 61 and split == 0:
                split = i + 1
            i += 1
        if split and equal(query.at + start, split - 1 - start, name.at, name.size):
            value[0] = text_of(query.at + split, i - split)
            return True
        if not split and equal(query.at + start, i - start, name.at, name.size):
            value[0] = text_of(query.at + i, 0)
            return True
        i += 1
    return False


cdef bint cookie_find(Text cookies, Text name, Text* value) noexcept nogil:
    """The first cookie of that name (RFC 6265, 5.4)."""
    cdef uint32_t i = 0, start, split
    cdef Text pair
    while i < cookies.size:
        start = i
        split = 0
        while i < cookies.size and cookies.at[i] != 59:
            if cookies.at[i] == 61 and split == 0:
                split = i + 1
            i += 1
        if split:
            pair = trimmed(cookies.at + start, split - 1 - start)
            if equal(pair.at, pair.size, name.at, name.size):
                value[0] = trimmed(cookies.at + split, i - split)
                return True
        i += 1
    return False
