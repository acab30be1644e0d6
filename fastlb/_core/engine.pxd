from fastlb._core.base.types cimport Core
from fastlb._core.tables.live cimport Live


cdef class Engine:
    cdef Core* core
    cdef readonly Live live
    cdef readonly int id
    cdef bint _running
    cdef int _open(self, int kind) noexcept
    cdef void _free(self) noexcept
    cdef Core* _alive(self) except NULL
