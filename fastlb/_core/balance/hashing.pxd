from libc.stdint cimport uint32_t

from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.types cimport Core, Exchange

cdef uint32_t session_hash(Core* core, Exchange* x, const FactRef* key) noexcept nogil
