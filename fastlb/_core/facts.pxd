from libc.stdint cimport uint8_t

from fastlb._core.base.head cimport Head, Text
from fastlb._core.tables.caller cimport Caller


cdef class Request:
    cdef Caller _caller
    cdef bytes _raw
    cdef size_t _head_size
    cdef Head* _head
    cdef uint8_t* _made
    cdef dict _known
    cdef readonly str client_host
    cdef readonly int client_port
    cdef Head* _parsed(self) except NULL
    cdef str _text(self, Text text)
    cdef str _find(self, str name)


cdef class RequestHeaders:
    cdef Request _request


cdef class Connection:
    cdef Caller _caller
    cdef readonly bytes data
    cdef readonly str client_host
    cdef readonly int client_port
    cdef readonly str local_host
    cdef readonly int local_port


cdef Request make_request(Caller caller, const uint8_t* data, size_t head_size, size_t size,
                          const char* client_ip, size_t client_ip_size, int client_port)
cdef Connection make_connection(
    Caller caller, const uint8_t* data, size_t size, const char* client_ip, size_t client_ip_size,
    int client_port, const char* local_ip, size_t local_ip_size, int local_port)
