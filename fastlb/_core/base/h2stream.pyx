from libc.errno cimport EAGAIN, ECONNRESET, ENOMEM
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from fastlb._core.base.enums cimport (
    ERROR, H2_CLOSED, H2_DONE, H2_ENDED, H2_FAILED, H2_LOOK, LAYER_NONE, READABLE, REASON_DONE,
)
from fastlb._core.base.limits cimport H2_AHEAD_BYTES, H2_INPUT_CLASS, H2_OUTPUT_CLASS
from fastlb._core.base.mem cimport (
    chunk_bytes, chunk_class, chunk_size, give_held, take_held,
)
from fastlb._core.base.queue cimport queue
from fastlb._core.base.types cimport Chunk, Core, H2, H2Stream, Stream
from fastlb._core.ext.atomic cimport fl_assert, fl_count, likely, unlikely


cdef H2Stream* take_h2_stream(Core* core, H2* h2) noexcept nogil:
    """A zeroed one of a connection, or NULL when memory is gone."""
    cdef H2Stream* st = <H2Stream*> calloc(1, sizeof(H2Stream))
    if unlikely(st == NULL):
        return NULL
    st.h2 = h2
    st.next = h2.streams
    if h2.streams != NULL:
        h2.streams.prev = st
    h2.streams = st
    h2.n_streams += 1
    fl_count(&core.counters.h2_streams, 1)
    return st


cdef void give_h2_stream(Core* core, H2Stream* st) noexcept nogil:
    """It is in no list but its connection's."""
    cdef H2* h2 = st.h2
    fl_assert(st.exchange == NULL and not st.flags & H2_LOOK)
    if st.prev != NULL:
        st.prev.next = st.next
    else:
        h2.streams = st.next
    if st.next != NULL:
        st.next.prev = st.prev
    h2.n_streams -= 1
    give_held(core, st.input)
    give_held(core, st.output)
    give_held(core, st.cookies)
    give_held(core, st.trailers)
    free(st)
    fl_count(&core.counters.h2_streams, <uint64_t> -1)


cdef void h2_look(H2Stream* st) noexcept nogil:
    """The session has to hear of it."""
    cdef H2* h2 = st.h2
    if not st.flags & H2_LOOK:
        st.flags |= H2_LOOK
        st.next_look = h2.look
        h2.look = st
    if not h2.inside:
        queue(<Core*> h2.core, h2.carrier)


cdef bint h2_room(Core* core, Chunk** place, uint32_t size, int klass_max) noexcept nogil:
    """Room for `size` bytes more at the end of a chunk, in a larger one if need be."""
    cdef Chunk* chunk = place[0]
    cdef Chunk* bigger
    cdef uint32_t used = chunk.end - chunk.start if chunk != NULL else 0
    if chunk != NULL and chunk_size(chunk.klass) - chunk.end >= size:
        return True
    if chunk != NULL and chunk_size(chunk.klass) - used >= size:
        memmove(chunk_bytes(chunk), chunk_bytes(chunk) + chunk.start, used)
        chunk.start = 0
        chunk.end = used
        return True
    if used + size > chunk_size(klass_max):
        return False
    bigger = take_held(core, chunk_class(used + size))
    if unlikely(bigger == NULL):
        return False
    if chunk != NULL:
        memcpy(chunk_bytes(bigger), chunk_bytes(chunk) + chunk.start, used)
        give_held(core, chunk)
    bigger.end = used
    place[0] = bigger
    return True


cdef bint h2_feed(H2Stream* st, const void* data, uint32_t size) noexcept nogil:
    """Text for the exchange; False when it is too much."""
    if unlikely(not h2_room(<Core*> st.h2.core, &st.input, size, H2_INPUT_CLASS)):
        return False
    memcpy(chunk_bytes(st.input) + st.input.end, data, size)
    st.input.end += size
    return True


cdef ssize_t h2_read(Stream* s, void* into, size_t size) noexcept nogil:
    cdef H2Stream* st = s.h2
    cdef uint32_t n
    if unlikely(s.ready & ERROR):
        return -ECONNRESET
    if st.input == NULL:
        return 0 if st.flags & H2_ENDED else -EAGAIN
    n = st.input.end - st.input.start
    if n > size:
        n = <uint32_t> size
    memcpy(into, chunk_bytes(st.input) + st.input.start, n)
    st.input.start += n
    if st.input.start == st.input.end:
        give_held(<Core*> st.h2.core, st.input)
        st.input = NULL
        if not st.flags & H2_ENDED:
            s.ready &= <uint8_t> ~READABLE
    if st.unread:
        # (what frames the body in here counts as if it were the body's: that is soon made up for)
        st.consumed += n if n < st.unread else st.unread
        st.unread -= n if n < st.unread else st.unread
        h2_look(st)
    return n


cdef ssize_t h2_write(Stream* s, const void* data, size_t size) noexcept nogil:
    cdef H2Stream* st = s.h2
    cdef uint32_t held = st.output.end - st.output.start if st.output != NULL else 0
    cdef uint32_t most = H2_AHEAD_BYTES // st.h2.n_streams
    cdef uint32_t n = <uint32_t> size
    if unlikely(s.ready & ERROR):
        return -ECONNRESET
    if most > chunk_size(H2_OUTPUT_CLASS):
        most = chunk_size(H2_OUTPUT_CLASS)
    if held >= most:
        return -EAGAIN
    if n > most - held:
        n = most - held
    if unlikely(not h2_room(<Core*> st.h2.core, &st.output, n, H2_OUTPUT_CLASS)):
        return -ENOMEM
    memcpy(chunk_bytes(st.output) + st.output.end, data, n)
    st.output.end += n
    h2_look(st)
    return n


cdef bint h2_end_with(Stream* s, const void* lines, uint32_t size) noexcept nogil:
    """The answer's trailers: lines of HTTP/1.1; False when memory is gone."""
    cdef H2Stream* st = s.h2
    if not h2_room(<Core*> st.h2.core, &st.trailers, size, H2_INPUT_CLASS):
        return False
    memcpy(chunk_bytes(st.trailers) + st.trailers.end, lines, size)
    st.trailers.end += size
    return True


cdef void h2_shut(Stream* s) noexcept nogil:
    s.h2.flags |= H2_DONE
    h2_look(s.h2)


cdef void h2_close(Stream* s) noexcept nogil:
    """The exchange ends."""
    cdef H2Stream* st = s.h2
    st.flags |= <uint32_t> (H2_DONE if s.exchange.reason == REASON_DONE else H2_FAILED)
    st.exchange = NULL
    st.h2.n_exchanges -= 1
    st.consumed += st.unread            # (nobody reads it any more)
    st.unread = 0
    give_held(<Core*> st.h2.core, st.input)
    st.input = NULL
    s.h2 = NULL
    s.layer = LAYER_NONE
    h2_look(st)
