from fastlb._core.base.types cimport Core

cdef int timeout_ms_of(Core* core) noexcept nogil
cdef int wait_for_events(Core* core, int timeout_ms) noexcept nogil
