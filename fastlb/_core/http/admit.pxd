from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.head cimport Head
from fastlb._core.base.types cimport Core, Exchange

cdef int refuse(Exchange* x, int status, int reason) noexcept nogil
cdef int refuse_head(Exchange* x, int status) noexcept nogil
cdef uint32_t key_hash(Core* core, Exchange* x, const FactRef* key) noexcept nogil
cdef uint8_t* normalise(Head* head, int merge_slashes, uint8_t* into) noexcept nogil
cdef int admit(Core* core, Exchange* x, uint8_t* data, uint32_t used,
               uint32_t size) noexcept nogil
cdef void forget_request(Core* core, Exchange* x) noexcept nogil
cdef int prepare(Core* core, Exchange* x, uint32_t available) noexcept nogil
