# The header fields that mean something to us.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.head cimport (
    CLAIMS, FIELD_ACCEPT, FIELD_AUTHENTICATE, FIELD_AUTHORIZATION, FIELD_CLAIM, FIELD_CONNECTION,
    FIELD_CONTENT_LENGTH, FIELD_CONTENT_TYPE, FIELD_COOKIE, FIELD_EXPECT, FIELD_FORWARDED,
    FIELD_HOST, FIELD_HTTP2_SETTINGS, FIELD_KEEP_ALIVE, FIELD_OTHER, FIELD_PROXY_CONNECTION,
    FIELD_TE, FIELD_TRACEPARENT, FIELD_TRAILER, FIELD_TRANSFER_ENCODING, FIELD_UPGRADE, FIELD_VIA,
    FIELD_WEBSOCKET_ACCEPT, FIELD_WEBSOCKET_KEY, FIELD_X_FORWARDED_FOR, FIELD_X_FORWARDED_HOST,
    FIELD_X_FORWARDED_PROTO, FIELD_X_REQUEST_ID, Text,
)
from fastlb._core.base.text cimport (
    equal_nocase, is_digit, is_literal_nocase, lower, next_token, trimmed,
)
from fastlb._core.ext.atomic cimport unlikely

cdef struct Name:
    const char* text
    uint8_t size
    uint8_t kind

_NAMES = {
    b"host": FIELD_HOST,
    b"content-length": FIELD_CONTENT_LENGTH,
    b"transfer-encoding": FIELD_TRANSFER_ENCODING,
    b"connection": FIELD_CONNECTION,
    b"upgrade": FIELD_UPGRADE,
    b"expect": FIELD_EXPECT,
    b"te": FIELD_TE,
    b"trailer": FIELD_TRAILER,
    b"keep-alive": FIELD_KEEP_ALIVE,
    b"proxy-connection": FIELD_PROXY_CONNECTION,
    b"http2-settings": FIELD_HTTP2_SETTINGS,
    b"forwarded": FIELD_FORWARDED,
    b"x-forwarded-for": FIELD_X_FORWARDED_FOR,
    b"x-forwarded-proto": FIELD_X_FORWARDED_PROTO,
    b"x-forwarded-host": FIELD_X_FORWARDED_HOST,
    b"x-request-id": FIELD_X_REQUEST_ID,
    b"traceparent": FIELD_TRACEPARENT,
    b"via": FIELD_VIA,
    b"cookie": FIELD_COOKIE,
    b"accept": FIELD_ACCEPT,
    b"sec-websocket-key": FIELD_WEBSOCKET_KEY,
    b"sec-websocket-accept": FIELD_WEBSOCKET_ACCEPT,
    b"content-type": FIELD_CONTENT_TYPE,
    b"www-authenticate": FIELD_AUTHENTICATE,
    b"proxy-authenticate": FIELD_AUTHENTICATE,
    b"authorization": FIELD_AUTHORIZATION,
    b"proxy-authorization": FIELD_AUTHORIZATION,
}
# What servers believe of a proxy in front of them: the client's address and certificate, and what
# it asked for. The order is that of CLAIMS in config/limits.py.
_CLAIMS = (
    b"x-real-ip", b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-server",
    b"x-forwarded-ssl", b"x-forwarded-scheme", b"x-forwarded-client-cert", b"x-original-url",
    b"x-rewrite-url", b"x-client-cert", b"true-client-ip", b"x-cluster-client-ip",
)
cdef enum:
    NAME_SLOTS = 256

cdef Name[NAME_SLOTS] _names


cdef inline uint32_t _slot(const uint8_t* name, uint32_t size) noexcept nogil:
    return (size * 37 + lower(name[0]) * 5 + lower(name[size - 1]) * 3
            + lower(name[size >> 1]) * 11) & (NAME_SLOTS - 1)


def _fill():
    cdef uint32_t slot
    if len(_CLAIMS) != <int> CLAIMS:
        raise ImportError(f"there are {CLAIMS} claims")
    kinds = _NAMES | {name: FIELD_CLAIM + i for i, name in enumerate(_CLAIMS)}
    for name, kind in kinds.items():
        slot = _slot(<const uint8_t*> <const char*> name, len(name))
        while _names[slot].size:
            slot = (slot + 1) & (NAME_SLOTS - 1)
        _names[slot] = Name(text=<const char*> name, size=len(name), kind=kind)


_fill()


cdef int field_kind(const uint8_t* name, uint32_t size) noexcept nogil:
    cdef uint32_t slot
    if unlikely(size == 0):
        return FIELD_OTHER
    slot = _slot(name, size)
    while _names[slot].size:            # ends: most slots are free
        if _names[slot].size == size and equal_nocase(
                name, size, <const uint8_t*> _names[slot].text, size):
            return _names[slot].kind
        slot = (slot + 1) & (NAME_SLOTS - 1)
    return FIELD_OTHER


cdef bint shadows(const uint8_t* name, uint32_t size) noexcept nogil:
    """Whether a name with underscores is one that means something once they are dashes, which is
    what CGI and WSGI make of both."""
    cdef uint8_t[32] dashed
    cdef uint32_t i
    if size > sizeof(dashed):
        return False
    for i in range(size):
        dashed[i] = 45 if name[i] == c'_' else name[i]
    return field_kind(dashed, size) != FIELD_OTHER


cdef bint binds_connection(Text value) noexcept nogil:
    """Whether credentials, or one of several challenges, are of a scheme that authenticates the
    connection and not the request: NTLM (MS-NTHT) and Negotiate (RFC 4559)."""
    cdef Text token
    cdef uint32_t i
    while next_token(&value, &token):
        i = 0
        while i < token.size and token.at[i] != c' ' and token.at[i] != c'\t':
            i += 1
        if is_literal_nocase(token.at, i, b"ntlm") \
                or is_literal_nocase(token.at, i, b"negotiate"):
            return True
    return False


cdef Text cut(Text* rest, uint8_t mark) noexcept nogil:
    """What comes before the next mark, or all; the mark is gone from `rest`, too."""
    cdef uint32_t i = 0
    cdef Text part
    while i < rest.size and rest.at[i] != mark:
        i += 1
    part = trimmed(rest.at, i)
    i += i < rest.size
    rest.at += i
    rest.size -= i
    return part


cdef int weight_of(Text parameters) noexcept nogil:
    """The weight "q=" among parameters, in thousandths (RFC 9110, 12.4.2): 1000 where there is
    none, 0 for what is named to say that it is not wanted."""
    cdef Text one
    cdef uint32_t i
    cdef int weight = 0, place = 1000
    while parameters.size:
        one = cut(&parameters, c';')
        if one.size < 3 or not is_literal_nocase(one.at, 2, b"q="):
            continue
        for i in range(2, one.size):
            if is_digit(one.at[i]):
                weight += (one.at[i] - c'0') * place
                place //= 10
        return weight if weight < 1000 else 1000
    return 1000


cdef bint accepts_json(Text value) noexcept nogil:
    """Whether a list of media ranges names application/json (RFC 9110, 12.5.1)."""
    cdef Text token
    cdef Text name
    while next_token(&value, &token):
        name = cut(&token, c';')
        if is_literal_nocase(name.at, name.size, b"application/json"):
            return weight_of(token) != 0
    return False
