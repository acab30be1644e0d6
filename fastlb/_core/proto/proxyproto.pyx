# The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt): parsed and written.
# Returns the bytes of the header, or why there is none; allocates nothing.
from libc.stdint cimport uint16_t, uint32_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy, memset

from fastlb._core.base.address cimport address_plain
from fastlb._core.base.limits cimport (
    PROXY_AUTHORITY_BYTES_MAX, PROXY_FACT_BYTES_MAX, PROXY_LOCAL_BYTES, PROXY_UNIQUE_ID_BYTES_MAX,
    PROXY_V1_BYTES_MAX, PROXY_V2_BYTES_MAX,
)
from fastlb._core.base.net cimport address_port
from fastlb._core.base.proxyfacts cimport PROXY_ALPN, PROXY_AUTHORITY, PROXY_UNIQUE_ID, PROXY_VPCE
from fastlb._core.base.text cimport (
    Writer, is_digit, put, put_literal, put_number, put_text, text_of,
)
from fastlb._core.ext.linux cimport (
    AF_INET, AF_INET6, AF_UNIX, INET6_ADDRSTRLEN, htons, inet_ntop, inet_pton,
)

cdef enum:
    SIGNATURE_BYTES = 12
    HEADER_BYTES = 16               # of version 2, before its addresses
    COMMAND_LOCAL = 0x20
    COMMAND_PROXY = 0x21
    STREAM = 1
    DGRAM = 2
    FAMILY_INET = 0x10
    FAMILY_INET6 = 0x20
    FAMILY_UNIX = 0x30
    INET_BYTES = 12
    INET6_BYTES = 36
    TLV_BYTES = 3                   # before its value
    TLV_ALPN = 0x01
    TLV_AUTHORITY = 0x02
    TLV_CRC32C = 0x03
    TLV_UNIQUE_ID = 0x05
    TLV_SSL = 0x20
    SSL_BYTES = 5                   # before the TLVs inside of it
    TLV_AWS = 0xEA
    AWS_VPCE = 1

cdef const uint8_t* SIGNATURE = <const uint8_t*> b"\r\n\r\n\0\r\nQUIT\n"
cdef const uint8_t* PREFIX = <const uint8_t*> b"PROXY "
cdef uint32_t[256] _crc_table


cdef void _fill_crc_table() noexcept nogil:
    """CRC-32C: the reflected polynomial of Castagnoli (RFC 3720, 12.1)."""
    cdef uint32_t i, j, value
    for i in range(256):
        value = i
        for j in range(8):
            value = (value >> 1) ^ (<uint32_t> 0x82F63B78u if value & 1 else <uint32_t> 0)
        _crc_table[i] = value


_fill_crc_table()


cdef uint32_t _crc32c(const uint8_t* at, uint32_t size, const uint8_t* blank) noexcept nogil:
    """Of all bytes, with the four at `blank` as zeros."""
    cdef uint32_t value = ~<uint32_t> 0
    cdef uint32_t i
    cdef uint8_t byte
    for i in range(size):
        byte = 0 if at + i >= blank and at + i < blank + 4 else at[i]
        value = _crc_table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return ~value


cdef inline uint32_t _number(const uint8_t* at) noexcept nogil:
    return <uint32_t> at[0] << 8 | at[1]


# --- version 1 ---

cdef bint _cut(Text* rest, Text* word) noexcept nogil:
    """The next word, and the space behind it; False if there is none."""
    cdef uint32_t i = 0
    while i < rest.size and rest.at[i] != c' ':
        i += 1
    word[0] = text_of(rest.at, i)
    if i < rest.size:
        i += 1
    rest.at += i
    rest.size -= i
    return word.size > 0


cdef bint _take_ip(Text* rest, int family, Address* into) noexcept nogil:
    cdef char[INET6_ADDRSTRLEN] text
    cdef Text word
    cdef void* place = &into.v6.sin6_addr
    if family == AF_INET:
        place = &into.v4.sin_addr
    if not _cut(rest, &word) or word.size >= sizeof(text) or memchr(word.at, 0, word.size) != NULL:
        return False
    memcpy(text, word.at, word.size)
    text[word.size] = 0
    into.family = <uint16_t> family
    return inet_pton(family, text, place) == 1


