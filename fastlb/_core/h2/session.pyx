# An HTTP/2 connection by nghttp2: frames to and from the requests that they carry. nghttp2 has
# HPACK, windows, the order of things and the limits of 1.52; what else a client may do to make us
# work is counted in h2/frames.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    H2_ALL_SENT, H2_ANSWERED, H2_CLOSED, H2_DEFERRED, H2_DONE, H2_ENDED, H2_FAILED, H2_HEAD_READ,
    H2_HOLDS, H2_LOOK, H2_REFUSED, H2_RESET, H2_STALLED, H2_WAKE, READABLE, TIMER_STALL,
)
from fastlb._core.base.h2stream cimport abandon_h2_stream, give_h2_stream
from fastlb._core.base.limits cimport (
    H2_ANSWER_READ_MS, H2_CONNECTION_BYTES, H2_FRAME_BYTES_MAX, H2_SERVER_BYTES,
)
from fastlb._core.base.queue cimport queue
from fastlb._core.base.timers cimport timer_cancel
from fastlb._core.base.types cimport H2, Core, Exchange, H2Stream, Stream
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.ext.nghttp2 cimport (
    FASTLB_HAS_H2, NGHTTP2_CANCEL, NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_ERR_FLOODED,
    NGHTTP2_ERR_NOMEM, NGHTTP2_FLAG_NONE, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR,
    NGHTTP2_PROTOCOL_ERROR, NGHTTP2_REFUSED_STREAM, nghttp2_is_fatal, nghttp2_session,
    nghttp2_session_consume, nghttp2_session_consume_connection, nghttp2_session_del,
    nghttp2_session_mem_recv, nghttp2_session_mem_send, nghttp2_session_resume_data,
    nghttp2_session_terminate_session, nghttp2_session_want_read, nghttp2_session_want_write,
    nghttp2_submit_rst_stream,
)
from fastlb._core.h2.client cimport h2_answer, h2_client_session, h2_say_streams_max
from fastlb._core.h2.frames cimport FRAME_HEAD_BYTES, h2_count_bytes, h2_look_at_frames
from fastlb._core.h2.server cimport h2_ask, h2_server_session
from fastlb._core.h2.window cimport (
    h2_begin_windows, h2_end_windows, h2_say_taken, h2_taken,
)


cdef enum:
    PREFACE_BYTES = 24              # (RFC 9113, 3.4)


cdef H2* h2_take(Core* core, Exchange* x, Stream* socket) noexcept nogil:
    """Let an exchange carry others over its socket, when `h2_begin` says so; NULL when memory is
    gone."""
    cdef H2* h2 = <H2*> calloc(1, sizeof(H2) + FRAME_HEAD_BYTES)
    if h2 == NULL or not FASTLB_HAS_H2:
        free(h2)
        return NULL
    h2.core = core
    h2.carrier = x
    h2.socket = socket
    h2.stall.kind = TIMER_STALL
    h2.stall.owner = h2
    x.h2 = h2
    return h2


cdef bint h2_begin(H2* h2) noexcept nogil:
    """Its socket is connected; False when memory is gone."""
    if h2.target == NULL:
        h2.framed = PREFACE_BYTES
        h2_begin_windows(h2, H2_CONNECTION_BYTES)
        h2.session = h2_client_session(h2)
    else:
        h2_begin_windows(h2, H2_SERVER_BYTES)
        h2.session = h2_server_session(h2)
    return h2.session != NULL


cdef void h2_end(Exchange* x, bint reset) noexcept nogil:
    """Of a client, its requests have ended; those to a server read what has come, and end then."""
    cdef H2* h2 = x.h2
    cdef H2Stream* st
    if h2.session != NULL:
        nghttp2_session_del(<nghttp2_session*> h2.session)
    h2.look = NULL
    while h2.streams != NULL:
        st = h2.streams
        st.flags &= <uint32_t> ~H2_LOOK
        if st.stream != NULL:
            abandon_h2_stream(st, reset)
        else:
            give_h2_stream(st)
    timer_cancel(&h2.stall)
    h2_end_windows(h2)
    x.h2 = NULL
    free(h2)


cdef inline void _look(H2* h2, int error) noexcept nogil:
    """At what nghttp2 returned: where memory is gone a frame is missing, and its stream would wait
    for ever; so the connection ends. Streams that are over already are no error."""
    if unlikely(error < 0 and (nghttp2_is_fatal(error) or error == NGHTTP2_ERR_NOMEM)):
        h2.failed = True


