# A request of HTTP/2 as a stream on which an exchange reads and writes HTTP/1.1.
# Reads and writes the stream's buffers, and lists what nghttp2's session has to hear. Results are
# counts, or -errno, as for sockets.
from libc.errno cimport EAGAIN, ECONNRESET, ENOMEM, EPIPE
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove

from fastlb._core.base.enums cimport (
    ERROR, H2_ANSWERED, H2_CHUNKED, H2_CLOSED, H2_DONE, H2_ENDED, H2_FAILED, H2_HOLDS, H2_LAST,
    H2_LOOK, H2_REFUSED, H2_RESET, HANGUP, LAYER_NONE, READABLE, REASON_DONE, REASON_TIMEOUT,
    WRITABLE,
)
from fastlb._core.base.limits cimport (
    H2_AHEAD_BYTES, H2_EACH_BYTES, H2_HEAD_CLASS, H2_INPUT_CLASS, H2_OUTPUT_CLASS,
    H2_SERVER_AHEAD_BYTES, H2_TAKEN_MIN,
)
from fastlb._core.base.mem cimport chunk_bytes, chunk_class, chunk_size, give_held, take_held
from fastlb._core.base.queue cimport queue
from fastlb._core.base.text cimport head_end, put_hex
from fastlb._core.base.types cimport H2, Chunk, Core, H2Stream, Stream
from fastlb._core.ext.atomic cimport fl_assert, fl_count, likely, unlikely

cdef enum:
    H2_PIECE_BYTES = 65536      # of a body that waits: more goes into further chunks
    FRAMING_BYTES = 20          # of a chunk: 16 digits and two line ends


cdef H2Stream* take_h2_stream(Core* core, H2* h2) noexcept nogil:
    """A zeroed one of a connection, or NULL when memory is gone."""
    cdef H2Stream* st = <H2Stream*> calloc(1, sizeof(H2Stream))
    if unlikely(st == NULL):
        return NULL
    st.core = core
    st.h2 = h2
    st.next = h2.streams
    if h2.streams != NULL:
        h2.streams.prev = st
    h2.streams = st
    h2.n_streams += 1
    fl_count(&core.counters.h2_streams, 1)
    return st


cdef void _unlink(H2Stream* st) noexcept nogil:
    cdef H2* h2 = st.h2
    h2.ahead -= st.ahead
    st.ahead = 0
    h2.extra -= st.extra
    st.extra = 0
    if st.flags & H2_HOLDS:
        st.flags &= <uint32_t> ~H2_HOLDS
        h2.n_holding -= 1
    if h2.target == NULL:
        h2.head_bytes -= st.head_bytes
    if st.prev != NULL:
        st.prev.next = st.next
    else:
        h2.streams = st.next
    if st.next != NULL:
        st.next.prev = st.prev
    h2.n_streams -= 1
    st.h2 = NULL


cdef uint32_t _give_input(H2Stream* st) noexcept nogil:
    """All of it; how many bytes it had."""
    cdef uint32_t n = 0
    cdef Chunk* chunk
    while st.input != NULL:
        chunk = st.input
        st.input = chunk.next
        n += chunk.end - chunk.start
        give_held(<Core*> st.core, chunk)
    st.last = NULL
    return n


cdef void give_h2_stream(H2Stream* st) noexcept nogil:
    """Of no exchange any more, and in no list but its connection's."""
    cdef Core* core = <Core*> st.core
    fl_assert(st.stream == NULL and not st.flags & H2_LOOK)
    if st.h2 != NULL:
        _unlink(st)
    _give_input(st)
    give_held(core, st.output)
    give_held(core, st.cookies)
    give_held(core, st.trailers)
    free(st)
    fl_count(&core.counters.h2_streams, <uint64_t> -1)


