from fastlb._core.base.types cimport Core, Exchange


cdef void advance(Core* core, Exchange* x) noexcept nogil
cdef void run_queue(Core* core) noexcept nogil
cdef bint try_another(Core* core, Exchange* x) noexcept nogil
cdef bint ask_another(Core* core, Exchange* x) noexcept nogil
cdef void begin_answer(Core* core, Exchange* x) noexcept nogil
