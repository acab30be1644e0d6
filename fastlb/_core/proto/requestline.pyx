# Whether a connection begins with an HTTP/1 request, and one for a WebSocket. Whether it is a right
# one is for whoever answers it.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr, memcmp

from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport head_end, is_digit, is_literal_nocase, next_token, text_of

cdef enum:
    METHOD_MAX = 31
    VERSION_BYTES = 9           # " HTTP/1.1"


cdef int _first_line(const uint8_t* data, uint32_t size) noexcept nogil:
    """Up to its end (RFC 9112, 3); 0: more is wanted, -1: it is another one's."""
    cdef const uint8_t* end
    cdef uint32_t i = 0, n
    while i < size and (c'A' <= data[i] <= c'Z' or data[i] == c'-'):
        i += 1
    if i > METHOD_MAX:
        return -1
    if i == size:
        return 0
    if i == 0 or data[i] != c' ' or (i + 1 < size and data[i + 1] <= 32):
        return -1
    end = <const uint8_t*> memchr(data, 10, size)
    if end == NULL:
        return 0
    n = <uint32_t> (end - data)
    if n and data[n - 1] == c'\r':
        n -= 1
    if n < i + 2 + VERSION_BYTES or not is_digit(data[n - 1]) \
            or memcmp(data + n - VERSION_BYTES, <const char*> b" HTTP/1.", VERSION_BYTES - 1) != 0:
        return -1
    return <int> (end - data) + 1


cdef bint _has_token(const uint8_t* at, uint32_t size, const char* token) noexcept nogil:
    cdef Text rest = text_of(at, size)
    cdef Text one
    while next_token(&rest, &one):
        if is_literal_nocase(one.at, one.size, token):
            return True
    return False


cdef bint _is_websocket(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """By the fields between."""
    cdef bint upgrade = False, websocket = False
    cdef const uint8_t* line_end
    cdef const uint8_t* colon
    cdef uint32_t name, size
    while at < end:
        line_end = <const uint8_t*> memchr(at, 10, end - at)
        if line_end == NULL:
            break
        size = <uint32_t> (line_end - at)
        if size and at[size - 1] == c'\r':
            size -= 1
        colon = <const uint8_t*> memchr(at, 58, size)
        if colon != NULL:
            name = <uint32_t> (colon - at)
            if is_literal_nocase(at, name, b"upgrade"):
                websocket = websocket or _has_token(
                    colon + 1, size - name - 1, b"websocket")
            elif is_literal_nocase(at, name, b"connection"):
                upgrade = upgrade or _has_token(colon + 1, size - name - 1, b"upgrade")
        at = line_end + 1
    return upgrade and websocket


cdef int parse_opening(const uint8_t* data, uint32_t size, FirstLine* opening) noexcept nogil:
    """Bytes of the head, 0 (more is wanted, though opening.is_request may be known), or -1: this is
    none."""
    cdef int line = _first_line(data, size)
    cdef const uint8_t* end
    opening.is_request = line > 0
    opening.is_websocket = False
    if line <= 0:
        return line
    end = head_end(data + line - 1, data + size)
    if end == NULL:
        return 0
    opening.is_websocket = memcmp(data, <const char*> b"GET ", 4) == 0 \
        and _is_websocket(data + line, end)
    return <int> (end - data) + 2
