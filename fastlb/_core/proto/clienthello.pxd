from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.limits cimport ALPN_BYTES_MAX, TLS_NAME_BYTES_MAX

cdef struct Hello:              # what a client of TLS asks for
    uint32_t wanted             # bytes before which another look is in vain
    uint32_t name_size          # 0: no name, or none that a host could have
    uint32_t alpn_size
    uint8_t[TLS_NAME_BYTES_MAX] name    # in lower case
    uint8_t[ALPN_BYTES_MAX] alpn        # each behind its size (RFC 7301, 3.1)


cdef int parse_hello(const uint8_t* data, uint32_t size, Hello* hello) noexcept nogil
