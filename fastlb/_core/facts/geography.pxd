from fastlb._core.base.places cimport Place
from fastlb._core.base.types cimport Core, Exchange


cdef const Place* place_of(Core* core, Exchange* x) noexcept nogil
