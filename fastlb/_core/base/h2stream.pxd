# A request of HTTP/2 as a stream that an exchange reads and writes HTTP/1.1 on. Nothing here
# touches nghttp2: what its session has to hear of is put in a list, and the connection is queued.
from libc.stdint cimport uint32_t, uint8_t

from fastlb._core.base.types cimport Chunk, Core, H2, H2Stream, Stream


cdef H2Stream* take_h2_stream(Core* core, H2* h2) noexcept nogil
cdef void give_h2_stream(H2Stream* st) noexcept nogil
cdef void abandon_h2_stream(H2Stream* st, bint reset) noexcept nogil
cdef void h2_look(H2Stream* st) noexcept nogil
cdef bint h2_room(Core* core, Chunk** place, uint32_t size, int klass_max) noexcept nogil
cdef bint h2_feed(H2Stream* st, const void* data, uint32_t size) noexcept nogil
cdef bint h2_feed_text(H2Stream* st, const void* data, uint32_t size) noexcept nogil
cdef ssize_t h2_read(Stream* s, void* into, size_t size) noexcept nogil
cdef ssize_t h2_peek(Stream* s, void* into, size_t size) noexcept nogil
cdef void h2_count_ahead(H2Stream* st) noexcept nogil
cdef uint32_t h2_takes(Stream* s, uint32_t most) noexcept nogil
cdef ssize_t h2_write(Stream* s, const void* data, size_t size) noexcept nogil
cdef bint h2_end_with(H2Stream* st, const void* lines, uint32_t size) noexcept nogil
cdef void h2_shut(Stream* s) noexcept nogil
cdef void h2_close(Stream* s) noexcept nogil
