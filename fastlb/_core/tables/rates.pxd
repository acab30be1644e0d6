from libc.stdint cimport uint64_t

from fastlb._core.base.rates cimport RateLive
from fastlb._core.tables.clock cimport Clock


cdef class RateLimit:
    cdef RateLive live
    cdef readonly str name
    cdef int _engines
    cdef bint _is_bytes
    cdef Clock _clock
    cdef uint64_t _now_ns(self)
    cdef uint64_t _hash(self, bytes key)
    cdef void _keep_plans(self, double factor, bint has_plans)
    cdef double _factor(self, double before_ns, double unit_ns)
    cdef object __weakref__