cdef bint _take_port(Text* rest, Address* into) noexcept nogil:
    """Of one to five digits, without zeros before them."""
    cdef Text word
    cdef uint32_t i, port = 0
    if not _cut(rest, &word) or word.size > 5 or (word.at[0] == c'0' and word.size > 1):
        return False
    for i in range(word.size):
        if not is_digit(word.at[i]):
            return False
        port = port * 10 + word.at[i] - 48
    if into.family == AF_INET:
        into.v4.sin_port = htons(<uint16_t> port)
    else:
        into.v6.sin6_port = htons(<uint16_t> port)
    return port <= 65535


cdef int _parse_v1(const uint8_t* at, uint32_t size, ProxyHeader* header) noexcept nogil:
    cdef uint32_t most = size if size < PROXY_V1_BYTES_MAX else PROXY_V1_BYTES_MAX
    cdef const uint8_t* end = <const uint8_t*> memchr(at, 10, most)
    cdef Text rest, word
    cdef int family
    if end == NULL:
        return PROXY_BAD if most == PROXY_V1_BYTES_MAX else PROXY_MORE
    if (end - 1)[0] != 13:
        return PROXY_BAD
    header.version = 1
    header.size = <uint32_t> (end - at) + 1
    rest = text_of(at + 6, <uint32_t> (end - at) - 7)
    if not _cut(&rest, &word):
        return PROXY_BAD
    if word.size == 7 and memcmp(word.at, <const char*> b"UNKNOWN", 7) == 0:
        return <int> header.size        # (whatever follows is to be passed over)
    if word.size != 4 or memcmp(word.at, <const char*> b"TCP", 3) != 0 \
            or (word.at[3] != c'4' and word.at[3] != c'6'):
        return PROXY_BAD
    family = AF_INET if word.at[3] == c'4' else AF_INET6
    if not _take_ip(&rest, family, &header.source) \
            or not _take_ip(&rest, family, &header.destination) \
            or not _take_port(&rest, &header.source) \
            or (end - 2)[0] == 32 or not _take_port(&rest, &header.destination) or rest.size:
        return PROXY_BAD
    return <int> header.size


# --- version 2 ---

cdef int _take_addresses(ProxyHeader* header, uint8_t kind, const uint8_t* at, uint32_t size,
                         bint datagram) noexcept nogil:
    """How many bytes they have, or -1."""
    cdef uint32_t wanted
    cdef int family = kind & 0xF0
    if kind == 0:
        return 0
    if kind & 0x0F != (DGRAM if datagram else STREAM):
        return -1
    wanted = INET_BYTES if family == FAMILY_INET else INET6_BYTES if family == FAMILY_INET6 \
        else PROXY_LOCAL_BYTES if family == FAMILY_UNIX else PROXY_V2_BYTES_MAX
    if size < wanted:
        return -1
    if family == FAMILY_INET:
        header.source.v4.sin_family = header.destination.v4.sin_family = AF_INET
        memcpy(&header.source.v4.sin_addr, at, 4)
        memcpy(&header.destination.v4.sin_addr, at + 4, 4)
        memcpy(&header.source.v4.sin_port, at + 8, 2)
        memcpy(&header.destination.v4.sin_port, at + 10, 2)
    elif family == FAMILY_INET6:
        header.source.v6.sin6_family = header.destination.v6.sin6_family = AF_INET6
        memcpy(&header.source.v6.sin6_addr, at, 16)
        memcpy(&header.destination.v6.sin6_addr, at + 16, 16)
        memcpy(&header.source.v6.sin6_port, at + 32, 2)
        memcpy(&header.destination.v6.sin6_port, at + 34, 2)
    else:
        header.source.family = header.destination.family = AF_UNIX
        header.local = text_of(at, PROXY_LOCAL_BYTES)
    return <int> wanted


cdef bint _note(ProxyHeader* header, int which, Text value, uint32_t most) noexcept nogil:
    """Who says a thing twice may mean either."""
    if header.facts[which].at != NULL or value.size > most:
        return False
    header.facts[which] = value
    return True


