from fastlb._core.base.types cimport Core, Exchange


cdef void make_note(Core* core, Exchange* x) noexcept nogil
cdef void drop_note(Core* core, Exchange* x) noexcept nogil
