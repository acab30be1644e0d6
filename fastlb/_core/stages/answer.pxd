from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange


cdef int answer_step(Core* core, Exchange* x) noexcept nogil
cdef void write_answer(Core* core, Exchange* x, Writer* w) noexcept nogil
