# The first bytes of protocols that always begin alike: HTTP/2, SSH, PostgreSQL, RTMP.
# Each function returns the bytes that tell the protocol, 0 (more is needed), or -1 (another one).
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcmp

cdef enum:
    PREFACE_BYTES = 24
    STARTUP_BYTES_MAX = 10000   # as PostgreSQL has it
    CANCEL_BYTES_MAX = 268      # a process, and a key of 256 bytes at most
    RTMP_BYTES = 1537           # C0 and C1
    RTMP_VERSION = 3
    CONNECTION_REQUEST = 0xE0   # of X.224

cdef const char* PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef int parse_preface(const uint8_t* data, uint32_t size) noexcept nogil:
    """Of HTTP/2 (RFC 9113, 3.4)."""
    if memcmp(data, PREFACE, size if size < PREFACE_BYTES else PREFACE_BYTES) != 0:
        return -1
    return PREFACE_BYTES if size >= PREFACE_BYTES else 0


cdef int parse_banner(const uint8_t* data, uint32_t size) noexcept nogil:
    """Of SSH (RFC 4253, 4.2): of a client nothing comes before its version."""
    if memcmp(data, <const char*> b"SSH-", size if size < 4 else 4) != 0:
        return -1
    if size > 4 and data[4] != c'1' and data[4] != c'2':        # 1.99 and 2.0
        return -1
    if size > 5 and data[5] != c'.':
        return -1
    return 6 if size > 5 else 0


cdef inline uint32_t _number(const uint8_t* at) noexcept nogil:
    return <uint32_t> at[0] << 24 | <uint32_t> at[1] << 16 | <uint32_t> at[2] << 8 | at[3]


cdef int parse_startup(const uint8_t* data, uint32_t size) noexcept nogil:
    """Of PostgreSQL (its documentation, 54.7: StartupMessage, SSLRequest, GSSENCRequest,
    CancelRequest): a length, and a version or a number that is none."""
    cdef uint32_t length, code
    if (size and data[0]) or (size > 1 and data[1]):
        return -1
    if size < 4:
        return 0
    length = _number(data)
    if length < 8 or length > STARTUP_BYTES_MAX:
        return -1
    if size < 8:
        return 0
    code = _number(data + 4)
    if code == 80877103 or code == 80877104:                # TLS or GSSAPI are asked for
        return 8 if length == 8 else -1
    if code == 80877102:
        return 8 if 16 <= length <= CANCEL_BYTES_MAX else -1
    return 8 if code >> 16 == 3 and length > 8 else -1


cdef bint _is_tpkt(const uint8_t* data, uint32_t size) noexcept nogil:
    """What remote desktops begin with (RFC 1006, 6): alike, and never as long."""
    cdef uint32_t length
    if size < 7 or data[1]:
        return False
    length = data[2] << 8 | data[3]
    return size == length and data[4] + 5u == length and data[5] == CONNECTION_REQUEST


cdef int parse_chunk0(const uint8_t* data, uint32_t size) noexcept nogil:
    """Of RTMP (5.2.2 and 5.2.3 of its specification): a version, and as many bytes as come before
    the server's answer. What they contain is up to the client."""
    if size and (data[0] != RTMP_VERSION or _is_tpkt(data, size)):
        return -1
    return RTMP_BYTES if size >= RTMP_BYTES else 0
