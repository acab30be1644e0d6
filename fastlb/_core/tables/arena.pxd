from fastlb._core.base.head cimport Text


cdef class Arena:
    cdef list _things
    cdef void** _blocks
    cdef size_t _n_blocks
    cdef size_t _size
    cdef void* take(self, size_t n, size_t size) except NULL
    cdef void hold(self, object thing)
    cdef const unsigned char* keep(self, bytes text) except NULL
    cdef Text text(self, bytes text)
