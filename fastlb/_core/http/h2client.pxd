# What clients of HTTP/2 say, and what they are answered.
from fastlb._core.base.types cimport H2, H2Stream
from fastlb._core.ext.nghttp2 cimport nghttp2_session


cdef nghttp2_session* h2_client_session(H2* h2) noexcept nogil
cdef void h2_answer(H2* h2, H2Stream* st) noexcept nogil
