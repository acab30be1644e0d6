# Exchanges and chunks from free lists of one engine. An idle exchange holds no chunk.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.types cimport Chunk, Core, Exchange, Stream


cdef enum:
    CHUNK_RAW = 1               # in `scanned` of what is pending: it goes to the socket as it is


cdef inline uint32_t chunk_size(int klass) noexcept nogil:
    return <uint32_t> 4096 << klass


cdef inline uint8_t* chunk_bytes(Chunk* chunk) noexcept nogil:
    return <uint8_t*> (chunk + 1)


cdef int chunk_class(uint32_t size) noexcept nogil
cdef Chunk* take_chunk(Core* core, int klass) noexcept nogil
cdef void give_chunk(Core* core, Chunk* chunk) noexcept nogil
cdef void take_pending(Core* core, Stream* s, Chunk* chunk) noexcept nogil
cdef void give_pending(Core* core, Stream* s) noexcept nogil
cdef Chunk* take_held(Core* core, int klass) noexcept nogil
cdef void give_held(Core* core, Chunk* chunk) noexcept nogil
cdef bint take_input(Core* core, Exchange* x, const uint8_t* data, uint32_t size) noexcept nogil
cdef void give_input(Core* core, Exchange* x) noexcept nogil
cdef void spend_input(Core* core, Exchange* x) noexcept nogil
cdef void give_spent(Core* core) noexcept nogil
cdef Exchange* take_exchange(Core* core) noexcept nogil
cdef void give_exchange(Core* core, Exchange* x) noexcept nogil
cdef void free_all(Core* core) noexcept nogil