cdef bint h2_receive(H2* h2, const uint8_t* data, uint32_t size) noexcept nogil:
    """Bytes that have come; False: nothing of what follows can be read, and the client is told."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    cdef ssize_t n
    h2_count_bytes(h2, size)
    h2_look_at_frames(h2, data, size)
    n = nghttp2_session_mem_recv(session, data, size)
    if likely(n == <ssize_t> size):
        return True
    if n == NGHTTP2_ERR_FLOODED and not h2.gone:
        fl_count(&(<Core*> h2.core).counters.h2_abused, 1)
    h2.leaving = h2.gone = True
    _look(h2, <int> n if n == NGHTTP2_ERR_NOMEM else nghttp2_session_terminate_session(
        session, NGHTTP2_ENHANCE_YOUR_CALM if n == NGHTTP2_ERR_FLOODED else NGHTTP2_PROTOCOL_ERROR))
    return False


cdef void _reset(H2* h2, H2Stream* st, uint32_t why) noexcept nogil:
    st.flags |= H2_RESET
    _look(h2, nghttp2_submit_rst_stream(
        <nghttp2_session*> h2.session, NGHTTP2_FLAG_NONE, st.id, why))


cdef void _begin(H2* h2, H2Stream* st) noexcept nogil:
    """An answer, or a request to a server, if its head is here."""
    if h2.target != NULL:
        if st.output != NULL:
            h2_ask(h2, st)
    elif st.output != NULL and st.flags & H2_HEAD_READ:
        h2_answer(h2, st)
    elif st.flags & H2_DONE:
        st.flags |= H2_FAILED


cdef void h2_hear(Core* core, H2* h2) noexcept nogil:
    """What has happened to requests since the session last heard of them, and to the session."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    cdef H2Stream* st
    while h2.look != NULL:
        st = h2.look
        h2.look = st.next_look
        st.flags &= <uint32_t> ~H2_LOOK
        if st.consumed:
            if st.flags & H2_CLOSED:
                _look(h2, nghttp2_session_consume_connection(session, st.consumed))
            else:
                _look(h2, nghttp2_session_consume(session, st.id, st.consumed))
            h2.untaken -= st.consumed
            h2_taken(h2, st, st.consumed)
            st.consumed = 0
        if st.flags & H2_WAKE:
            st.flags &= <uint32_t> ~H2_WAKE
            if st.stream != NULL:
                st.stream.ready |= READABLE
                queue(core, st.stream.exchange)
        if st.flags & H2_CLOSED or (st.flags & H2_FAILED and st.id == 0):
            if st.stream == NULL:
                give_h2_stream(st)
            continue
        if not st.flags & (H2_ANSWERED | H2_FAILED):
            _begin(h2, st)
        elif st.flags & H2_DEFERRED:
            st.flags &= <uint32_t> ~H2_DEFERRED
            _look(h2, nghttp2_session_resume_data(session, st.id))
        if st.flags & H2_RESET:
            continue
        if st.flags & H2_FAILED:
            _reset(h2, st, NGHTTP2_CANCEL if h2.target != NULL
                   else NGHTTP2_REFUSED_STREAM if st.flags & H2_REFUSED
                   else NGHTTP2_INTERNAL_ERROR)
        elif st.flags & H2_ALL_SENT and st.stream == NULL and not st.flags & H2_ENDED:
            _end_early(core, h2, st)
    h2_say_taken(h2)


cdef void _end_early(Core* core, H2* h2, H2Stream* st) noexcept nogil:
    """The answer needs no more of the request (RFC 9113, 8.1). Some clients, such as curl 7.88,
    show the reset instead of an answer that came with it: so it waits until they have had the time
    to read, and send something more on this stream or another. A connection that is silent has its
    streams reset as one that takes nothing."""
    if st.answered_ms == 0:
        st.answered_ms = core.now_ms
        st.flags |= H2_HOLDS
        h2.n_holding += 1
        if h2.early_ms == 0:
            h2.early_ms = core.now_ms
    if core.now_ms - st.answered_ms >= <uint64_t> H2_ANSWER_READ_MS or h2.leaving:
        _reset(h2, st, NGHTTP2_NO_ERROR)


cdef void h2_end_early(Core* core, H2* h2) noexcept nogil:
    """Reset the streams whose clients have had that time."""
    cdef H2Stream* st = h2.streams
    h2.early_ms = 0
    while st != NULL:
        if st.answered_ms and not st.flags & (H2_ENDED | H2_RESET | H2_CLOSED):
            if core.now_ms - st.answered_ms >= <uint64_t> H2_ANSWER_READ_MS:
                _reset(h2, st, NGHTTP2_NO_ERROR)
            elif h2.early_ms == 0 or st.answered_ms < h2.early_ms:
                h2.early_ms = st.answered_ms
        st = st.next


cdef void h2_take_back(H2* h2, H2Stream* st) noexcept nogil:
    """End a request that its client can't go on with."""
    if not st.flags & (H2_RESET | H2_CLOSED):
        _reset(h2, st, NGHTTP2_CANCEL)


cdef void h2_end_stalled(H2* h2) noexcept nogil:
    """Reset the streams of a client that has taken nothing of them since the last look."""
    cdef H2Stream* st = h2.streams
    while st != NULL:
        if st.flags & H2_HOLDS and not st.flags & (H2_RESET | H2_CLOSED):
            if st.flags & H2_STALLED:
                _reset(h2, st, NGHTTP2_NO_ERROR if st.answered_ms else NGHTTP2_CANCEL)
            st.flags |= H2_STALLED
        st = st.next


cdef void h2_terminate(H2* h2) noexcept nogil:
    """Say that it is over: nothing more is read, and requests that are under way end."""
    h2.leaving = h2.gone = True
    _look(h2, nghttp2_session_terminate_session(
        <nghttp2_session*> h2.session, NGHTTP2_NO_ERROR))


cdef uint32_t h2_gather(H2* h2, uint8_t* into, uint32_t room) noexcept nogil:
    """Frames that are to go out, as many as fit; 0: none."""
    cdef const uint8_t* data = NULL
    cdef uint32_t size = 0
    cdef ssize_t n
    while size + H2_FRAME_BYTES_MAX <= room:
        n = nghttp2_session_mem_send(<nghttp2_session*> h2.session, &data)
        if n <= 0:
            _look(h2, <int> n)
            break
        memcpy(into + size, data, n)
        if unlikely(not h2.told):
            h2.told = True
            if h2.target == NULL:
                h2_say_streams_max(into)
        size += <uint32_t> n
    return size


cdef bint h2_is_over(H2* h2) noexcept nogil:
    return not nghttp2_session_want_read(<nghttp2_session*> h2.session) \
        and not nghttp2_session_want_write(<nghttp2_session*> h2.session)
