from fastlb._core.base.routing cimport Template
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core, Exchange


cdef void put_path(Core* core, Exchange* x, const Template* template, Writer* w) noexcept nogil
cdef void put_location(Core* core, Exchange* x, const Template* template, Writer* w) noexcept nogil
cdef void put_template(Core* core, Exchange* x, const Template* template, Writer* w) noexcept nogil
