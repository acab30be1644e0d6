# The seam between plain sockets, TLS and streams of HTTP/2: what stages read from and write to.
# Every result is a count, or -errno.
from fastlb._core.base.enums cimport LAYER_H2, LAYER_NONE, LAYER_TLS
from fastlb._core.base.h2stream cimport h2_peek, h2_read, h2_shut, h2_write
from fastlb._core.base.limits cimport TLS_RECORD_BYTES
from fastlb._core.base.net cimport net_peek, net_read, net_shut, net_write
from fastlb._core.base.tls cimport tls_peek, tls_read, tls_shut, tls_write, tls_write_bulk
from fastlb._core.base.types cimport Core, Stream
from fastlb._core.ext.atomic cimport unlikely


cdef inline ssize_t stream_read(Stream* s, void* into, size_t size) noexcept nogil:
    if unlikely(s.layer != LAYER_NONE):
        return tls_read(s, into, size) if s.layer == LAYER_TLS else h2_read(s, into, size)
    return net_read(s.fd, into, size)


cdef inline ssize_t stream_write(Stream* s, const void* data, size_t size,
                                 bint more) noexcept nogil:
    """`more`: a FIN follows at once, so let it travel in the same segment. Bytes that weren't taken
    are the next to be written."""
    if unlikely(s.layer != LAYER_NONE):
        return tls_write(s, data, size) if s.layer == LAYER_TLS else h2_write(s, data, size)
    return net_write(s.fd, data, size, more)


cdef inline ssize_t stream_put(Core* core, Stream* s, const void* data, size_t size,
                               bint more) noexcept nogil:
    """The same, and of TLS some of it may be pending when all of it is taken."""
    if unlikely(s.layer != LAYER_NONE):
        if s.layer == LAYER_H2:
            return h2_write(s, data, size)
        if size > TLS_RECORD_BYTES:
            return tls_write_bulk(core, s, data, size)
        return tls_write(s, data, size)
    return net_write(s.fd, data, size, more)


cdef inline ssize_t stream_peek(Stream* s, void* into, size_t size) noexcept nogil:
    """What can be read, and stays to be read."""
    if unlikely(s.layer != LAYER_NONE):
        return tls_peek(s, into, size) if s.layer == LAYER_TLS else h2_peek(s, into, size)
    return net_peek(s.fd, into, size)


cdef inline void stream_shut(Stream* s) noexcept nogil:
    if unlikely(s.layer != LAYER_NONE):
        if s.layer == LAYER_H2:
            h2_shut(s)
            return
        tls_shut(s)
    net_shut(s.fd)


cdef void drop_pending(Core* core, Stream* s) noexcept nogil
cdef void close_stream(Core* core, Stream* s, bint reset) noexcept nogil
