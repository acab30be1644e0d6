from fastlb._core.base.head cimport Text
from fastlb._core.base.types cimport Core


cdef void name_request(Core* core) noexcept nogil
cdef void make_trace(Core* core, Text came, bint sampled) noexcept nogil
cdef void trace_request(Core* core) noexcept nogil