cdef void abandon_h2_stream(H2Stream* st, bint reset) noexcept nogil:
    """Its connection to a server ends: the exchange reads what has come, and then that no more
    will. One whose answer is here loses nothing."""
    st.flags &= <uint32_t> ~H2_LOOK
    st.flags |= H2_CLOSED
    st.why = st.h2.carrier.reason
    st.h2.n_exchanges -= 1
    _unlink(st)
    if st.id == 0:
        st.flags |= H2_REFUSED              # the server hasn't heard of it
    if not st.flags & H2_ENDED:
        st.flags |= H2_ENDED | H2_LAST
        st.stream.ready |= <uint8_t> (ERROR if reset else HANGUP)
    st.stream.ready |= READABLE
    queue(<Core*> st.core, st.stream.exchange)


cdef void h2_look(H2Stream* st) noexcept nogil:
    """The session has to hear of it."""
    cdef H2* h2 = st.h2
    if unlikely(h2 == NULL):
        return
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


cdef bint _feed_first(H2Stream* st, const void* data, uint32_t size) noexcept nogil:
    if unlikely(not h2_room(<Core*> st.core, &st.input, size, H2_INPUT_CLASS)):
        return False
    memcpy(chunk_bytes(st.input) + st.input.end, data, size)
    st.input.end += size
    return True


cdef bint h2_feed(H2Stream* st, const void* data, uint32_t size) noexcept nogil:
    """A body's bytes for the exchange, as many as its window lets come; False when memory is
    gone."""
    cdef Chunk* chunk = st.last
    if likely(chunk == NULL):
        if st.input == NULL or st.input.end - st.input.start + size <= H2_PIECE_BYTES:
            return _feed_first(st, data, size)
        chunk = st.input
    if chunk_size(chunk.klass) - chunk.end < size:
        chunk.next = take_held(<Core*> st.core, chunk_class(H2_PIECE_BYTES))
        chunk = chunk.next
        if unlikely(chunk == NULL):
            return False
        st.last = chunk
    memcpy(chunk_bytes(chunk) + chunk.end, data, size)
    chunk.end += size
    return True


cdef bint h2_feed_text(H2Stream* st, const void* data, uint32_t size) noexcept nogil:
    """The same of text that is no body: a head, which comes before it, or its end. False when it is
    too much."""
    if unlikely(not _feed_first(st, data, size)):
        return False
    st.text_left += size
    return True


# --- what an exchange does ---

cdef uint32_t _take(H2Stream* st, uint8_t* into, uint32_t n) noexcept nogil:
    memcpy(into, chunk_bytes(st.input) + st.input.start, n)
    st.input.start += n
    return n


cdef uint32_t _take_text(H2Stream* st, uint8_t* into, uint32_t size) noexcept nogil:
    cdef uint32_t n = _take(st, into, st.text_left if st.text_left < size else size)
    st.text_left -= n
    return n


cdef void _drop_input(H2Stream* st) noexcept nogil:
    """What has been read to its end."""
    cdef Chunk* first = st.input
    if first.start == first.end:
        st.input = first.next
        if st.last == st.input:
            st.last = NULL
        give_held(<Core*> st.core, first)


cdef uint32_t _take_body(H2Stream* st, uint8_t* into, uint32_t size) noexcept nogil:
    """What fits of what is here, as a chunk where the body doesn't say how long it is."""
    cdef uint32_t n = st.input.end - st.input.start
    cdef uint32_t framing = 0
    if not st.flags & H2_CHUNKED:
        n = _take(st, into, n if n < size else size)
    elif size > FRAMING_BYTES:
        if n > size - FRAMING_BYTES:
            n = size - FRAMING_BYTES
        framing = put_hex(into, n)
        into[framing], into[framing + 1] = 13, 10
        framing += 2
        _take(st, into + framing, n)
        into[framing + n], into[framing + n + 1] = 13, 10
        framing += 2
    else:
        return 0
    st.consumed += n
    h2_look(st)
    return framing + n


