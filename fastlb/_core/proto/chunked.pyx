# The chunked transfer coding (RFC 9112, 7.1). It is read strictly: each line ends with CRLF, sizes
# are hexadecimal digits alone, extensions are checked and thrown away, trailers go to who wants
# them. Of servers blanks after a size, and extensions of any text, are borne with (body.of_server):
# chunks are framed anew, so that nobody else reads them.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.head cimport Body
from fastlb._core.base.limits cimport EXTENSION_BYTES_MAX
from fastlb._core.base.text cimport Writer, hex_value, put
from fastlb._core.ext.atomic cimport likely

cdef enum ChunkState:
    SIZE = 0
    EXTENSION = 1               # of a server
    SIZE_LF = 2
    DATA = 3
    DATA_CR = 4
    DATA_LF = 5
    TRAILER_START = 6           # of a line
    TRAILER_NAME = 7
    TRAILER_VALUE = 8
    TRAILER_LF = 9
    END_LF = 10
    EXT_NAME_START = 11         # behind ";"
    EXT_NAME = 12
    EXT_NAME_END = 13           # blanks behind a name
    EXT_VALUE_START = 14        # behind "="
    EXT_VALUE = 15
    EXT_QUOTED = 16
    EXT_ESCAPED = 17            # behind a backslash
    EXT_QUOTED_END = 18
    EXT_VALUE_END = 19          # blanks behind a value
    SIZE_END = 20               # of a server: blanks behind a size

cdef enum:
    SIZE_DIGITS_MAX = 15        # below 2^60, which no counter overflows at


cdef inline bint _is_token(uint8_t c) noexcept nogil:
    return (97 <= (c | 0x20) <= 122 or c'0' <= c <= c'9' or c == c'-' or c == c'_' or c == c'!'
            or c'#' <= c <= 39 or c == c'*' or c == c'+' or c == c'.' or c == c'^' or c == c'`'
            or c == c'|'
            or c == c'~')


cdef inline bint _is_blank(uint8_t c) noexcept nogil:
    return c == c' ' or c == c'\t'


cdef inline bint _is_text(uint8_t c) noexcept nogil:
    return c >= 32 and c != 127 or c == c'\t'


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
            elif c == c'\r':
                body.state = SIZE_LF
            elif c == c';':
                body.state = EXTENSION if body.of_server else EXT_NAME_START
            elif body.of_server and _is_blank(c):
                body.state = SIZE_END
            else:
                return -1
        elif body.state == EXTENSION or body.state >= EXT_NAME_START:
            body.extra += 1
            if body.extra > EXTENSION_BYTES_MAX or not _extension(body, c):
                return -1
        elif body.state == SIZE_LF:
            if c != c'\n':
                return -1
            body.digits = 0
            body.extra = 0
            body.state = DATA if body.left else TRAILER_START
        elif body.state == DATA_CR:
            if c != c'\r':
                return -1
            body.state = DATA_LF
        elif body.state == DATA_LF:
            if c != c'\n':
                return -1
            body.state = SIZE
        elif body.state == END_LF:
            if c != c'\n':
                return -1
            body.done = True
            return <int> i
        elif not _trailer(body, c, trailers):
            return -1
    return <int> i


cdef inline bint _after_extension(Body* body, uint8_t c) noexcept nogil:
    """What may follow a whole one: another, or the line's end."""
    if c == c'\r':
        body.state = SIZE_LF
    elif c == c';':
        body.state = EXT_NAME_START
    else:
        return False
    return True


cdef bint _extension(Body* body, uint8_t c) noexcept nogil:
    """One byte of a chunk's extensions (RFC 9112, 7.1.1); of a server they may be any text."""
    cdef int state = body.state
    if state == EXTENSION:
        if c == c'\r':
            body.state = SIZE_LF
        return c == c'\r' or _is_text(c)
    if state == EXT_QUOTED:
        if c == c'"':
            body.state = EXT_QUOTED_END
        elif c == c'\\':
            body.state = EXT_ESCAPED
        return _is_text(c)
    if state == EXT_ESCAPED:
        body.state = EXT_QUOTED
        return _is_text(c)
    if state == SIZE_END:
        if c == c';':
            body.state = EXTENSION
        elif c == c'\r':
            body.state = SIZE_LF
        return c == c';' or c == c'\r' or _is_blank(c)
    if _is_token(c):
        if state == EXT_NAME_START:
            body.state = EXT_NAME
        elif state == EXT_VALUE_START:
            body.state = EXT_VALUE
        return body.state == EXT_NAME or body.state == EXT_VALUE
    if _is_blank(c):
        if state == EXT_NAME:
            body.state = EXT_NAME_END
        elif state == EXT_VALUE or state == EXT_QUOTED_END:
            body.state = EXT_VALUE_END
        return True
    if state == EXT_NAME_START:
        return False
    if state == EXT_VALUE_START:
        body.state = EXT_QUOTED
        return c == c'"'
    if c == c'=' and (state == EXT_NAME or state == EXT_NAME_END):
        body.state = EXT_VALUE_START
        return True
    # (blanks lead to another extension and not to the line's end)
    if c == c'\r' and (state == EXT_NAME_END or state == EXT_VALUE_END):
        return False
    return _after_extension(body, c)


cdef bint _trailer(Body* body, uint8_t c, Writer* trailers) noexcept nogil:
    """One byte of the trailer section (RFC 9112, 7.1.2)."""
    body.extra += 1
    if body.extra > body.trailers_max:
        return False
    if body.state == TRAILER_START:
        if c == c'\r':
            body.state = END_LF
            return True
        if not _is_token(c):
            return False
        body.state = TRAILER_NAME
    elif body.state == TRAILER_NAME:
        if c == c':':
            body.state = TRAILER_VALUE
        elif not _is_token(c):
            return False
    elif body.state == TRAILER_VALUE:
        if c == c'\r':
            body.state = TRAILER_LF
        elif not _is_text(c):
            return False
    else:
        if c != c'\n':
            return False
        body.state = TRAILER_START
    if trailers != NULL:
        put(trailers, &c, 1)
    return True
