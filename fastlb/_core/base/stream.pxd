from fastlb._core.base.types cimport Core, Stream


cdef void close_stream(Core* core, Stream* s, bint reset) noexcept nogil
