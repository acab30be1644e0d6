# A TLS handshake with a client.
# Reads the bind; writes the client's stream.
# Ends: NEXT (it is secured), AGAIN, FAIL (REASON_HANDSHAKE, REASON_CLIENT_RESET, ...).
from fastlb._core.base.enums cimport (
    AGAIN, ERROR, FAIL, NEXT, READABLE, REASON_CLIENT_RESET, REASON_HANDSHAKE, REASON_NO_MEMORY,
)
from fastlb._core.base.net cimport net_write
from fastlb._core.base.tls cimport (
    tls_failure, tls_handshake, tls_is_http, tls_is_resumed, tls_open,
)
from fastlb._core.base.types cimport Core, Exchange, Stream
from fastlb._core.ext.atomic cimport fl_count, unlikely

cdef const char* NOT_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 49\r\nConnection: close\r\n\r\n"
    b"400 Bad Request: this port speaks HTTPS, not HTTP")


cdef int handshake_step(Core* core, Exchange* x) noexcept nogil:
    cdef Stream* s = &x.client
    cdef int verdict
    if unlikely(s.ready & ERROR):
        x.reason = REASON_CLIENT_RESET
        return FAIL
    if s.tls == NULL:
        if not s.ready & READABLE:      # who says nothing costs nothing
            return AGAIN
        if not tls_open(core, s, x.bind.tls, True):
            x.reason = REASON_NO_MEMORY
            return FAIL
    verdict = tls_handshake(s)
    if verdict == NEXT:
        fl_count(&core.counters.handshakes, 1)
        if tls_is_resumed(s):
            fl_count(&core.counters.resumed, 1)
    elif verdict == FAIL:
        fl_count(&core.counters.handshakes_failed, 1)
        if tls_is_http(tls_failure()):
            net_write(s.fd, NOT_TLS, 157, False)
        x.reason = REASON_HANDSHAKE
    return verdict
