from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Body
from fastlb._core.base.text cimport Writer

cdef struct Piece:              # of content, inside of what was read
    uint32_t at
    uint32_t size

cdef int chunked_next(Body* body, const uint8_t* data, uint32_t size, Piece* piece,
                      Writer* trailers) noexcept nogil
