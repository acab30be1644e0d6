from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.routing cimport HashKey, HttpEntry, Match, Route
from fastlb._core.base.types cimport Address


cdef Route* route_find(HttpEntry* entry, Head* head, Match* match) noexcept nogil
cdef bint key_find(const HashKey* key, Head* head, Match* match, Text* value) noexcept nogil
cdef bint is_trusted(HttpEntry* entry, const Address* peer) noexcept nogil
cdef bint text_is_trusted(HttpEntry* entry, Text text) noexcept nogil
