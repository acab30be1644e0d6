# Addresses in one form: IPv4 addresses that are written as IPv6 (RFC 4291, 2.5.5.2), as sockets of
# both families and proxies write them; and addresses as the text of a key.
from libc.stdint cimport uint16_t, uint8_t
from libc.string cimport memcmp, memcpy, memset

from fastlb._core.base.parts cimport Address
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.ext.linux cimport AF_INET, AF_INET6


cdef inline bint is_mapped(const uint8_t* v6) noexcept nogil:
    """Whether 16 bytes are an IPv4 address."""
    return memcmp(v6, <const char*> b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0


cdef inline void address_plain(Address* address) noexcept nogil:
    """Make an IPv4 address of it if it is one, so that rules, keys and logs know one form."""
    cdef const uint8_t* v6 = <const uint8_t*> &address.v6.sin6_addr
    cdef uint8_t[4] v4
    cdef uint16_t port
    if unlikely(address.family == AF_INET6) and is_mapped(v6):
        memcpy(v4, v6 + 12, 4)
        port = address.v6.sin6_port
        memset(address, 0, sizeof(Address))
        address.v4.sin_family = AF_INET
        address.v4.sin_port = port
        memcpy(&address.v4.sin_addr, v4, 4)


cdef size_t address_key(const Address* peer, bint with_port, char* key) noexcept nogil
