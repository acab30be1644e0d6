# The first command of a Redis client: an array of RESP, or a line of words.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr

from fastlb._core.base.text cimport is_digit, lower
from fastlb._core.ext.linux cimport memmem

cdef enum:
    ARRAY = 42                  # "*"
    BULK = 36                   # "$"
    DIGITS_MAX = 7              # of an array's size: Redis takes 1,048,576 parts
    WORD_MAX = 12

# What people and monitors type at it. (Of all words, SMTP's HELO would be one as well.)
cdef const char* WORDS = (
    b" append auth client command config dbsize decr del echo exists expire get hello hget hset"
    b" incr info keys lpush lrange mget monitor mset multi ping psubscribe psync publish quit"
    b" replconf rpush select set setex subscribe sync ttl type ")
cdef enum:
    WORDS_BYTES = 233


cdef int _array(const uint8_t* data, uint32_t size) noexcept nogil:
    """Up to the mark of its first part."""
    cdef uint32_t i = 1
    while i < size and is_digit(data[i]):
        i += 1
    if i > DIGITS_MAX + 1:
        return -1
    if i == size:
        return 0
    if i == 1 or data[i] != c'\r' or (i + 1 < size and data[i + 1] != c'\n'):
        return -1
    if i + 2 >= size:
        return 0
    return <int> (i + 3) if data[i + 2] == BULK else -1


cdef int _line(const uint8_t* data, uint32_t size) noexcept nogil:
    cdef uint8_t[WORD_MAX + 2] word
    cdef const uint8_t* end
    cdef uint32_t i = 0
    cdef uint8_t c
    word[0] = 32
    while i < size and i <= WORD_MAX:
        c = lower(data[i])
        if not c'a' <= c <= c'z':
            break
        if i == WORD_MAX:
            return -1
        word[i + 1] = c
        i += 1
    if i == size:                       # it may go on
        return 0 if memmem(WORDS, WORDS_BYTES, word, i + 1) != NULL else -1
    word[i + 1] = 32
    if i == 0 or (data[i] != c' ' and data[i] != c'\r' and data[i] != c'\n') \
            or memmem(WORDS, WORDS_BYTES, word, i + 2) == NULL:
        return -1
    end = <const uint8_t*> memchr(data, 10, size)
    if end == NULL:
        return 0
    # A request that is none of HTTP/1.1 must not be taken for a command: Redis would try it.
    if memmem(data, end - data, <const char*> b"HTTP/", 5) != NULL:
        return -1
    return <int> (end - data) + 1


cdef int parse_command(const uint8_t* data, uint32_t size) noexcept nogil:
    """Bytes that tell it, 0 (more is wanted), or -1: this is none."""
    if size == 0:
        return 0
    return _array(data, size) if data[0] == ARRAY else _line(data, size)
