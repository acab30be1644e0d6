# Bytes compared, searched, trimmed and written.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, strlen

from fastlb._core.base.head cimport Text


cdef inline uint8_t lower(uint8_t c) noexcept nogil:
    return c | 0x20 if c'A' <= c <= c'Z' else c


cdef inline bint is_digit(uint8_t c) noexcept nogil:
    return c'0' <= c <= c'9'


cdef inline int hex_value(uint8_t c) noexcept nogil:
    """0 to 15, or -1."""
    if c'0' <= c <= c'9':
        return c - 48
    c |= 0x20
    if c'a' <= c <= c'f':
        return c - 87
    return -1


cdef inline bint equal(const uint8_t* a, uint32_t n, const uint8_t* b, uint32_t m) noexcept nogil:
    """An empty text may be at NULL, where memcmp must not look (C11, 7.24.1)."""
    return n == m and (n == 0 or memcmp(a, b, n) == 0)


cdef inline bint equal_nocase(const uint8_t* a, uint32_t n, const uint8_t* small,
                              uint32_t m) noexcept nogil:
    """`small` is in lower case."""
    cdef uint32_t i
    if n != m:
        return False
    for i in range(n):
        if lower(a[i]) != small[i]:
            return False
    return True


cdef inline Text text_of(const uint8_t* at, uint32_t size) noexcept nogil:
    cdef Text text
    text.at = at
    text.size = size
    return text


cdef inline bint is_literal(const uint8_t* at, size_t size, const char* text) noexcept nogil:
    """Whether bytes are those of a literal."""
    return size == strlen(text) and memcmp(at, text, size) == 0


cdef inline bint is_literal_nocase(const uint8_t* at, uint32_t size,
                                   const char* text) noexcept nogil:
    """Whether bytes are those of a literal, ignoring case. The literal is in lower case."""
    return equal_nocase(at, size, <const uint8_t*> text, <uint32_t> strlen(text))


cdef inline Text text_of_literal(const char* text) noexcept nogil:
    return text_of(<const uint8_t*> text, <uint32_t> strlen(text))


cdef inline size_t texts_size(const Text* texts, int n) noexcept nogil:
    """Bytes of all of them."""
    cdef size_t size = 0
    cdef int i
    for i in range(n):
        size += texts[i].size
    return size


cdef inline void texts_copy(Text* into, const Text* texts, int n, uint8_t* room) noexcept nogil:
    """With their bytes, which `room` is for: `texts_size`."""
    cdef int i
    for i in range(n):
        into[i] = text_of(room, texts[i].size)
        if texts[i].size:
            memcpy(room, texts[i].at, texts[i].size)
            room += texts[i].size


cdef inline Text trimmed(const uint8_t* at, uint32_t size) noexcept nogil:
    """Without spaces and tabs around it."""
    while size and (at[0] == c' ' or at[0] == c'\t'):
        at += 1
        size -= 1
    while size and (at[size - 1] == c' ' or at[size - 1] == c'\t'):
        size -= 1
    return text_of(at, size)


cdef inline bint next_token(Text* rest, Text* token) noexcept nogil:
    """Cut the next element off a comma-separated list; empty ones are left out."""
    cdef uint32_t i
    while rest.size:
        i = 0
        while i < rest.size and rest.at[i] != c',':
            i += 1
        token[0] = trimmed(rest.at, i)
        rest.at += i
        rest.size -= i
        if rest.size:
            rest.at += 1
            rest.size -= 1
        if token.size:
            return True
    return False


cdef inline const uint8_t* head_end(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Where the empty line after a head's lines begins; NULL: it isn't whole."""
    while True:
        at = <const uint8_t*> memchr(at, 10, end - at)
        if at == NULL or end - at < 3:
            return NULL
        at += 1
        if at[0] == c'\r' and at[1] == c'\n':
            return at


cdef inline uint64_t hash_bytes(uint64_t hash, const uint8_t* at, uint32_t size) noexcept nogil:
    """FNV-1a; begin with HASH_SEED."""
    cdef uint32_t i
    for i in range(size):
        hash = (hash ^ at[i]) * <uint64_t> 1099511628211u
    return hash


cdef inline uint64_t hash_seed() noexcept nogil:
    return <uint64_t> 14695981039346656037u


cdef inline uint32_t put_number(uint8_t* into, uint64_t number) noexcept nogil:
    """`number` in decimal digits, up to 20; returns how many."""
    cdef uint8_t[20] digits
    cdef uint32_t n = 0, i
    while True:
        digits[n] = <uint8_t> (48 + number % 10)
        n += 1
        number //= 10
        if number == 0:
            break
    for i in range(n):
        into[i] = digits[n - 1 - i]
    return n


cdef inline uint32_t put_hex(uint8_t* into, uint64_t number) noexcept nogil:
    """`number` in hexadecimal digits, up to 16; returns how many."""
    cdef uint8_t[16] digits
    cdef uint32_t n = 0, i
    cdef uint8_t digit
    while True:
        digit = number & 15
        digits[n] = 48 + digit if digit < 10 else 87 + digit
        n += 1
        number >>= 4
        if number == 0:
            break
    for i in range(n):
        into[i] = digits[n - 1 - i]
    return n


cdef struct Writer:             # appends while there is room; then it is full, and stays so
    uint8_t* at
    uint8_t* end
    bint full


cdef inline void put(Writer* w, const void* data, size_t size) noexcept nogil:
    if <size_t> (w.end - w.at) < size:
        w.full = True
        return
    memcpy(w.at, data, size)
    w.at += size


cdef inline void put_literal(Writer* w, const char* text) noexcept nogil:
    put(w, text, strlen(text))      # (of a literal, the compiler knows it)


cdef inline void put_text(Writer* w, Text text) noexcept nogil:
    if text.size:                   # (a text that isn't there lies at NULL)
        put(w, text.at, text.size)


cdef inline uint64_t mix64(uint64_t hash) noexcept nogil:
    """Every bit of the input in every bit of the output (splitmix64; Steele, Lea, Flood, 2014)."""
    hash += <uint64_t> 0x9E3779B97F4A7C15u
    hash = (hash ^ hash >> 30) * <uint64_t> 0xBF58476D1CE4E5B9u
    hash = (hash ^ hash >> 27) * <uint64_t> 0x94D049BB133111EBu
    return hash ^ hash >> 31
