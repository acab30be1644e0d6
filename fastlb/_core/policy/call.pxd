from fastlb._core.base.routing cimport Decision
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.tables.caller cimport Caller


cdef bint ask(Core* core, Exchange* x) noexcept nogil
cdef void give_up_asking(Core* core, Exchange* x) noexcept nogil
cdef bint has_left(Exchange* x) noexcept nogil
cdef Decision* decision_of(Caller caller, object result) except NULL
