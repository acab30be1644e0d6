from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core


cdef void put_date(Core* core, Writer* w) noexcept nogil
