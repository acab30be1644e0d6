# Addresses that arrive as text: in X-Forwarded-For, and in logs. Each is read here, so that rules,
# keys and logs know one form of it, however its writer spelled it.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr, memcpy, memset

from fastlb._core.base.head cimport Text
from fastlb._core.base.address cimport address_plain
from fastlb._core.base.parts cimport Address
from fastlb._core.base.text cimport is_digit, text_of
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, INET6_ADDRSTRLEN, inet_pton

cdef enum:
    PORT_DIGITS_MAX = 5


cdef bint _is_port(const uint8_t* at, uint32_t size) noexcept nogil:
    """Whether it is a colon and a port."""
    cdef uint32_t i
    if size < 2 or size > 1 + PORT_DIGITS_MAX or at[0] != c':':
        return False
    for i in range(1, size):
        if not is_digit(at[i]):
            return False
    return True


cdef bint _cut_port(Text* text) noexcept nogil:
    """Leave the host alone of "192.0.2.1:80", "[2001:db8::1]" and "[2001:db8::1]:80"; False if
    something else is behind it."""
    cdef const uint8_t* end
    cdef uint32_t size
    if text.size and text.at[0] == c'[':
        end = <const uint8_t*> memchr(text.at, c']', text.size)
        if end == NULL:
            return False
        size = text.size - <uint32_t> (end + 1 - text.at)
        text[0] = text_of(text.at + 1, <uint32_t> (end - text.at) - 1)
        return (size == 0 or _is_port(end + 1, size)) \
            and memchr(text.at, c':', text.size) != NULL        # (IPv4 has no brackets)
    end = <const uint8_t*> memchr(text.at, c':', text.size)
    if end == NULL:
        return True
    size = text.size - <uint32_t> (end - text.at)
    if memchr(end + 1, c':', size - 1) != NULL:                 # IPv6, which has more of them
        return True
    text.size -= size
    return _is_port(end, size)


cdef bint parse_address(Text text, Address* into) noexcept nogil:
    """An IP address, with or without a port, which is ignored; False if it is none. An IPv4 address
    that is written as IPv6 is the IPv4 address."""
    cdef char[INET6_ADDRSTRLEN] host
    memset(into, 0, sizeof(Address))
    if text.size == 0 or not _cut_port(&text) or text.size >= sizeof(host) \
            or memchr(text.at, 0, text.size) != NULL:
        return False
    memcpy(host, text.at, text.size)
    host[text.size] = 0
    if inet_pton(AF_INET, host, &into.v4.sin_addr) == 1:
        into.v4.sin_family = AF_INET
        return True
    if inet_pton(AF_INET6, host, &into.v6.sin6_addr) == 1:
        into.v6.sin6_family = AF_INET6
        address_plain(into)
        return True
    return False
