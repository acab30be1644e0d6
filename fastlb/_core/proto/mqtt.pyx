# CONNECT, the first packet of an MQTT client (MQTT 3.1; 3.1.1 and 5.0, 3.1).
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcmp

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport SNIFF_BYTES_MAX
from fastlb._core.base.text cimport text_of

cdef enum:
    CONNECT = 0x10              # the first byte
    CONNECT_MIN = 12            # bytes that follow the length: the header and an empty client id
    BRIDGE = 0x80               # of the level: another server connects (a custom of mosquitto's)
    RESERVED = 1                # flags
    HAS_WILL = 4
    HAS_USERNAME = 0x80

cdef struct Reader:
    const uint8_t* data
    uint32_t size               # that is here
    uint32_t at
    uint32_t end                # of the packet
    uint32_t wanted             # not 0: more has to come before it goes on
    bint broken


cdef bint _have(Reader* r, uint32_t n) noexcept nogil:
    """Whether the next n bytes are here; if not, why."""
    if r.wanted or r.broken:
        return False
    if n > r.end - r.at:
        r.broken = True             # beyond the packet
    elif n > r.size - r.at:
        r.wanted = r.at + n
        r.broken = r.wanted > SNIFF_BYTES_MAX
    return not r.wanted and not r.broken


cdef uint32_t _number(Reader* r, uint32_t n_bytes) noexcept nogil:
    cdef uint32_t value = 0, i
    if _have(r, n_bytes):
        for i in range(n_bytes):
            value = value << 8 | r.data[r.at + i]
        r.at += n_bytes
    return value


cdef uint32_t _length(Reader* r) noexcept nogil:
    """Seven bits a byte, four bytes at most (5.0, 1.5.5)."""
    cdef uint32_t value = 0, i, byte
    for i in range(4):
        byte = _number(r, 1)
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value
    r.broken = True
    return 0


cdef Text _text(Reader* r) noexcept nogil:
    """With its size before it; also what is no text, but written so."""
    cdef uint32_t n = _number(r, 2)
    cdef Text text = text_of(NULL, 0)
    if _have(r, n):
        text = text_of(r.data + r.at, n)
        r.at += n
    return text


cdef void _skip(Reader* r, uint32_t n) noexcept nogil:
    if _have(r, n):
        r.at += n


cdef uint32_t _name_bytes(const uint8_t* data, uint32_t size) noexcept nogil:
    """Of the protocol's name with its size, as far as it is here; 0: it is another one's."""
    if memcmp(data, <const char*> b"\0\4MQTT", size if size < 6 else 6) == 0:
        return 6
    if memcmp(data, <const char*> b"\0\6MQIsdp", size if size < 8 else 8) == 0:
        return 8
    return 0


cdef bint _is_level(uint8_t level, uint32_t name_bytes) noexcept nogil:
    """3.1 has another name."""
    return level == 3 if name_bytes == 8 else level == 4 or level == 5


cdef int parse_connect(const uint8_t* data, uint32_t size, MqttConnect* packet) noexcept nogil:
    """Bytes used, up to the user name; 0 (more is wanted: packet.wanted), or -1: this is none."""
    cdef Reader r
    cdef uint32_t n, flags
    packet.wanted = packet.level = 0
    packet.client_id = packet.username = text_of(NULL, 0)
    if size and data[0] != CONNECT:
        return -1
    r.data, r.size, r.at, r.end = data, size, 0, SNIFF_BYTES_MAX
    r.wanted = r.broken = 0
    _number(&r, 1)
    n = _length(&r)
    if r.wanted == 0 and not r.broken:
        if n < CONNECT_MIN:
            return -1
        r.end = r.at + n
        n = _name_bytes(data + r.at, size - r.at)
        if n == 0:
            return -1
        _skip(&r, n)
        packet.level = <uint8_t> (_number(&r, 1) & ~<uint32_t> BRIDGE)
        if r.wanted == 0 and not _is_level(packet.level, n):
            return -1
    flags = _number(&r, 1)
    _number(&r, 2)                          # keep alive
    if flags & RESERVED:                    # (3.1.1, 3.1.2.3: it has to be refused)
        return -1
    if packet.level == 5:
        _skip(&r, _length(&r))              # properties
    packet.client_id = _text(&r)
    if flags & HAS_WILL:
        if packet.level == 5:
            _skip(&r, _length(&r))
        _text(&r)
        _text(&r)
    if flags & HAS_USERNAME:
        packet.username = _text(&r)
    if r.broken:
        return -1
    packet.wanted = r.wanted
    return <int> r.at if r.wanted == 0 else 0
