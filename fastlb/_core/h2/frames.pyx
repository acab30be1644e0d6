# What HTTP/2 connections have in common, towards clients and servers.
# Bodies both ways, and a budget for what costs us more than it costs the peer.
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, memcpy

from fastlb._core.base.enums cimport (
    H2_DEFERRED, H2_DONE, H2_FAILED, H2_IN_CHUNKS, H2_RESET, H2_STALLED, H2_TUNNEL, H2_WAKE,
    WRITABLE,
)
from fastlb._core.base.h2stream cimport h2_count_ahead, h2_feed, h2_look
from fastlb._core.base.limits cimport (
    H2_ACKS_MAX, H2_BAD_MAX, H2_KNOWN_BYTES, H2_SERVER_BYTES, H2_SETTINGS_MAX,
    H2_USELESS_BYTES_MAX,
)
from fastlb._core.base.mem cimport chunk_bytes, give_held
from fastlb._core.base.queue cimport queue
from fastlb._core.base.types cimport H2, Core, H2Stream
from fastlb._core.ext.atomic cimport fl_count, unlikely
from fastlb._core.ext.nghttp2 cimport (
    NGHTTP2_CONTINUATION, NGHTTP2_DATA, NGHTTP2_DATA_FLAG_EOF, NGHTTP2_DATA_FLAG_NO_END_STREAM,
    NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_ERR_DEFERRED, NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE,
    NGHTTP2_FLAG_ACK, NGHTTP2_FLAG_END_HEADERS, NGHTTP2_FLAG_END_STREAM, NGHTTP2_HEADERS,
    NGHTTP2_PROTOCOL_ERROR, NGHTTP2_RST_STREAM, NGHTTP2_STREAM_CLOSED, NGHTTP2_WINDOW_UPDATE,
    nghttp2_data_source, nghttp2_frame_hd, nghttp2_nv, nghttp2_option, nghttp2_option_new,
    nghttp2_option_set_max_outbound_ack, nghttp2_option_set_max_settings,
    nghttp2_option_set_no_auto_window_update, nghttp2_session, nghttp2_session_callbacks,
    nghttp2_session_callbacks_new, nghttp2_session_callbacks_set_on_data_chunk_recv_callback,
    nghttp2_session_consume_connection, nghttp2_session_terminate_session, nghttp2_submit_trailer,
)
from fastlb._core.h2.text cimport NV_MAX, h2_lines

cdef enum:
    CHUNK_TAIL = 2                  # the line end after a chunk's bytes
    H2_KNOWN_IDS = H2_KNOWN_BYTES * 8 * 2      # (a client's are odd)
    UPDATES_OWED_MAX = 65536        # 512 MiB in full frames: more is never on its way


cdef void _calm(H2* h2) noexcept nogil:
    """The peer is told to go."""
    if not h2.gone:
        h2.leaving = h2.gone = True
        fl_count(&(<Core*> h2.core).counters.h2_abused, 1)
        if nghttp2_session_terminate_session(
                <nghttp2_session*> h2.session, NGHTTP2_ENHANCE_YOUR_CALM):
            h2.failed = True


cdef void h2_count_bad(H2* h2, uint32_t cost) noexcept nogil:
    """So much that brings no request on, in a second, is too much."""
    h2.n_bad += cost
    if unlikely(h2.n_bad >= H2_BAD_MAX):
        _calm(h2)


cdef void h2_count_bytes(H2* h2, uint32_t size) noexcept nogil:
    """So many have come: those that turn out to be of use are taken off again, and what is left is
    frames for nobody, padding, and whatever there may be in times to come."""
    cdef uint64_t second = (<Core*> h2.core).now_ms // 1000
    if h2.bad_second != second:
        h2.useless = h2.useless // 2 if second == h2.bad_second + 1 else 0
        h2.bad_second = second
        h2.n_bad = 0
    # (what was under way to a stream when it was reset is a window's bytes at most)
    if unlikely(h2.useless > <uint32_t> (
            H2_USELESS_BYTES_MAX if h2.target == NULL else H2_SERVER_BYTES)
            + h2.window.size - h2.window_base):
        _calm(h2)
    h2.useless += size


