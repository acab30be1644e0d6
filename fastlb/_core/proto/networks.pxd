# Networks and ranges of addresses that arrive as text.
from libc.stdint cimport uint64_t, uint8_t

from fastlb._core.base.head cimport Text

cdef struct Span:               # of addresses, as numbers: see base/ranges
    uint8_t family              # 4 or 6
    uint64_t[2] first, last


cdef bint parse_span(Text text, Span* into) noexcept nogil
