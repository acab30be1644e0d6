from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.parts cimport About, TlsFacts
from fastlb._core.tables.caller cimport Caller


cdef class Asked:
    cdef Caller _caller
    cdef About _about


cdef class Request(Asked):
    cdef Head* _head                    # and behind it the bytes that it is about
    cdef uint32_t _size                 # of these
    cdef dict _known
    cdef Head* _cut(self) except NULL
    cdef str _find(self, str name)


cdef class RequestHeaders:
    cdef Request _request


cdef class Connection(Asked):
    cdef readonly bytes data


cdef size_t kept_bytes(const Head* head, Text body) noexcept nogil
cdef void keep_head(Head* into, const Head* head, Text body) noexcept nogil
cdef Request make_request(Caller caller, const Head* head, Text body, About* about)
cdef TlsFacts* facts_of(object told) except? NULL
cdef Connection make_connection(Caller caller, const uint8_t* data, size_t size, About* about)
