# Requests of HTTP/2 to servers, and what servers say: an exchange has written HTTP/1.1, and reads
# it.
from fastlb._core.base.types cimport H2, H2Stream
from fastlb._core.ext.nghttp2 cimport nghttp2_session


cdef nghttp2_session* h2_server_session(H2* h2) noexcept nogil
cdef void h2_ask(H2* h2, H2Stream* st) noexcept nogil
