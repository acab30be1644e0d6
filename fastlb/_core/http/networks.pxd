from libc.stdint cimport uint32_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.routing cimport HttpEntry, Network


cdef bint is_in_networks(const Network* networks, uint32_t n, const Address* peer) noexcept nogil
cdef bint is_trusted(HttpEntry* entry, const Address* peer) noexcept nogil
cdef bint text_is_in(const Network* networks, uint32_t n, Text text) noexcept nogil
