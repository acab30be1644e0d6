from fastlb._core.base.types cimport Core


cdef void hear_answers(Core* core) noexcept nogil
cdef void expire(Core* core, int n_events) noexcept nogil
