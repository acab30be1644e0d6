# Which protocol a client speaks, by its first bytes.
# Tries each protocol that a listener asks about, and says how many bytes it needs to go on.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memset

from fastlb._core.base.enums cimport (
    PROTOCOL_H2, PROTOCOL_HTTP1, PROTOCOL_MQTT, PROTOCOL_POSTGRES, PROTOCOL_REDIS, PROTOCOL_RTMP,
    PROTOCOL_SSH, PROTOCOL_TLS, PROTOCOL_UNKNOWN, PROTOCOL_WEBSOCKET,
)
from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport text_of, text_of_literal
from fastlb._core.proto.clienthello cimport parse_hello
from fastlb._core.proto.mqtt cimport MqttConnect, parse_connect
from fastlb._core.proto.openings cimport parse_banner, parse_chunk0, parse_preface, parse_startup
from fastlb._core.proto.redis cimport parse_command
from fastlb._core.proto.requestline cimport FirstLine, parse_opening


cdef Text _level(int level) noexcept nogil:
    """The version's name."""
    if level == 3:
        return text_of_literal(b"3.1")
    if level == 4:
        return text_of_literal(b"3.1.1")
    return text_of_literal(b"5")


cdef bint _tells(int used, uint32_t wanted, int protocol, Spoken* spoken) noexcept nogil:
    """Whether a parser has found what it is for."""
    if used > 0:
        spoken.protocol = <uint8_t> protocol
        return True
    if used == 0 and (spoken.wanted == 0 or wanted < spoken.wanted):
        spoken.wanted = wanted          # (one of them may be told by fewer bytes than another)
    return False


cdef bint _is_binary(const uint8_t* data, uint32_t size, Spoken* spoken) noexcept nogil:
    cdef MqttConnect packet
    cdef int used = parse_hello(data, size, &spoken.hello)
    if _tells(used, spoken.hello.wanted, PROTOCOL_TLS, spoken):
        spoken.facts[SPOKEN_SNI] = text_of(spoken.hello.name, spoken.hello.name_size)
        spoken.facts[SPOKEN_ALPN] = text_of(spoken.hello.alpn, spoken.hello.alpn_size)
        return True
    used = parse_connect(data, size, &packet)
    if _tells(used, packet.wanted, PROTOCOL_MQTT, spoken):
        spoken.facts[SPOKEN_CLIENT_ID] = packet.client_id
        spoken.facts[SPOKEN_USERNAME] = packet.username
        spoken.facts[SPOKEN_LEVEL] = _level(packet.level)
        return True
    return _tells(parse_startup(data, size), 8, PROTOCOL_POSTGRES, spoken) \
        or _tells(parse_chunk0(data, size), size + 1, PROTOCOL_RTMP, spoken)


cdef bint protocol_of(const uint8_t* data, uint32_t size, Spoken* spoken) noexcept nogil:
    """Whether it can be said. If not, more may tell it (spoken.wanted); what no bytes could make a
    known protocol is an unknown one."""
    cdef FirstLine opening
    memset(spoken.facts, 0, sizeof(spoken.facts))
    spoken.protocol = PROTOCOL_UNKNOWN
    spoken.wanted = 0
    if size == 0:
        spoken.wanted = 1
        return False
    if _is_binary(data, size, spoken) \
            or _tells(parse_preface(data, size), size + 1, PROTOCOL_H2, spoken):
        return True
    if _tells(parse_opening(data, size, &opening), size + 1, PROTOCOL_HTTP1, spoken):
        if opening.is_websocket:
            spoken.protocol = PROTOCOL_WEBSOCKET
        return True
    if opening.is_request:
        spoken.protocol = PROTOCOL_HTTP1
        return False
    if _tells(parse_banner(data, size), size + 1, PROTOCOL_SSH, spoken) \
            or _tells(parse_command(data, size), size + 1, PROTOCOL_REDIS, spoken):
        return True
    return spoken.wanted == 0
