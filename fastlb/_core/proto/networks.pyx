# Networks and ranges of addresses: "192.0.2.1", "192.0.2.0/24", "192.0.2.7 - 192.0.2.99", and the
# same of IPv6. Bits behind a prefix are ignored; IPv4 that is written as IPv6 is IPv4.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy

from fastlb._core.base.address cimport is_mapped
from fastlb._core.base.text cimport is_digit, text_of, trimmed
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, INET6_ADDRSTRLEN, inet_pton

cdef enum:
    V4_BITS = 32
    V6_BITS = 128
    MAPPED_BITS = 96            # of ::ffff:0:0/96 (RFC 4291, 2.5.5.2)


cdef uint64_t _number(const uint8_t* at, int n) noexcept nogil:
    """Return `n` bytes as the upper bytes of a number, the highest byte first."""
    cdef uint64_t number = 0
    cdef int i
    for i in range(n):
        number |= <uint64_t> at[i] << (56 - 8 * i)
    return number


cdef int _address(Text text, uint64_t* number) noexcept nogil:
    """The bits that an address has, 32 or 128; 0: it is none."""
    cdef char[INET6_ADDRSTRLEN] host
    cdef uint8_t[16] bytes
    if text.size == 0 or text.size >= sizeof(host) or memchr(text.at, 0, text.size) != NULL:
        return 0
    memcpy(host, text.at, text.size)
    host[text.size] = 0
    if inet_pton(AF_INET, host, bytes) == 1:
        number[0], number[1] = _number(bytes, 4), 0
        return V4_BITS
    if inet_pton(AF_INET6, host, bytes) == 1:
        number[0], number[1] = _number(bytes, 8), _number(bytes + 8, 8)
        return V6_BITS
    return 0


cdef int _prefix(Text text, int most) noexcept nogil:
    """-1: it is no length of a prefix."""
    cdef int bits = 0
    cdef uint32_t i
    if not 0 < text.size <= 3:
        return -1
    for i in range(text.size):
        if not is_digit(text.at[i]):
            return -1
        bits = bits * 10 + text.at[i] - c'0'
    return bits if bits <= most else -1


cdef inline uint64_t _mask(int bits) noexcept nogil:
    """Ones behind the first `bits` of 64."""
    if bits <= 0:
        return ~<uint64_t> 0
    return 0 if bits >= 64 else (~<uint64_t> 0) >> bits


cdef void _cover(Span* span, int bits) noexcept nogil:
    """Let it be the network of its first address."""
    cdef uint64_t high = _mask(bits), low = _mask(bits - 64)
    span.last[0], span.last[1] = span.first[0] | high, span.first[1] | low
    span.first[0] &= ~high
    span.first[1] &= ~low


cdef void _plain(uint64_t* number) noexcept nogil:
    """IPv4 that is written as IPv6."""
    number[0], number[1] = number[1] << 32, 0


cdef inline bint _is_mapped(const uint64_t* number) noexcept nogil:
    return number[0] == 0 and number[1] >> 32 == 0xFFFF


cdef bint parse_span(Text text, Span* into) noexcept nogil:
    """False if it is none of these."""
    cdef const uint8_t* slash = <const uint8_t*> memchr(text.at, c'/', text.size)
    cdef const uint8_t* dash = <const uint8_t*> memchr(text.at, c'-', text.size)
    cdef const uint8_t* cut = slash if slash != NULL else dash
    cdef Text first = text, second = text_of(NULL, 0)
    cdef int bits, wanted
    if cut != NULL:
        first = text_of(text.at, <uint32_t> (cut - text.at))
        second = text_of(cut + 1, text.size - first.size - 1)
    first, second = trimmed(first.at, first.size), trimmed(second.at, second.size)
    bits = wanted = _address(first, into.first)
    if bits == 0:
        return False
    if slash != NULL:
        wanted = _prefix(second, bits)
        if wanted < 0:
            return False
    elif dash != NULL:
        if _address(second, into.last) != bits:
            return False
    if bits == V6_BITS and _is_mapped(into.first):
        if dash != NULL and not _is_mapped(into.last):
            return False
        if wanted >= MAPPED_BITS:
            bits, wanted = V4_BITS, wanted - MAPPED_BITS
            _plain(into.first)
            _plain(into.last)
    into.family = 4 if bits == V4_BITS else 6
    if dash == NULL or slash != NULL:
        _cover(into, wanted)
        if bits == V4_BITS:             # (the number's lower half is nobody's)
            into.last[1] = 0
            into.last[0] &= <uint64_t> 0xFFFFFFFF00000000u
    return into.first[0] < into.last[0] or (
        into.first[0] == into.last[0] and into.first[1] <= into.last[1])