cdef bint _are_whole(Text tlvs) noexcept nogil:
    """Whether TLVs fill their place, which has at most 4 KiB."""
    cdef uint32_t size
    while tlvs.size:
        if tlvs.size < TLV_BYTES:
            return False
        size = TLV_BYTES + _number(tlvs.at + 1)
        if size > tlvs.size:
            return False
        tlvs.at += size
        tlvs.size -= size
    return True


cdef bint _take_tlvs(ProxyHeader* header, Text rest, const uint8_t** checksum) noexcept nogil:
    cdef Text value
    cdef uint8_t kind
    cdef bint good
    while rest.size:
        kind = rest.at[0]
        value = text_of(rest.at + TLV_BYTES, _number(rest.at + 1))
        good = True
        if kind == TLV_ALPN:
            good = _note(header, PROXY_ALPN, value, PROXY_FACT_BYTES_MAX)
        elif kind == TLV_AUTHORITY:
            good = _note(header, PROXY_AUTHORITY, value, PROXY_AUTHORITY_BYTES_MAX)
        elif kind == TLV_UNIQUE_ID:
            good = _note(header, PROXY_UNIQUE_ID, value, PROXY_UNIQUE_ID_BYTES_MAX)
        elif kind == TLV_AWS and value.size > 1 and value.at[0] == AWS_VPCE:
            good = _note(header, PROXY_VPCE, text_of(value.at + 1, value.size - 1),
                         PROXY_FACT_BYTES_MAX)
        elif kind == TLV_SSL:
            good = value.size >= SSL_BYTES and _are_whole(
                text_of(value.at + SSL_BYTES, value.size - SSL_BYTES))
        elif kind == TLV_CRC32C:
            good = value.size == 4 and checksum[0] == NULL
            checksum[0] = value.at
        if not good:
            return False
        rest.at += TLV_BYTES + value.size
        rest.size -= TLV_BYTES + value.size
    return True


cdef int _parse_v2(const uint8_t* at, uint32_t size, bint datagram,
                   ProxyHeader* header) noexcept nogil:
    cdef const uint8_t* checksum = NULL
    cdef uint32_t length
    cdef int used
    if size > SIGNATURE_BYTES and at[SIGNATURE_BYTES] != COMMAND_LOCAL \
            and at[SIGNATURE_BYTES] != COMMAND_PROXY:
        return PROXY_BAD
    if size < HEADER_BYTES:
        return PROXY_MORE
    length = _number(at + 14)
    if HEADER_BYTES + length > PROXY_V2_BYTES_MAX:
        return PROXY_BAD
    if size < HEADER_BYTES + length:
        return PROXY_MORE
    header.version = 2
    header.size = HEADER_BYTES + length
    if at[SIGNATURE_BYTES] == COMMAND_LOCAL:
        header.is_local = True          # (whatever follows is to be passed over)
        return <int> header.size
    used = _take_addresses(header, at[13], at + HEADER_BYTES, length, datagram)
    if used < 0:
        return PROXY_BAD
    header.tlvs = text_of(at + HEADER_BYTES + used, length - <uint32_t> used)
    if not _are_whole(header.tlvs) or not _take_tlvs(header, header.tlvs, &checksum):
        return PROXY_BAD
    if checksum != NULL and _crc32c(at, header.size, checksum) != (
            _number(checksum) << 16 | _number(checksum + 2)):
        return PROXY_BAD
    return <int> header.size


cdef int parse_proxy(const uint8_t* at, uint32_t size, bint datagram,
                     ProxyHeader* header) noexcept nogil:
    """How many bytes the header has that a connection or datagram begins with, or ProxyParsed. Of
    datagrams it is version 2, and whole or none."""
    cdef int used
    memset(header, 0, sizeof(ProxyHeader))
    used = _parse(at, size, datagram, header)
    if used > 0:                        # (HAProxy writes IPv4 as IPv6 where its socket has both)
        address_plain(&header.source)
        address_plain(&header.destination)
    return used


cdef int _parse(const uint8_t* at, uint32_t size, bint datagram,
                ProxyHeader* header) noexcept nogil:
    if size and at[0] == PREFIX[0] and not datagram:
        if memcmp(at, PREFIX, size if size < 6 else 6) != 0:
            return PROXY_NONE
        return _parse_v1(at, size, header) if size >= 6 else PROXY_MAYBE
    if size and memcmp(at, SIGNATURE, size if size < SIGNATURE_BYTES else SIGNATURE_BYTES) != 0:
        return PROXY_NONE
    return _parse_v2(at, size, datagram, header) if size >= SIGNATURE_BYTES else PROXY_MAYBE


