# The method of a request: any token without lower case letters.
from libc.stddef cimport size_t
from libc.stdint cimport uint16_t, uint32_t, uint8_t

from fastlb._core.base.head cimport (
    METHOD_CONNECT, METHOD_DELETE, METHOD_GET, METHOD_HEAD, METHOD_OPTIONS, METHOD_OTHER,
    METHOD_POST, METHOD_PUT, METHOD_TRACE, Head,
)
from fastlb._core.base.text cimport is_literal

cdef enum:
    METHOD_BYTES_MAX = 64       # the longest that is registered has 16

cdef uint8_t[256] _method_bytes


def _fill():
    # Tokens (RFC 9110, 5.6.2) without lower case: methods differ by case, and servers that don't
    # know it take "post" for POST, past the routes that say what POST may do.
    for byte in b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ":
        _method_bytes[<int> byte] = True


_fill()


cdef int _method(const uint8_t* at, uint32_t size) noexcept nogil:
    if size == 3:
        if is_literal(at, 3, b"GET"):
            return METHOD_GET
        if is_literal(at, 3, b"PUT"):
            return METHOD_PUT
    elif size == 4:
        if is_literal(at, 4, b"POST"):
            return METHOD_POST
        if is_literal(at, 4, b"HEAD"):
            return METHOD_HEAD
    elif size == 5:
        if is_literal(at, 5, b"TRACE"):
            return METHOD_TRACE
    elif size == 6:
        if is_literal(at, 6, b"DELETE"):
            return METHOD_DELETE
    elif size == 7:
        if is_literal(at, 7, b"OPTIONS"):
            return METHOD_OPTIONS
        if is_literal(at, 7, b"CONNECT"):
            return METHOD_CONNECT
    return METHOD_OTHER


cdef int find_method(Head* head, const uint8_t* data, size_t size) noexcept nogil:
    """Where the method ends, after empty lines (RFC 9112, 2.2); 0: not yet, -1: there is none."""
    cdef size_t i = 0, start
    while i < size and (data[i] == c'\r' or data[i] == c'\n'):
        i += 1
    start = i
    while i < size and i - start <= METHOD_BYTES_MAX and _method_bytes[data[i]]:
        i += 1
    if i - start > METHOD_BYTES_MAX:
        return -1
    if i == size:
        return 0
    if i == start or data[i] != c' ':
        return -1
    head.method = <uint8_t> _method(data + start, <uint32_t> (i - start))
    head.method_at = <uint32_t> start
    head.method_size = <uint16_t> (i - start)
    return <int> i
