from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.routing cimport Condition, Dfa, Match, Pattern
from fastlb._core.base.types cimport Core, Exchange


cdef bint dfa_matches(const Dfa* dfa, Text text) noexcept nogil
cdef bint pattern_fits(const Pattern* pattern, Match* match) noexcept nogil
cdef bint value_fits(const Condition* c, Text value) noexcept nogil
cdef bint method_is_one_of(Text methods, const Head* head) noexcept nogil
cdef bint condition_fits(Core* core, Exchange* x, const Condition* c) noexcept nogil
cdef bint value_seen(Core* core, Exchange* x, const Condition* c, Text* value) noexcept nogil
