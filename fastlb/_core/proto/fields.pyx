# The names of header fields that mean something to us.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr

from fastlb._core.base.head cimport (
    FIELD_ACCEPT, FIELD_CONNECTION, FIELD_CONTENT_LENGTH, FIELD_CONTENT_TYPE, FIELD_COOKIE,
    FIELD_EXPECT, FIELD_FORWARDED, FIELD_HOST, FIELD_HTTP2_SETTINGS, FIELD_KEEP_ALIVE, FIELD_OTHER,
    FIELD_PROXY_CONNECTION, FIELD_TE, FIELD_TRACEPARENT, FIELD_TRAILER, FIELD_TRANSFER_ENCODING,
    FIELD_UPGRADE, FIELD_VIA, FIELD_WEBSOCKET_ACCEPT, FIELD_WEBSOCKET_KEY, FIELD_X_FORWARDED_FOR,
    FIELD_X_FORWARDED_HOST, FIELD_X_FORWARDED_PROTO, FIELD_X_REQUEST_ID,
)
from fastlb._core.base.text cimport equal_nocase, lower
from fastlb._core.ext.atomic cimport likely, unlikely

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
}
cdef enum:
    NAME_SLOTS = 256

cdef Name[NAME_SLOTS] _names


cdef inline uint32_t _slot(const uint8_t* name, uint32_t size) noexcept nogil:
    # The multipliers are such that no two of the names above meet: _fill says so otherwise.
    return (size * 37 + lower(name[0]) * 5 + lower(name[size - 1]) * 3
            + lower(name[size >> 1]) * 11) & (NAME_SLOTS - 1)


def _fill():
    cdef uint32_t slot
    for name, kind in _NAMES.items():
        slot = _slot(<const uint8_t*> <const char*> name, len(name))
        if _names[slot].size:
            raise ImportError(f"{name} has the slot of another header field's name")
        _names[slot] = Name(text=<const char*> name, size=len(name), kind=kind)


_fill()


cdef int field_kind(const uint8_t* name, uint32_t size) noexcept nogil:
    cdef Name* known
    if unlikely(size == 0):
        return FIELD_OTHER
    known = &_names[_slot(name, size)]
    if likely(known.size != size) or not equal_nocase(
            name, size, <const uint8_t*> known.text, known.size):
        return FIELD_OTHER
    return known.kind


cdef bint shadows(const uint8_t* name, uint32_t size) noexcept nogil:
    """Whether a name with underscores is one that means something once they are dashes, which is
    what CGI and WSGI make of both."""
    cdef uint8_t[32] dashed
    cdef uint32_t i
    if likely(memchr(name, 95, size) == NULL) or size > sizeof(dashed):
        return False
    for i in range(size):
        dashed[i] = 45 if name[i] == 95 else name[i]
    return field_kind(dashed, size) != FIELD_OTHER
