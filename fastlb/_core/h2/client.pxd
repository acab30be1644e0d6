# What clients of HTTP/2 say, and what they are answered.
from libc.stdint cimport uint8_t

from fastlb._core.base.types cimport H2, H2Stream
from fastlb._core.ext.nghttp2 cimport nghttp2_session


cdef enum:
    H2_HEARD = 2                    # h2.noticed: the client knows that it is to go


cdef nghttp2_session* h2_client_session(H2* h2) noexcept nogil
cdef void h2_say_streams_max(uint8_t* settings) noexcept nogil
cdef void h2_leave(H2* h2) noexcept nogil
cdef void h2_ping(H2* h2) noexcept nogil
cdef void h2_notice(H2* h2) noexcept nogil
cdef void h2_answer(H2* h2, H2Stream* st) noexcept nogil
