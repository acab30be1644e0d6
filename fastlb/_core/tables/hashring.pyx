# Lookup in a consistent hash ring (ketama, as nginx's `hash ... consistent`): CRC-32 of the
# key, then the first point at or after it.
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastlb._core.base.address cimport address_key
from fastlb._core.base.limits cimport KEY_BYTES_MAX
from fastlb._core.base.text cimport lower
from fastlb._core.base.parts cimport Address, RingPoint


# The reflected polynomial of ISO 3309 (and of zlib): the same CRC-32 as nginx uses.
cdef uint32_t POLYNOMIAL = 0xEDB88320u
cdef uint32_t[256] _crc_table


cdef void _fill_crc_table() noexcept nogil:
    cdef uint32_t i, j, value
    for i in range(256):
        value = i
        for j in range(8):
            value = (value >> 1) ^ (POLYNOMIAL if value & 1 else <uint32_t> 0)
        _crc_table[i] = value


_fill_crc_table()


cdef uint32_t crc32(const unsigned char* data, size_t size) noexcept nogil:
    cdef uint32_t value = ~<uint32_t> 0
    cdef size_t i
    for i in range(size):
        value = _crc_table[(value ^ data[i]) & 0xFF] ^ (value >> 8)
    return ~value


cdef uint32_t crc32_nocase(const unsigned char* data, size_t size) noexcept nogil:
    cdef uint32_t value = ~<uint32_t> 0
    cdef size_t i
    for i in range(size):
        value = _crc_table[(value ^ lower(data[i])) & 0xFF] ^ (value >> 8)
    return ~value


cdef uint32_t hash_client(const Address* peer, bint with_port) noexcept nogil:
    cdef char[KEY_BYTES_MAX] key
    cdef size_t n = address_key(peer, with_port, key)
    return crc32(<const unsigned char*> key, n)


cdef uint32_t ring_find(const RingPoint* ring, uint32_t n, uint32_t hash) noexcept nogil:
    """The index of the first point at or after `hash`, around the end to 0. `n` is not 0."""
    cdef uint32_t low = 0, high = n, middle
    while low < high:
        middle = (low + high) // 2
        if ring[middle].hash < hash:
            low = middle + 1
        else:
            high = middle
    return low if low < n else 0


cdef void _sort(uint64_t* points, uint64_t* other, uint32_t n) noexcept nogil:
    """By the hashes in their upper halves; those that are equal stay in order (radix sort)."""
    cdef uint32_t[256] starts
    cdef uint32_t i, total, count
    cdef int shift
    cdef uint64_t* swap
    for shift in range(32, 64, 8):      # (four passes, so that all ends where it began)
        memset(starts, 0, sizeof(starts))
        for i in range(n):
            starts[points[i] >> shift & 255] += 1
        total = 0
        for i in range(256):
            count = starts[i]
            starts[i] = total
            total += count
        for i in range(n):
            other[starts[points[i] >> shift & 255]] = points[i]
            starts[points[i] >> shift & 255] += 1
        swap = points
        points = other
        other = swap


cdef uint32_t _fill(uint64_t* points, const unsigned char* name, size_t size, uint32_t n,
                    uint32_t index) noexcept nogil:
    """The points of one server: each hashes the one before it too."""
    cdef uint32_t base = ~crc32(name, size), value = 0, i, k, previous
    for i in range(n):
        previous = value
        value = base
        for k in range(4):              # little endian
            value = _crc_table[(value ^ previous >> 8 * k) & 0xFF] ^ (value >> 8)
        value = ~value
        points[i] = <uint64_t> value << 32 | index
    return n


def ring_of(list names, list counts) -> tuple[memoryview, memoryview]:
    """The points of servers, `counts` of each, whose names are bytes: (hashes ascending, owner of
    each), 32 bits both. Where two collide, the first server's stays."""
    cdef uint32_t total = sum(counts), i, n = 0, kept = 0
    cdef uint64_t* points = <uint64_t*> calloc(2 * <size_t> total + 1, sizeof(uint64_t))
    cdef const unsigned char[::1] name
    if points == NULL:
        raise MemoryError
    for i in range(<uint32_t> len(names)):
        name = names[i]
        n += _fill(points + n, &name[0], name.shape[0], counts[i], i)
    _sort(points, points + total, total)
    hashes, owners = bytearray(4 * total), bytearray(4 * total)
    cdef uint32_t* hash_at = <uint32_t*> <char*> hashes
    cdef uint32_t* owner_at = <uint32_t*> <char*> owners
    for i in range(total):
        if kept == 0 or hash_at[kept - 1] != <uint32_t> (points[i] >> 32):
            hash_at[kept] = <uint32_t> (points[i] >> 32)
            owner_at[kept] = <uint32_t> points[i]
            kept += 1
    free(points)
    return memoryview(hashes)[: 4 * kept].cast("I"), memoryview(owners)[: 4 * kept].cast("I")