# --- written ---

cdef int _common(const Address* source, const Address* destination) noexcept nogil:
    """The family that both can be written in; 0: none."""
    if source.family == AF_INET and destination.family == AF_INET:
        return AF_INET
    if (source.family == AF_INET or source.family == AF_INET6) \
            and (destination.family == AF_INET or destination.family == AF_INET6):
        return AF_INET6
    return 0


cdef void _as_family(const Address* address, int family, uint8_t* into) noexcept nogil:
    """The bytes of an IP: four, or of IPv6 sixteen."""
    if address.family == AF_INET6:
        memcpy(into, &address.v6.sin6_addr, 16)
    elif family == AF_INET:
        memcpy(into, &address.v4.sin_addr, 4)
    else:
        memcpy(into, <const char*> b"\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)
        memcpy(into + 12, &address.v4.sin_addr, 4)


cdef void _put_ip(Writer* w, const Address* address, int family) noexcept nogil:
    cdef char[INET6_ADDRSTRLEN] text
    cdef uint8_t[16] packed
    cdef uint32_t size = 0
    _as_family(address, family, packed)
    inet_ntop(family, packed, text, INET6_ADDRSTRLEN)
    while text[size]:
        size += 1
    put(w, text, size)
    put_literal(w, b" ")


cdef uint32_t write_proxy_v1(uint8_t* into, const Address* source,
                             const Address* destination) noexcept nogil:
    """In PROXY_V1_BYTES_MAX bytes at most; returns how many."""
    cdef int family = _common(source, destination)
    cdef uint8_t[20] digits
    cdef Writer w
    w.at, w.end, w.full = into, into + PROXY_V1_BYTES_MAX, False
    if family == 0:
        put_literal(&w, b"PROXY UNKNOWN\r\n")
        return 15
    put(&w, <const char*> b"PROXY TCP4 " if family == AF_INET else <const char*> b"PROXY TCP6 ", 11)
    _put_ip(&w, source, family)
    _put_ip(&w, destination, family)
    put(&w, digits, put_number(digits, address_port(source)))
    put_literal(&w, b" ")
    put(&w, digits, put_number(digits, address_port(destination)))
    put_literal(&w, b"\r\n")
    return <uint32_t> (w.at - into)


cdef uint32_t write_proxy_v2(uint8_t* into, const Address* source, const Address* destination,
                             Text local, Text tlvs, bint datagram) noexcept nogil:
    """In PROXY_WRITTEN_BYTES_MAX bytes at most; returns how many. `local`: both addresses of
    AF_UNIX, as they came; `tlvs`: what follows."""
    cdef int family = _common(source, destination)
    cdef uint32_t bytes = 4 if family == AF_INET else 16
    cdef uint32_t length = tlvs.size
    cdef uint16_t source_port = htons(address_port(source))
    cdef uint16_t destination_port = htons(address_port(destination))
    cdef uint8_t kind = DGRAM if datagram else STREAM
    cdef uint8_t[16] packed
    cdef uint8_t[4] fixed
    cdef Writer w
    if local.size:
        kind |= FAMILY_UNIX
        length += local.size
    elif family == 0:
        kind = 0
    else:
        kind |= FAMILY_INET if family == AF_INET else FAMILY_INET6
        length += INET_BYTES if family == AF_INET else INET6_BYTES
    w.at, w.end, w.full = into, into + HEADER_BYTES + length, False
    put(&w, SIGNATURE, SIGNATURE_BYTES)
    fixed[0], fixed[1] = COMMAND_PROXY, kind
    fixed[2], fixed[3] = <uint8_t> (length >> 8), <uint8_t> length
    put(&w, fixed, 4)
    if local.size:
        put_text(&w, local)
    elif family:
        _as_family(source, family, packed)
        put(&w, packed, bytes)
        _as_family(destination, family, packed)
        put(&w, packed, bytes)
        put(&w, &source_port, 2)
        put(&w, &destination_port, 2)
    put_text(&w, tlvs)
    return HEADER_BYTES + length
