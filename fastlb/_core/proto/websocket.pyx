# The WebSocket handshake (RFC 6455, 4.2.2): the answer of a server that understood it.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

from fastlb._core.base.head cimport Text


cdef const char* GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
cdef const char* BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

cdef enum:
    KEY_BYTES_MAX = 64          # a right one has 24
    BLOCK_BYTES = 64


cdef inline uint32_t _turn(uint32_t value, int bits) noexcept nogil:
    return value << bits | value >> (32 - bits)


cdef void _block(uint32_t* state, const uint8_t* data) noexcept nogil:
    """One block of SHA-1 (RFC 3174, 6.1)."""
    cdef uint32_t[80] w
    cdef uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f, k, t
    cdef int i
    for i in range(16):
        w[i] = (<uint32_t> data[4 * i] << 24 | <uint32_t> data[4 * i + 1] << 16
                | <uint32_t> data[4 * i + 2] << 8 | data[4 * i + 3])
    for i in range(16, 80):
        w[i] = _turn(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1)
    for i in range(80):
        if i < 20:
            f = (b & c) | (~b & d)
            k = 0x5A827999u
        elif i < 40:
            f = b ^ c ^ d
            k = 0x6ED9EBA1u
        elif i < 60:
            f = (b & c) | (b & d) | (c & d)
            k = 0x8F1BBCDCu
        else:
            f = b ^ c ^ d
            k = 0xCA62C1D6u
        t = _turn(a, 5) + f + e + k + w[i]
        e = d
        d = c
        c = _turn(b, 30)
        b = a
        a = t
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e


cdef void sha1(const uint8_t* data, uint32_t size, uint8_t* digest) noexcept nogil:
    """20 bytes. Not for secrets: the handshake wants it."""
    cdef uint32_t[5] state
    cdef uint8_t[2 * BLOCK_BYTES] tail
    cdef uint32_t rest, i
    state[0], state[1], state[2] = 0x67452301u, 0xEFCDAB89u, 0x98BADCFEu
    state[3], state[4] = 0x10325476u, 0xC3D2E1F0u
    i = 0
    while i + BLOCK_BYTES <= size:
        _block(state, data + i)
        i += BLOCK_BYTES
    rest = size - i
    memset(tail, 0, sizeof(tail))
    memcpy(tail, data + i, rest)
    tail[rest] = 0x80
    i = BLOCK_BYTES if rest + 9 <= BLOCK_BYTES else 2 * BLOCK_BYTES
    for rest in range(8):
        tail[i - 1 - rest] = <uint8_t> (<uint64_t> size * 8 >> (8 * rest))
    _block(state, tail)
    if i > BLOCK_BYTES:
        _block(state, tail + BLOCK_BYTES)
    for i in range(20):
        digest[i] = <uint8_t> (state[i >> 2] >> (24 - 8 * (i & 3)))


cdef void websocket_accept(Text key, uint8_t* into) noexcept nogil:
    """The 28 characters of Sec-WebSocket-Accept; zeros, which nobody answers, for no key at all."""
    cdef uint8_t[KEY_BYTES_MAX + 36] data
    cdef uint8_t[21] digest
    cdef uint32_t value
    cdef int i
    memset(into, 0, 28)
    if key.size > KEY_BYTES_MAX:
        return
    memcpy(data, key.at, key.size)
    memcpy(data + key.size, GUID, 36)
    sha1(data, key.size + 36, digest)
    digest[20] = 0
    for i in range(7):
        value = (<uint32_t> digest[3 * i] << 16 | <uint32_t> digest[3 * i + 1] << 8
                 | digest[3 * i + 2])
        into[4 * i] = BASE64[value >> 18 & 63]
        into[4 * i + 1] = BASE64[value >> 12 & 63]
        into[4 * i + 2] = BASE64[value >> 6 & 63]
        into[4 * i + 3] = BASE64[value & 63]
    into[27] = c'='
