# Addresses as the text of a key. Written by hand, as it is done for each connection of a hash.
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, strlen

from fastlb._core.base.limits cimport KEY_BYTES_MAX
from fastlb._core.base.parts cimport Address
from fastlb._core.base.text cimport put_number
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, inet_ntop, ntohs


cdef size_t address_key(const Address* peer, bint with_port, char* key) noexcept nogil:
    """Write the text that stands for a client, and return its size, KEY_BYTES_MAX at most:
    "127.0.0.1", "127.0.0.1:80", "[::1]:80"."""
    cdef size_t n = 0
    cdef int i
    cdef unsigned int port = 0
    cdef const uint8_t* bytes
    if peer.family == AF_INET:
        bytes = <const uint8_t*> &peer.v4.sin_addr
        for i in range(4):
            n += put_number(<uint8_t*> key + n, bytes[i])
            if i < 3:
                key[n] = b"."
                n += 1
        port = ntohs(peer.v4.sin_port)
    elif peer.family == AF_INET6:
        if with_port:
            key[0] = b"["
            n = 1
        inet_ntop(AF_INET6, &peer.v6.sin6_addr, key + n, KEY_BYTES_MAX - 8)
        n += strlen(key + n)
        if with_port:
            key[n] = b"]"
            n += 1
        port = ntohs(peer.v6.sin6_port)
    else:                           # a unix socket's client has no address: all are one
        memcpy(key, b"unix:", 5)
        return 5
    if with_port:
        key[n] = b":"
        n += 1
        n += put_number(<uint8_t*> key + n, port)
    return n
