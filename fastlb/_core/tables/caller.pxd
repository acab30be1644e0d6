from fastlb._core.base.routing cimport PolicyLive


cdef class Caller:
    cdef PolicyLive live
    cdef readonly unsigned int id
    cdef readonly object function
    cdef readonly object request_class
    cdef readonly object servers        # Live
    cdef readonly str listener
    cdef readonly str route
    cdef readonly str scheme
    cdef readonly tuple names
    cdef readonly int merge_slashes
    cdef readonly bint of_connections
    cdef int _engines
