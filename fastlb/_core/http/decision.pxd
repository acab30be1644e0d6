from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.routing cimport Decision, Match, Policy
from fastlb._core.base.types cimport Core, Exchange


cdef Decision* as_the_route_says() noexcept nogil
cdef Decision* close_it() noexcept nogil
cdef Decision* wants_more() noexcept nogil
cdef Decision* failed() noexcept nogil
cdef void give_decision(Decision* decision) noexcept nogil
cdef void drop_decision(Exchange* x) noexcept nogil
cdef Text shown_body(const Policy* policy, const Head* head, const Match* match) noexcept nogil
cdef int go_by_decision(Core* core, Exchange* x, const Policy* policy) noexcept nogil
cdef void bind_as_decided(Exchange* x) noexcept nogil
