from libc.stdint cimport uint16_t, uint32_t, uint64_t


cdef bint maglev_fill(uint16_t* table, uint32_t size, const uint64_t* hashes,
                      const uint32_t* weights, uint32_t n) noexcept nogil
