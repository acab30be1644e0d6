from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.parts cimport ProxyFacts, TlsFacts
from fastlb._core.tables.caller cimport Caller


cdef enum:
    IP_TEXT_MAX = 46


cdef class Request:
    cdef Caller _caller
    cdef Head* _head                    # and behind it the bytes that it is about
    cdef uint32_t _size                 # of these
    cdef dict _known
    cdef readonly int client_port
    cdef TlsFacts* _secured             # a part of them is ours; NULL: there is no TLS
    cdef ProxyFacts* _told              # ours; NULL: no proxy told anything
    cdef uint8_t _ip_size
    cdef char[IP_TEXT_MAX] _ip
    cdef Head* _cut(self) except NULL
    cdef str _text(self, Text text)
    cdef str _find(self, str name)


cdef class RequestHeaders:
    cdef Request _request


cdef class Connection:
    cdef Caller _caller
    cdef TlsFacts* _secured
    cdef ProxyFacts* _told
    cdef readonly bytes data
    cdef readonly str client_host
    cdef readonly int client_port
    cdef readonly str local_host
    cdef readonly int local_port


cdef size_t kept_bytes(const Head* head, Text body) noexcept nogil
cdef void keep_head(Head* into, const Head* head, Text body) noexcept nogil
cdef Request make_request(Caller caller, const Head* head, Text body, const char* client_ip,
                          uint8_t client_ip_size, int client_port, TlsFacts* secured,
                          const Text* told)
cdef TlsFacts* facts_of(object told) except? NULL
cdef Connection make_connection(
    Caller caller, const uint8_t* data, size_t size, const char* client_ip, size_t client_ip_size,
    int client_port, const char* local_ip, size_t local_ip_size, int local_port,
    TlsFacts* secured, const Text* told)
