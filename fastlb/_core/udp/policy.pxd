from libc.stdint cimport uint32_t

from fastlb._core.base.types cimport Acceptor, Core, Exchange

cdef enum Consulted:
    CONSULTED_GO = 1            # to x.pool
    CONSULTED_WAIT = 2          # it is at work
    CONSULTED_NO = 3            # nowhere

cdef int consult_session(Core* core, Acceptor* acceptor, Exchange* x, uint32_t slot) noexcept nogil
cdef int go_by_policy(Core* core, Exchange* x) noexcept nogil
