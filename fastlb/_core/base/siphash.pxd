# SipHash-1-3 (Aumasson and Bernstein, 2012): a hash with a secret, so that nobody who doesn't know
# it can choose keys that collide. Python hashes its texts by it, too.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy

cdef struct SipKey:
    uint64_t[2] words


cdef inline uint64_t _turned(uint64_t word, int bits) noexcept nogil:
    return word << bits | word >> (64 - bits)


cdef inline void _sip_round(uint64_t* v) noexcept nogil:
    v[0] += v[1]
    v[1] = _turned(v[1], 13) ^ v[0]
    v[0] = _turned(v[0], 32)
    v[2] += v[3]
    v[3] = _turned(v[3], 16) ^ v[2]
    v[0] += v[3]
    v[3] = _turned(v[3], 21) ^ v[0]
    v[2] += v[1]
    v[1] = _turned(v[1], 17) ^ v[2]
    v[2] = _turned(v[2], 32)


cdef inline uint64_t siphash(const SipKey* key, const uint8_t* at, uint32_t size) noexcept nogil:
    cdef uint64_t[4] v
    cdef uint64_t word
    cdef uint32_t i = 0
    v[0] = key.words[0] ^ <uint64_t> 0x736F6D6570736575u        # "somepseudorandomlygeneratedbytes"
    v[1] = key.words[1] ^ <uint64_t> 0x646F72616E646F6Du
    v[2] = key.words[0] ^ <uint64_t> 0x6C7967656E657261u
    v[3] = key.words[1] ^ <uint64_t> 0x7465646279746573u
    while i + 8 <= size:
        memcpy(&word, at + i, 8)
        v[3] ^= word
        _sip_round(v)
        v[0] ^= word
        i += 8
    word = 0
    if i < size:
        memcpy(&word, at + i, size - i)
    word |= <uint64_t> size << 56
    v[3] ^= word
    _sip_round(v)
    v[0] ^= word
    v[2] ^= 0xFF
    _sip_round(v)
    _sip_round(v)
    _sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]
