from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.types cimport H2Stream
from fastlb._core.ext.nghttp2 cimport nghttp2_nv

cdef enum:
    NV_MAX = 256                # header fields of an answer, with ours


cdef bint h2_take_field(H2Stream* st, const uint8_t* name, uint32_t name_size,
                        const uint8_t* value, uint32_t size) noexcept nogil
cdef bint h2_end_head(H2Stream* st, bint ended) noexcept nogil
cdef int h2_lines(uint8_t* line, uint8_t* end, nghttp2_nv* fields, int n) noexcept nogil
cdef int h2_answer_head(H2Stream* st, nghttp2_nv* fields, uint8_t* status,
                        uint32_t* head_size) noexcept nogil