cdef void h2_wake(H2Stream* st) noexcept nogil:
    st.flags |= H2_WAKE
    h2_look(st)


cdef void _fail_connection(H2* h2, uint32_t why) noexcept nogil:
    """The peer has broken rules that streams can't be kept apart without."""
    if not h2.gone:
        h2.leaving = h2.gone = True
        if nghttp2_session_terminate_session(<nghttp2_session*> h2.session, why):
            h2.failed = True


cdef void _begin_stream(H2* h2, int32_t id) noexcept nogil:
    """Note a client's new stream; those that it has passed over can't be begun any more."""
    cdef uint32_t n = (<uint32_t> (id - h2.last_id) + 1) // 2
    cdef uint32_t i
    cdef int32_t passed
    # (backwards: ids go up to 2^31 - 1, and there is no next one)
    for i in range(n if n < H2_KNOWN_IDS // 2 else <uint32_t> H2_KNOWN_IDS // 2):
        passed = id - 2 * <int32_t> i
        h2.begun[passed >> 4 & H2_KNOWN_BYTES - 1] &= <uint8_t> ~(1 << (passed >> 1 & 7))
        h2.ended[passed >> 4 & H2_KNOWN_BYTES - 1] &= <uint8_t> ~(1 << (passed >> 1 & 7))
    h2.begun[id >> 4 & H2_KNOWN_BYTES - 1] |= <uint8_t> (1 << (id >> 1 & 7))
    h2.last_id = id


cdef void _check_stream(H2* h2, const nghttp2_frame_hd* head) noexcept nogil:
    """Whether a client may still send a HEADERS, a DATA or a RST_STREAM for a stream (RFC 9113, 5.1
    and 5.1.1). nghttp2 forgets streams that are closed, and ignores what comes for them."""
    cdef int32_t id = head.stream_id
    cdef uint32_t at = id >> 4 & H2_KNOWN_BYTES - 1
    cdef uint8_t bit = <uint8_t> (1 << (id >> 1 & 7))
    if id & 1 == 0:
        return                              # (no client begins such a one: nghttp2 says so)
    if id > h2.last_id:
        if head.type != NGHTTP2_HEADERS:
            return                          # (idle: the same)
        _begin_stream(h2, id)
    elif h2.last_id - id >= H2_KNOWN_IDS:
        return                              # so long ago that nobody knows
    elif head.type == NGHTTP2_RST_STREAM:
        h2.ended[at] |= bit
        return
    elif unlikely(not h2.begun[at] & bit):
        _fail_connection(h2, NGHTTP2_PROTOCOL_ERROR)
        return
    elif unlikely(h2.ended[at] & bit):
        _fail_connection(h2, NGHTTP2_STREAM_CLOSED)
        return
    if head.flags & NGHTTP2_FLAG_END_STREAM:
        h2.ended[at] |= bit


cdef void _begin_frame(H2* h2, const nghttp2_frame_hd* head) noexcept nogil:
    h2.frame_kind = head.type
    h2.head_is_open = False
    if head.type <= NGHTTP2_HEADERS or head.type == NGHTTP2_RST_STREAM:
        if h2.target == NULL:
            _check_stream(h2, head)
    if head.type == NGHTTP2_HEADERS:
        h2.heads += 1
        h2.head_is_open = not head.flags & NGHTTP2_FLAG_END_HEADERS
    elif head.type == NGHTTP2_DATA:
        if head.length == 0 and not head.flags & NGHTTP2_FLAG_END_STREAM:
            h2_count_bad(h2, 1)
    elif head.type == NGHTTP2_RST_STREAM:
        if h2.target == NULL:           # (a server that resets has had the request first)
            h2_count_bad(h2, RESET_COST)
    elif head.type == NGHTTP2_WINDOW_UPDATE:
        if h2.updates_owed:
            h2.updates_owed -= 1
        elif h2.target == NULL:
            h2_count_bad(h2, 1)
    elif head.type == NGHTTP2_CONTINUATION:
        h2.head_is_open = not head.flags & NGHTTP2_FLAG_END_HEADERS
        h2_count_bad(h2, 1)
    elif not head.flags & NGHTTP2_FLAG_ACK:
        h2_count_bad(h2, 1)


cdef void h2_look_at_frames(H2* h2, const uint8_t* data, uint32_t size) noexcept nogil:
    """See every frame that begins in what has come. (nghttp2 says nothing of some that it ignores.)
    h2.framed is where the next one begins, counted as h2.received is."""
    cdef uint64_t at = h2.received
    cdef uint64_t end = at + size
    cdef nghttp2_frame_hd head
    cdef uint8_t* bytes = h2_frame_head(h2)
    cdef uint32_t have, n
    h2.received = end
    while h2.framed < end:
        have = <uint32_t> (at - h2.framed) if at > h2.framed else 0     # of its head, from before
        at = at if at > h2.framed else h2.framed
        n = FRAME_HEAD_BYTES - have
        n = n if n < end - at else <uint32_t> (end - at)
        memcpy(bytes + have, data + size - (end - at), n)
        at += n
        if have + n < FRAME_HEAD_BYTES:
            return
        head.length = <size_t> bytes[0] << 16 | <size_t> bytes[1] << 8 | bytes[2]
        head.type = bytes[3]
        head.flags = bytes[4]
        head.stream_id = <int32_t> ((<uint32_t> bytes[5] & 127) << 24 | <uint32_t> bytes[6] << 16
                                    | <uint32_t> bytes[7] << 8 | bytes[8])
        h2.framed += FRAME_HEAD_BYTES + head.length
        _begin_frame(h2, &head)


cdef bint h2_is_in_head(const H2* h2) noexcept nogil:
    """Whether a head has begun to come and isn't whole."""
    return h2.head_is_open or (h2.received < h2.framed and (
        h2.frame_kind == NGHTTP2_HEADERS or h2.frame_kind == NGHTTP2_CONTINUATION))


cdef void h2_count_reset(nghttp2_session* session, H2* h2, int32_t id) noexcept nogil:
    """Count a RST_STREAM that we have sent. Where a request was at work, its server has worked for
    nothing, whatever the peer made us reset it by; our own resets come after the request's end."""
    cdef H2Stream* st = h2_stream(session, id)
    if st != NULL and not st.flags & H2_RESET:
        h2_count_bad(h2, RESET_COST if st.stream != NULL else 1)


cdef int _on_data(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* data,
                  size_t size, void* given) noexcept nogil:
    cdef H2Stream* st = h2_stream(session, id)
    if unlikely(st == NULL):
        if nghttp2_session_consume_connection(session, size):
            (<H2*> given).failed = True
        return 0
    st.h2.untaken += <uint32_t> size
    if st.stream == NULL and st.flags & (H2_DONE | H2_FAILED):
        st.consumed += <uint32_t> size          # nobody reads it any more
        if st.answered_ms:
            h2_is_of_use(st.h2, <uint32_t> size)        # (it can't know yet)
        h2_look(st)
        return 0
    if unlikely(not h2_feed(st, data, <uint32_t> size)):
        st.consumed += <uint32_t> size
        st.flags |= H2_FAILED
    else:
        h2_is_of_use(st.h2, <uint32_t> size)
    h2_wake(st)
    return 0


cdef int _submit_trailers(nghttp2_session* session, H2Stream* st) noexcept nogil:
    """How many there are; less than 0: they can't be sent, so that the answer isn't whole."""
    cdef nghttp2_nv[NV_MAX] fields
    cdef uint8_t* lines = chunk_bytes(st.trailers)
    cdef int n = h2_lines(lines, lines + st.trailers.end, fields, 0)
    if n > 0 and nghttp2_submit_trailer(session, st.id, fields, n):
        return -1
    return n


cdef uint32_t _out(H2Stream* st, uint8_t* into, uint64_t size) noexcept nogil:
    """So many bytes of what the exchange wrote, or as many as there are."""
    cdef uint32_t n = st.output.end - st.output.start
    if n > size:
        n = <uint32_t> size
    memcpy(into, chunk_bytes(st.output) + st.output.start, n)
    st.output.start += n
    return n


cdef bint _begin_chunk(H2Stream* st) noexcept nogil:
    """Read a size, as `put_hex` wrote it. False when its line isn't whole."""
    cdef uint8_t* at = chunk_bytes(st.output) + st.output.start
    cdef uint8_t* end = chunk_bytes(st.output) + st.output.end
    cdef uint8_t* stop = <uint8_t*> memchr(at, 10, end - at)
    cdef uint64_t size = 0
    if stop == NULL:
        return False
    while at < stop and at[0] != c'\r':
        size = size << 4 | (at[0] & 15) + (9 if at[0] > 57 else 0)
        at += 1
    st.output.start += <uint32_t> (stop + 1 - (chunk_bytes(st.output) + st.output.start))
    if size == 0:
        st.flags |= H2_DONE             # (there are no trailers)
        st.output.start = st.output.end
    else:
        st.left = size + CHUNK_TAIL
    return True


cdef uint32_t _next_of_request(H2Stream* st, uint8_t* into, uint32_t room) noexcept nogil:
    """The same of a body that a server gets, out of its chunks if it is in any."""
    cdef uint32_t n = 0, size
    cdef uint32_t tail = CHUNK_TAIL if st.flags & H2_IN_CHUNKS else 0
    if st.flags & H2_TUNNEL:
        return _out(st, into, room)
    while st.output.start < st.output.end and n < room and not st.flags & H2_DONE:
        if tail and st.left == 0 and not _begin_chunk(st):
            break
        if st.left > tail:
            size = _out(st, into + n, st.left - tail if st.left - tail < room - n else room - n)
            n += size
            st.left -= size
        while tail and 0 < st.left <= tail and st.output.start < st.output.end:
            st.output.start += 1
            st.left -= 1
        if tail == 0 and st.left == 0:
            st.flags |= H2_DONE
            st.output.start = st.output.end
    return n


cdef ssize_t h2_on_read(nghttp2_session* session, int32_t id, uint8_t* into, size_t room,
                        uint32_t* flags, nghttp2_data_source* source, void* given) noexcept nogil:
    """The next part of a body that we send."""
    cdef H2Stream* st = <H2Stream*> source.ptr
    cdef H2* h2 = <H2*> given
    cdef Core* core = <Core*> h2.core
    cdef uint32_t n = 0
    cdef int trailers
    if st.output != NULL:
        n = _out(st, into, room) if h2.target == NULL else \
            _next_of_request(st, into, <uint32_t> room)
        if st.output.start == st.output.end:
            give_held(core, st.output)
            st.output = NULL
        h2_count_ahead(st)
    if n:
        st.flags &= <uint32_t> ~H2_STALLED
        if st.stream != NULL and not st.stream.ready & WRITABLE:
            st.stream.ready |= WRITABLE
            queue(core, st.stream.exchange)
        h2.moved = True
        if h2.updates_owed < UPDATES_OWED_MAX:
            h2.updates_owed += 2        # (one for the stream, one for the connection)
    if st.output == NULL and st.flags & H2_DONE:
        if unlikely(st.trailers != NULL) and h2.target == NULL:
            trailers = _submit_trailers(session, st)
            if trailers < 0:
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE    # (it is reset)
            if trailers > 0:
                flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        return n
    if n == 0:
        st.flags |= H2_DEFERRED
        return NGHTTP2_ERR_DEFERRED
    return n


cdef int h2_prepare(nghttp2_session_callbacks** callbacks,
                    nghttp2_option** options) except -1:
    """What sessions have in common, to be filled up."""
    if nghttp2_session_callbacks_new(callbacks) or nghttp2_option_new(options):
        raise MemoryError
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks[0], _on_data)
    nghttp2_option_set_no_auto_window_update(options[0], 1)
    nghttp2_option_set_max_outbound_ack(options[0], H2_ACKS_MAX)
    nghttp2_option_set_max_settings(options[0], H2_SETTINGS_MAX)
    return 0
