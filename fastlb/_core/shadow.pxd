from fastlb._core.base.types cimport Core, Exchange

cdef Exchange* copy_request(Core* core, Exchange* x) noexcept nogil
