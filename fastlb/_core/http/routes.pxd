from libc.stdint cimport uint32_t

from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.routing cimport (
    Condition, Dfa, HashKey, HttpEntry, Match, Network, Pattern, Route,
)


cdef Route* route_find(HttpEntry* entry, Head* head, Match* match) noexcept nogil
cdef bint pattern_fits(const Pattern* pattern, Match* match) noexcept nogil
cdef bint dfa_matches(const Dfa* dfa, Text text) noexcept nogil
cdef bint value_fits(const Condition* c, Text value) noexcept nogil
cdef bint condition_fits(const Condition* c, Head* head, Match* match) noexcept nogil
cdef bint method_is_one_of(Text methods, Head* head) noexcept nogil
cdef bint query_observed(Head* head, Match* match, Text wanted, Text* value) noexcept nogil
cdef bint find_header(Head* head, Text name, Text* value) noexcept nogil
cdef bint find_cookie(Head* head, Text name, Text* value) noexcept nogil
cdef bint key_find(const HashKey* key, Head* head, Match* match, Text* value) noexcept nogil