cdef bint _feed_end(H2Stream* st) noexcept nogil:
    """The last chunk, and trailers; False when memory is gone."""
    st.flags |= H2_LAST
    return (h2_feed_text(st, b"0\r\n", 3)
            and (st.trailers == NULL
                 or h2_feed_text(st, chunk_bytes(st.trailers), st.trailers.end))
            and h2_feed_text(st, b"\r\n", 2))


cdef ssize_t h2_read(Stream* s, void* given, size_t room) noexcept nogil:
    cdef H2Stream* st = s.h2
    cdef uint8_t* into = <uint8_t*> given
    cdef uint32_t size = <uint32_t> room
    cdef uint32_t n = 0
    cdef ssize_t got = -EAGAIN
    if unlikely(s.ready & ERROR):
        return -ECONNRESET
    if st.input != NULL:
        n = _take_text(st, into, size)
        if st.text_left == 0 and st.input.start < st.input.end:
            n += _take_body(st, into + n, size - n)
        _drop_input(st)
    if st.input == NULL and st.flags & H2_ENDED:
        if not st.flags & H2_CHUNKED or st.flags & H2_LAST:
            return n
        if unlikely(not _feed_end(st)):
            return -ENOMEM
        n += _take_text(st, into + n, size - n)
        _drop_input(st)
    elif st.input == NULL:
        s.ready &= <uint8_t> ~READABLE
    if n > 0:
        got = n
    return got


cdef ssize_t h2_peek(Stream* s, void* into, size_t size) noexcept nogil:
    """Of a head."""
    cdef H2Stream* st = s.h2
    if unlikely(s.ready & ERROR):
        return -ECONNRESET
    if st.text_left == 0:
        return 0 if st.flags & H2_ENDED else -EAGAIN
    if size > st.text_left:
        size = st.text_left
    memcpy(into, chunk_bytes(st.input) + st.input.start, size)
    return size


cdef inline uint32_t _held(const H2Stream* st) noexcept nogil:
    return st.output.end - st.output.start if st.output != NULL else 0


cdef uint32_t _may_hold(const H2Stream* st) noexcept nogil:
    """Of what an exchange writes: so much as each stream may, and what others leave of the rest. So
    none waits for another one's window, and all of them together hold little."""
    cdef uint32_t most = H2_AHEAD_BYTES if st.h2.target == NULL else H2_SERVER_AHEAD_BYTES
    cdef uint32_t taken = st.h2.ahead - st.ahead
    cdef uint32_t left = most - taken if taken < most else 0
    if left > chunk_size(H2_OUTPUT_CLASS) - H2_EACH_BYTES:
        left = chunk_size(H2_OUTPUT_CLASS) - H2_EACH_BYTES
    return left + H2_EACH_BYTES


cdef void h2_count_ahead(H2Stream* st) noexcept nogil:
    """What is held of it has changed."""
    cdef uint32_t held = _held(st)
    cdef uint32_t ahead = held - H2_EACH_BYTES if held > <uint32_t> H2_EACH_BYTES else 0
    if ahead != st.ahead:
        st.h2.ahead += ahead - st.ahead
        st.ahead = ahead
    if (held != 0) != (st.flags & H2_HOLDS != 0):
        st.flags ^= H2_HOLDS
        st.h2.n_holding += 1 if held else <uint32_t> -1


cdef uint32_t h2_takes(Stream* s, uint32_t most) noexcept nogil:
    """How many bytes should be read that are to be written to it; 0: none, until it is writable. A
    head may grow by a quarter."""
    cdef H2Stream* st = s.h2
    cdef uint32_t held = _held(st)
    cdef uint32_t room
    if unlikely(st.h2 == NULL or s.ready & ERROR):
        return most                     # (writing says so)
    room = _may_hold(st)
    if held + H2_TAKEN_MIN > room:
        s.ready &= <uint8_t> ~WRITABLE
        return 0
    room -= held
    if not st.flags & H2_ANSWERED:
        room -= room // 4
    return room if room < most else most


