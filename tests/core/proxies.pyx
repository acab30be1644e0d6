# Doors to the PROXY protocol, for tests and fuzzing. What is read lies in memory of exactly its
# size, so that the sanitizers see every byte read beyond it.
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport PROXY_V1_BYTES_MAX, PROXY_WRITTEN_BYTES_MAX
from fastlb._core.base.net cimport address_port, address_text, net_accept, net_close
from fastlb._core.base.parts cimport Address, ProxyHeader, ServerAddress
from fastlb._core.base.text cimport text_of
from fastlb._core.ext.linux cimport AF_UNIX
from fastlb._core.proto.proxyproto cimport (
    PROXY_BAD, PROXY_MAYBE, PROXY_MORE, PROXY_NONE, parse_proxy, write_proxy_v1, write_proxy_v2,
)
from fastlb._core.tables.snapshot cimport pack_address

_WORDS = {PROXY_BAD: "bad", PROXY_MAYBE: "maybe", PROXY_MORE: "more", PROXY_NONE: "none"}
_FACTS = ["authority", "unique_id", "alpn", "vpce"]


cdef object _told(const Address* address):
    """(IP, port), "unix", or None."""
    cdef char[46] ip
    if address.family == 0:
        return None
    if address.family == AF_UNIX:
        return "unix"
    size = address_text(address, ip)
    return (<const char*> ip)[:size].decode(), address_port(address)


cdef bytes _bytes(Text text):
    return (<const char*> text.at)[:text.size] if text.at != NULL else None


def accepted(int fd):
    """Whom the next connection of a listening socket is from."""
    cdef Address peer
    cdef int client = net_accept(fd, &peer)
    if client < 0:
        raise OSError(-client, "accept")
    net_close(client)
    return _told(&peer)


def parse(bytes text, bint datagram=False):
    """A dictionary, or "bad", "maybe", "more" or "none"."""
    cdef ProxyHeader header
    cdef int i
    cdef uint8_t* at = <uint8_t*> malloc(len(text) if text else 1)
    if at == NULL:
        raise MemoryError
    memcpy(at, <const char*> text, len(text))
    try:
        used = parse_proxy(at, len(text), datagram, &header)
        if used < 0:
            return _WORDS.get(used)
        facts = {}
        for i in range(4):
            if header.facts[i].at != NULL:
                facts[_FACTS[i]] = _bytes(header.facts[i])
        return {
            "used": used, "version": header.version, "local": bool(header.is_local),
            "source": _told(&header.source), "destination": _told(&header.destination),
            "unix": _bytes(header.local), "tlvs": _bytes(header.tlvs) or b"",
            "facts": facts,
        }
    finally:
        free(at)


cdef Address _packed(object where):
    cdef ServerAddress packed
    cdef Address address
    memset(&address, 0, sizeof(address))
    if where is not None:
        pack_address(where, &packed)
        memcpy(&address, &packed, sizeof(address))
    return address


def write(int version, source, destination, bytes local=b"", bytes tlvs=b"", bint datagram=False):
    """The header of these addresses, (IP, port) or None."""
    cdef Address one = _packed(source)
    cdef Address other = _packed(destination)
    cdef uint8_t* into = <uint8_t*> malloc(
        PROXY_V1_BYTES_MAX if version == 1 else PROXY_WRITTEN_BYTES_MAX)
    if into == NULL:
        raise MemoryError
    try:
        if version == 1:
            size = write_proxy_v1(into, &one, &other)
        else:
            size = write_proxy_v2(
                into, &one, &other, text_of(<const uint8_t*> <const char*> local, len(local)),
                text_of(<const uint8_t*> <const char*> tlvs, len(tlvs)), datagram)
        return (<const char*> into)[:size]
    finally:
        free(into)
