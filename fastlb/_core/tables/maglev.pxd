from libc.stdint cimport uint16_t, uint32_t, uint64_t


cdef inline uint64_t mix64(uint64_t hash) noexcept nogil:
    """Every bit of the input in every bit of the output (splitmix64; Steele, Lea, Flood, 2014)."""
    hash += <uint64_t> 0x9E3779B97F4A7C15u
    hash = (hash ^ hash >> 30) * <uint64_t> 0xBF58476D1CE4E5B9u
    hash = (hash ^ hash >> 27) * <uint64_t> 0x94D049BB133111EBu
    return hash ^ hash >> 31


cdef bint maglev_fill(uint16_t* table, uint32_t size, const uint64_t* hashes,
                      const uint32_t* weights, uint32_t n) noexcept nogil