cdef ssize_t h2_write(Stream* s, const void* data, size_t size) noexcept nogil:
    cdef H2Stream* st = s.h2
    cdef uint32_t held = _held(st)
    cdef const uint8_t* end
    cdef uint32_t most, n = <uint32_t> size
    cdef int klass = H2_OUTPUT_CLASS
    if unlikely(s.ready & ERROR):
        return -ECONNRESET
    if unlikely(st.h2 == NULL or st.flags & (H2_CLOSED | H2_RESET)):
        return -EPIPE
    most = _may_hold(st)
    if unlikely(st.h2.target != NULL and not st.flags & H2_ANSWERED):
        klass = H2_HEAD_CLASS           # a request's head is taken whole
        most = chunk_size(klass)
    elif unlikely(held + n > most and not st.flags & H2_ANSWERED):
        # An answer begins when its head is whole: until then nothing gets out, and makes room.
        end = head_end(<const uint8_t*> data, <const uint8_t*> data + n)
        if end != NULL and held + (end + 2 - <const uint8_t*> data) > most:
            klass = H2_HEAD_CLASS
            most = held + <uint32_t> (end + 2 - <const uint8_t*> data)
            most = most if most < chunk_size(klass) else chunk_size(klass)
    if held >= most:
        return -EAGAIN
    if n > most - held:
        n = most - held
    if unlikely(not h2_room(<Core*> st.core, &st.output, n, klass)):
        return -ENOMEM
    memcpy(chunk_bytes(st.output) + st.output.end, data, n)
    st.output.end += n
    h2_count_ahead(st)
    h2_look(st)
    return n


cdef bint h2_end_with(H2Stream* st, const void* lines, uint32_t size) noexcept nogil:
    """The answer's trailers: lines of HTTP/1.1; False when memory is gone."""
    if not h2_room(<Core*> st.core, &st.trailers, size, H2_INPUT_CLASS):
        return False
    memcpy(chunk_bytes(st.trailers) + st.trailers.end, lines, size)
    st.trailers.end += size
    return True


cdef void h2_shut(Stream* s) noexcept nogil:
    s.h2.flags |= H2_DONE
    h2_look(s.h2)


cdef bint _is_silent(H2* h2, uint64_t sent_ns) noexcept nogil:
    """Whether the server has said nothing, not even for other requests, in the second half of the
    time that a request waited. What comes in the first half may have been sent before it."""
    cdef uint64_t now_ns = (<Core*> h2.core).now_ns
    return sent_ns != 0 and h2.heard_ns < sent_ns + (now_ns - sent_ns) // 2


cdef void h2_close(Stream* s) noexcept nogil:
    """The exchange ends."""
    cdef H2Stream* st = s.h2
    cdef H2* h2 = st.h2
    st.stream = NULL
    s.h2 = NULL
    s.layer = LAYER_NONE
    if unlikely(h2 == NULL):
        give_h2_stream(st)
        return
    if h2.target == NULL:
        if not st.flags & H2_DONE:          # (a call may have ended by its status: see trailers)
            st.flags |= <uint32_t> (H2_DONE if s.exchange.reason == REASON_DONE else H2_FAILED)
    else:
        st.flags |= H2_FAILED           # (what is over is H2_CLOSED already)
        if unlikely(s.exchange.reason == REASON_TIMEOUT
                    and _is_silent(h2, s.exchange.attempt.sent_ns)):
            h2.leaving = True           # it may be gone
    h2.n_exchanges -= 1
    if h2.target != NULL and st.id == 0 and not st.flags & H2_LOOK:
        give_h2_stream(st)              # the session has never heard of it
        queue(<Core*> h2.core, h2.carrier)
        return
    if st.input != NULL:                # nobody reads it any more
        st.consumed += _give_input(st) - st.text_left
        st.text_left = 0
    h2_look(st)
