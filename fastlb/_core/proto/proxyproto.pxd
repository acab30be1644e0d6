# The PROXY protocol (haproxy.org, doc/proxy-protocol.txt), versions 1 and 2: what a proxy says of a
# client before it passes on what the client says.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address, ProxyHeader

cdef enum ProxyParsed:          # what parse_proxy says that is no number of bytes
    PROXY_MAYBE = -1            # it could become one
    PROXY_MORE = -2             # it is one, and not all of it is here
    PROXY_NONE = -3             # it begins otherwise
    PROXY_BAD = -4


cdef int parse_proxy(const uint8_t* at, uint32_t size, bint datagram,
                     ProxyHeader* header) noexcept nogil
cdef uint32_t write_proxy_v1(uint8_t* into, const Address* source,
                             const Address* destination) noexcept nogil
cdef uint32_t write_proxy_v2(uint8_t* into, const Address* source, const Address* destination,
                             Text local, Text tlvs, bint datagram) noexcept nogil
