from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport About
from fastlb._core.base.types cimport Core, Exchange


cdef bint about_take(Core* core, Exchange* x, int local_fd, About* about) noexcept nogil
cdef bint about_tell(About* about, const Text* told) noexcept nogil
cdef void about_drop(About* about) noexcept nogil
