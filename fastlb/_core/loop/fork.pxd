from fastlb._core.base.types cimport Core


cdef void abandon_streams(Core* core) noexcept nogil
