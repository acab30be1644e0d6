# Doors to the parsers of first bytes, for tests and fuzzing. What they read lies in memory of
# exactly its size, so that the sanitizers see every byte read beyond it.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.head cimport Text
from fastlb._core.proto.clienthello cimport Hello, parse_hello
from fastlb._core.proto.mqtt cimport MqttConnect, parse_connect
from fastlb._core.proto.openings cimport (
    parse_banner, parse_chunk0, parse_preface, parse_startup,
)
from fastlb._core.proto.protocols cimport SPOKEN_FACTS, Spoken, protocol_of
from fastlb._core.proto.redis cimport parse_command
from fastlb._core.proto.requestline cimport FirstLine, parse_opening

from fastlb.config.sniffing import PROTOCOLS

FACTS = ("sni", "version", "subject", "fingerprint", "alpn", "client_id", "username", "level")


cdef class _Copy:
    cdef uint8_t* at
    cdef uint32_t size

    def __cinit__(self, bytes text):
        self.size = len(text)
        self.at = <uint8_t*> malloc(self.size if self.size else 1)
        if self.at == NULL:
            raise MemoryError
        memcpy(self.at, <const char*> text, self.size)

    def __dealloc__(self):
        free(self.at)


cdef bytes _bytes(Text text):
    return (<const char*> text.at)[:text.size] if text.size else b""


def tell(bytes text):
    """(whether it can be said, the protocol's name, bytes wanted, facts by name)."""
    cdef _Copy data = _Copy(text)
    cdef Spoken spoken
    cdef int i
    memset(&spoken, 170, sizeof(spoken))
    told = protocol_of(data.at, data.size, &spoken)
    facts = {FACTS[i]: _bytes(spoken.facts[i]) for i in range(SPOKEN_FACTS)
             if spoken.facts[i].size}
    return bool(told), PROTOCOLS[spoken.protocol], spoken.wanted, facts


def hello(bytes text):
    """(used, wanted, name, protocols) of a hello of TLS."""
    cdef _Copy data = _Copy(text)
    cdef Hello made
    made.wanted = 0
    used = parse_hello(data.at, data.size, &made)
    offered, at = [], 0
    while at < made.alpn_size:
        offered.append((<const char*> &made.alpn[at + 1])[:made.alpn[at]])
        at += 1 + made.alpn[at]
    return used, made.wanted, (<const char*> made.name)[:made.name_size], offered


def connect(bytes text):
    """(used, wanted, level, client id, user name) of a CONNECT of MQTT."""
    cdef _Copy data = _Copy(text)
    cdef MqttConnect made
    used = parse_connect(data.at, data.size, &made)
    return used, made.wanted, made.level, _bytes(made.client_id), _bytes(made.username)


def opening(bytes text):
    """(used, whether it is a request, whether one for a WebSocket)."""
    cdef _Copy data = _Copy(text)
    cdef FirstLine made
    used = parse_opening(data.at, data.size, &made)
    return used, bool(made.is_request), bool(made.is_websocket)


def parse(str what, bytes text):
    """Bytes used, 0, or -1."""
    cdef _Copy data = _Copy(text)
    if what == "preface":
        return parse_preface(data.at, data.size)
    if what == "banner":
        return parse_banner(data.at, data.size)
    if what == "startup":
        return parse_startup(data.at, data.size)
    if what == "chunk0":
        return parse_chunk0(data.at, data.size)
    if what == "command":
        return parse_command(data.at, data.size)
    raise ValueError(what)
