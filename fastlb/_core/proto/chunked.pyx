# The chunked transfer coding (RFC 9112, 7.1), read strictly: each line ends with CRLF, sizes are
# hexadecimal digits alone, extensions are thrown away, trailers go to who wants them.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.head cimport Body
from fastlb._core.base.limits cimport EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX
from fastlb._core.base.text cimport Writer, hex_value, put
from fastlb._core.ext.atomic cimport likely

cdef enum ChunkState:
    SIZE = 0
    EXTENSION = 1
    SIZE_LF = 2
    DATA = 3
    DATA_CR = 4
    DATA_LF = 5
    TRAILER_START = 6           # of a line
    TRAILER_NAME = 7
    TRAILER_VALUE = 8
    TRAILER_LF = 9
    END_LF = 10

cdef enum:
    SIZE_DIGITS_MAX = 15        # below 2^60, which no counter overflows at


cdef inline bint _is_token(uint8_t c) noexcept nogil:
    return (97 <= (c | 0x20) <= 122 or 48 <= c <= 57 or c == 45 or c == 95 or c == 33
            or 35 <= c <= 39 or c == 42 or c == 43 or c == 46 or c == 94 or c == 96 or c == 124
            or c == 126)


cdef inline bint _is_text(uint8_t c) noexcept nogil:
    return c >= 32 and c != 127 or c == 9


cdef int chunked_next(Body* body, const uint8_t* data, uint32_t size, Piece* piece,
                      Writer* trailers) noexcept nogil:
    """Read on up to the end of the next piece of content, of the body (body.done), or of the data:
    bytes used, or -1 if it is no chunked body. `piece.size` is 0 where there is none. `trailers`
    gets their lines as they are; NULL throws them away."""
    cdef uint32_t i = 0, take
    cdef uint8_t c
    cdef int digit
    piece.at = piece.size = 0
    while i < size:
        c = data[i]
        if likely(body.state == DATA):
            take = size - i if body.left > size - i else <uint32_t> body.left
            piece.at = i
            piece.size = take
            body.left -= take
            body.total += take
            if body.left == 0:
                body.state = DATA_CR
            return <int> (i + take)
        i += 1
        if body.state == SIZE:
            digit = hex_value(c)
            if digit >= 0:
                if body.digits == SIZE_DIGITS_MAX:
                    return -1
                body.digits += 1
                body.left = body.left << 4 | <uint64_t> digit
            elif body.digits == 0:
                return -1
            elif c == 13:
                body.state = SIZE_LF
            elif c == 59:
                body.state = EXTENSION
                body.extra = 0
            else:
                return -1
        elif body.state == EXTENSION:
            body.extra += 1
            if c == 13:
                body.state = SIZE_LF
            elif not _is_text(c) or body.extra > EXTENSION_BYTES_MAX:
                return -1
        elif body.state == SIZE_LF:
            if c != 10:
                return -1
            body.digits = 0
            body.extra = 0
            body.state = DATA if body.left else TRAILER_START
        elif body.state == DATA_CR:
            if c != 13:
                return -1
            body.state = DATA_LF
        elif body.state == DATA_LF:
            if c != 10:
                return -1
            body.state = SIZE
        elif body.state == END_LF:
            if c != 10:
                return -1
            body.done = True
            return <int> i
        elif not _trailer(body, c, trailers):
            return -1
    return <int> i


cdef bint _trailer(Body* body, uint8_t c, Writer* trailers) noexcept nogil:
    """One byte of the trailer section (RFC 9112, 7.1.2)."""
    body.extra += 1
    if body.extra > TRAILER_BYTES_MAX:
        return False
    if body.state == TRAILER_START:
        if c == 13:
            body.state = END_LF
            return True
        if not _is_token(c):
            return False
        body.state = TRAILER_NAME
    elif body.state == TRAILER_NAME:
        if c == 58:
            body.state = TRAILER_VALUE
        elif not _is_token(c):
            return False
    elif body.state == TRAILER_VALUE:
        if c == 13:
            body.state = TRAILER_LF
        elif not _is_text(c):
            return False
    else:
        if c != 10:
            return False
        body.state = TRAILER_START
    if trailers != NULL:
        put(trailers, &c, 1)
    return True
