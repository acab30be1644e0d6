# What connections of HTTP/2 have in common, of a client or to a server: bodies both ways, and
# counting what costs us more than whoever sends it.
from libc.stdint cimport int32_t, uint32_t, uint8_t

from fastlb._core.base.types cimport H2, H2Stream
from fastlb._core.ext.nghttp2 cimport (
    nghttp2_data_source, nghttp2_option, nghttp2_session, nghttp2_session_callbacks,
    nghttp2_session_get_stream_user_data,
)

cdef enum:
    FRAME_HEAD_BYTES = 9            # (RFC 9113, 4.1)
    RESET_COST = 5                  # a request that is thrown away, next to a frame


cdef inline uint8_t* h2_frame_head(H2* h2) noexcept nogil:
    """As much as has come of a frame's head, if it came in parts: room for FRAME_HEAD_BYTES bytes,
    which lies behind the connection's own."""
    return <uint8_t*> (h2 + 1)


cdef inline H2Stream* h2_stream(nghttp2_session* session, int32_t id) noexcept nogil:
    return <H2Stream*> nghttp2_session_get_stream_user_data(session, id)


cdef inline void h2_is_of_use(H2* h2, uint32_t size) noexcept nogil:
    """A body's bytes, or a head's, which are more than those that came."""
    h2.useless -= size if size < h2.useless else h2.useless


cdef void h2_count_bad(H2* h2, uint32_t cost) noexcept nogil
cdef void h2_count_reset(nghttp2_session* session, H2* h2, int32_t id) noexcept nogil
cdef void h2_look_at_frames(H2* h2, const uint8_t* data, uint32_t size) noexcept nogil
cdef bint h2_is_in_head(const H2* h2) noexcept nogil
cdef void h2_count_bytes(H2* h2, uint32_t size) noexcept nogil
cdef void h2_wake(H2Stream* st) noexcept nogil
cdef ssize_t h2_on_read(nghttp2_session* session, int32_t id, uint8_t* into, size_t room,
                        uint32_t* flags, nghttp2_data_source* source, void* given) noexcept nogil
cdef int h2_prepare(nghttp2_session_callbacks** callbacks,
                    nghttp2_option** options) except -1
