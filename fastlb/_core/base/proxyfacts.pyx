# What a proxy told of a client by the PROXY protocol: copied from its header once, then shared.
# Its holders are counted; the last one frees it.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.limits cimport PROXY_FACTS
from fastlb._core.base.net cimport address_port, address_text, net_local
from fastlb._core.base.parts cimport Address
from fastlb._core.base.text cimport Writer, is_digit, lower, put, put_literal, put_number, text_of
from fastlb._core.base.tlsfacts cimport secured_stream
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.ext.linux cimport AF_INET, AF_INET6

cdef enum:
    TLV_CRC32C = 3
    TLV_NOOP = 4


cdef Text _since(const Writer* w, const uint8_t* start) noexcept nogil:
    return text_of(start, <uint32_t> (w.at - start))


cdef Text _put_name(Writer* w, Text name) noexcept nogil:
    """Of a host, in lower case; nothing if none could have it."""
    cdef uint8_t* start = w.at
    cdef uint32_t i
    cdef uint8_t c
    for i in range(name.size):
        c = lower(name.at[i])
        if not (c'a' <= c <= c'z' or is_digit(c) or c == c'-' or c == c'.' or c == c'_'):
            w.at = start
            break
        put(w, &c, 1)
    return _since(w, start)


cdef Text _put_value(Writer* w, Text value) noexcept nogil:
    """As it is if it is printable ASCII, and else in hexadecimal digits."""
    cdef const char* hexadecimal = "0123456789abcdef"
    cdef uint8_t* start = w.at
    cdef uint8_t[2] digits
    cdef uint32_t i
    cdef bint printable = True
    for i in range(value.size):
        if value.at[i] < 33 or value.at[i] > 126:
            printable = False
    for i in range(value.size):
        digits[0] = value.at[i]
        if not printable:
            digits[0] = hexadecimal[value.at[i] >> 4]
            digits[1] = hexadecimal[value.at[i] & 15]
        put(w, digits, 1 if printable else 2)
    return _since(w, start)


cdef Text _put_address(Writer* w, const Address* address) noexcept nogil:
    cdef uint8_t* start = w.at
    cdef char[46] ip
    cdef uint8_t[20] digits
    if address.family != AF_INET and address.family != AF_INET6:
        return _since(w, start)
    if address.family == AF_INET6:
        put_literal(w, b"[")
    put(w, ip, address_text(address, ip))
    if address.family == AF_INET6:
        put_literal(w, b"]")
    put_literal(w, b":")
    put(w, digits, put_number(digits, address_port(address)))
    return _since(w, start)


cdef uint32_t _copy_tlvs(uint8_t* into, Text tlvs) noexcept nogil:
    """All but what is about their own header, its checksum and its padding. They were parsed, so
    that each is whole."""
    cdef uint32_t at = 0, size, used = 0
    while at + 3 <= tlvs.size:
        size = 3 + (<uint32_t> tlvs.at[at + 1] << 8 | tlvs.at[at + 2])
        if at + size > tlvs.size:
            break
        if tlvs.at[at] != TLV_CRC32C and tlvs.at[at] != TLV_NOOP:
            memcpy(into + used, tlvs.at + at, size)
            used += size
        at += size
    return used


cdef Proxied* make_proxied(Core* core, const ProxyHeader* header) noexcept nogil:
    """A copy, with one holder; NULL when memory is gone."""
    cdef uint8_t[FACTS_BYTES_MAX] room
    cdef Text[PROXY_FACTS] facts
    cdef Writer w
    cdef Proxied* proxied
    cdef uint8_t* at
    cdef uint32_t size
    cdef int i
    w.at, w.end, w.full = room, <uint8_t*> room + FACTS_BYTES_MAX, False
    facts[PROXY_AUTHORITY] = _put_name(&w, header.facts[PROXY_AUTHORITY])
    for i in range(PROXY_UNIQUE_ID, PROXY_DST):
        facts[i] = _put_value(&w, header.facts[i])
    facts[PROXY_DST] = _put_address(&w, &header.destination)
    size = <uint32_t> (w.at - room)
    proxied = <Proxied*> malloc(sizeof(Proxied) + size + header.local.size + header.tlvs.size)
    if unlikely(proxied == NULL):
        return NULL
    proxied.holders = 1
    proxied.destination = header.destination
    at = <uint8_t*> (proxied + 1)
    memcpy(at, room, size)
    for i in range(PROXY_FACTS):
        proxied.facts[i] = text_of(at + (facts[i].at - room), facts[i].size)
    at += size
    proxied.local = text_of(at, header.local.size)
    if header.local.size:
        memcpy(at, header.local.at, header.local.size)
        at += header.local.size
    proxied.tlvs = text_of(at, _copy_tlvs(at, header.tlvs))
    fl_count(&core.counters.proxied, 1)
    return proxied


cdef Proxied* share_proxied(Core* core, Exchange* x) noexcept nogil:
    """For a copy of a request, which may outlive its client: at least where that connected to."""
    cdef Proxied* proxied = proxied_of(x)
    cdef ProxyHeader header
    if proxied == NULL:
        memset(&header, 0, sizeof(header))
        net_local(secured_stream(x).fd, &header.destination)
        return make_proxied(core, &header)
    proxied.holders += 1
    return proxied


cdef void drop_proxied(Core* core, Exchange* x) noexcept nogil:
    if x.proxied == NULL:
        return
    x.proxied.holders -= 1
    if x.proxied.holders == 0:
        free(x.proxied)
        fl_count(&core.counters.proxied, <uint64_t> -1)
    x.proxied = NULL
