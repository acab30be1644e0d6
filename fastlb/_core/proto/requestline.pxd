from libc.stdint cimport uint32_t, uint8_t

cdef struct FirstLine:            # how a client of HTTP/1 begins
    bint is_request             # its first line says so
    bint is_websocket           # it asks for one (RFC 6455, 4.1)


cdef int parse_opening(const uint8_t* data, uint32_t size, FirstLine* opening) noexcept nogil
