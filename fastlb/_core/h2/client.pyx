# HTTP/2 towards clients: requests from frames, and answers into frames.
# Reads and writes the streams of one connection, as nghttp2's callbacks say.
from libc.stdint cimport int32_t, uint32_t, uint8_t

from fastlb._core.base.enums cimport (
    ERROR, H2_ALL_SENT, H2_ANSWERED, H2_CLOSED, H2_DONE, H2_ENDED, H2_FAILED, H2_HEAD_READ,
    H2_REFUSED, READABLE, WRITABLE,
)
from fastlb._core.base.h2stream cimport (
    give_h2_stream, h2_count_ahead, h2_look, take_h2_stream,
)
from fastlb._core.base.limits cimport (
    H2_CONNECTION_BYTES, H2_HEADS_BYTES_MAX, H2_HEAD_BYTES_MAX, H2_STREAMS_MAX, H2_WINDOW_BYTES,
)
from fastlb._core.base.mem cimport give_held
from fastlb._core.base.queue cimport queue
from fastlb._core.base.types cimport H2, Core, H2Stream
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.ext.nghttp2 cimport (
    FASTLB_HAS_H2, NGHTTP2_DATA, NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE, NGHTTP2_FLAG_ACK,
    NGHTTP2_FLAG_END_STREAM, NGHTTP2_FLAG_NONE, NGHTTP2_GOAWAY, NGHTTP2_HCAT_REQUEST,
    NGHTTP2_HEADERS, NGHTTP2_NO_ERROR, NGHTTP2_PING, NGHTTP2_REFUSED_STREAM, NGHTTP2_RST_STREAM,
    NGHTTP2_SETTINGS, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL,
    NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
    NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, nghttp2_data_provider, nghttp2_frame, nghttp2_nv,
    nghttp2_option, nghttp2_option_set_no_closed_streams, nghttp2_session,
    nghttp2_session_callbacks, nghttp2_session_callbacks_set_on_begin_headers_callback,
    nghttp2_session_callbacks_set_on_frame_recv_callback,
    nghttp2_session_callbacks_set_on_frame_send_callback,
    nghttp2_session_callbacks_set_on_header_callback,
    nghttp2_session_callbacks_set_on_stream_close_callback, nghttp2_session_del,
    nghttp2_session_get_last_proc_stream_id, nghttp2_session_server_new2,
    nghttp2_session_set_local_window_size, nghttp2_session_set_stream_user_data,
    nghttp2_settings_entry, nghttp2_submit_goaway, nghttp2_submit_headers, nghttp2_submit_ping,
    nghttp2_submit_response, nghttp2_submit_rst_stream, nghttp2_submit_settings,
    nghttp2_submit_shutdown_notice,
)
from fastlb._core.h2.frames cimport (
    FRAME_HEAD_BYTES, RESET_COST, h2_count_bad, h2_count_reset, h2_is_of_use, h2_on_read,
    h2_prepare, h2_stream, h2_wake,
)
from fastlb._core.h2.text cimport NV_MAX, h2_answer_head, h2_end_head, h2_take_field
from fastlb._core.h2.window cimport h2_answered

cdef enum:
    STREAMS_ANY = 0x7FFFFFFF

cdef uint8_t* NOTICE_PING = <uint8_t*> b"goodbye\0"
cdef nghttp2_session_callbacks* _callbacks = NULL
cdef nghttp2_option* _options = NULL


cdef int _on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame,
                           void* given) noexcept nogil:
    cdef H2* h2 = <H2*> given
    cdef H2Stream* st
    if frame.hd.type != NGHTTP2_HEADERS or frame.headers.cat != NGHTTP2_HCAT_REQUEST:
        return 0
    if unlikely(h2.n_open >= H2_STREAMS_MAX):       # (RFC 9113, 5.1.2)
        h2_count_bad(h2, 1)
        if nghttp2_submit_rst_stream(
                session, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_REFUSED_STREAM):
            h2.failed = True
        return 0
    st = take_h2_stream(<Core*> h2.core, h2)
    if unlikely(st == NULL):
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    st.id = frame.hd.stream_id
    if unlikely(nghttp2_session_set_stream_user_data(session, st.id, st)):
        give_h2_stream(st)              # (it is over already)
        return 0
    h2.n_open += 1
    return 0


cdef int _on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t size, uint8_t flags,
                    void* given) noexcept nogil:
    cdef H2Stream* st = h2_stream(session, frame.hd.stream_id)
    if unlikely(st == NULL or st.flags & H2_FAILED):
        return 0
    if unlikely(not h2_take_field(
            st, name, <uint32_t> name_size, value, <uint32_t> size)):
        h2_count_bad(st.h2, RESET_COST)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    return 0


cdef void _hear_of_connection(H2* h2, const nghttp2_frame* frame) noexcept nogil:
    if frame.hd.type == NGHTTP2_SETTINGS and not frame.hd.flags & NGHTTP2_FLAG_ACK:
        h2.is_ready = True
    elif frame.hd.flags & NGHTTP2_FLAG_ACK and (
            frame.hd.type == NGHTTP2_SETTINGS or frame.hd.type == NGHTTP2_PING):
        if frame.hd.type == NGHTTP2_PING and frame.ping.opaque_data[0] == NOTICE_PING[0]:
            h2.noticed = H2_HEARD           # what was under way is here
        else:
            h2_answered(h2)


cdef int _on_frame(nghttp2_session* session, const nghttp2_frame* frame,
                   void* given) noexcept nogil:
    """It is whole."""
    cdef H2Stream* st
    cdef bint ended = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
    if frame.hd.type != NGHTTP2_HEADERS and frame.hd.type != NGHTTP2_DATA:
        _hear_of_connection(<H2*> given, frame)
        return 0
    st = h2_stream(session, frame.hd.stream_id)
    if st == NULL or st.flags & H2_FAILED:
        return 0
    if frame.hd.type == NGHTTP2_HEADERS and not st.flags & H2_HEAD_READ:
        h2_is_of_use(st.h2, st.head_bytes)
        if unlikely(not h2_end_head(st, ended)):
            st.flags |= H2_FAILED
            h2_count_bad(st.h2, 1)
        elif unlikely(st.h2.head_bytes > H2_HEADS_BYTES_MAX and st.h2.n_streams > 1):
            st.flags |= H2_FAILED | H2_REFUSED      # there are others, with more than their share
            h2_count_bad(st.h2, 1)
    elif ended:
        st.flags |= H2_ENDED
    else:
        return 0
    h2_wake(st)
    return 0


cdef int _on_close(nghttp2_session* session, int32_t id, uint32_t error,
                   void* given) noexcept nogil:
    cdef H2Stream* st = h2_stream(session, id)
    if st != NULL:
        st.flags |= H2_CLOSED
        st.h2.n_open -= 1
        if st.stream != NULL:
            st.stream.ready |= ERROR | READABLE
        h2_wake(st)
    return 0


cdef void _ask_whether_heard(nghttp2_session* session, H2* h2) noexcept nogil:
    """The notice has gone. (nghttp2 would send a PING before it.)"""
    if h2.noticed and not h2.leaving and nghttp2_submit_ping(
            session, NGHTTP2_FLAG_NONE, NOTICE_PING):
        h2.failed = True


cdef int _on_sent(nghttp2_session* session, const nghttp2_frame* frame,
                  void* given) noexcept nogil:
    cdef H2Stream* st
    if unlikely(frame.hd.type == NGHTTP2_RST_STREAM):
        h2_count_reset(session, <H2*> given, frame.hd.stream_id)
        return 0
    if unlikely(frame.hd.type == NGHTTP2_GOAWAY):
        _ask_whether_heard(session, <H2*> given)
        return 0
    if not frame.hd.flags & NGHTTP2_FLAG_END_STREAM or frame.hd.type > NGHTTP2_HEADERS:
        return 0
    st = h2_stream(session, frame.hd.stream_id)
    if st != NULL and not st.flags & H2_ENDED:
        st.flags |= H2_ALL_SENT
        h2_look(st)
    return 0


cdef int _prepare() except -1:
    global _callbacks, _options
    if not FASTLB_HAS_H2:
        return 0
    h2_prepare(&_callbacks, &_options)
    nghttp2_session_callbacks_set_on_begin_headers_callback(_callbacks, _on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback(_callbacks, _on_header)
    nghttp2_session_callbacks_set_on_frame_recv_callback(_callbacks, _on_frame)
    nghttp2_session_callbacks_set_on_stream_close_callback(_callbacks, _on_close)
    nghttp2_session_callbacks_set_on_frame_send_callback(_callbacks, _on_sent)
    nghttp2_option_set_no_closed_streams(_options, 1)
    return 0


_prepare()


cdef void h2_say_streams_max(uint8_t* settings) noexcept nogil:
    """Put the most streams there may be into our first frame. nghttp2, if it knew, would end the
    connection for one more; it is refused here, and the others go on."""
    cdef uint8_t* value = settings + FRAME_HEAD_BYTES + 2
    value[0] = value[1] = value[2] = 0
    value[3] = H2_STREAMS_MAX


cdef void h2_leave(H2* h2) noexcept nogil:
    """Say that no more requests are taken; those that are under way go on."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    if h2.leaving:
        return
    h2.leaving = True
    if nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                             nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                             NULL, 0):
        h2.failed = True


cdef void h2_ping(H2* h2) noexcept nogil:
    """A frame that asks for nothing: the kernel of a client that has gone answers with a reset."""
    if nghttp2_submit_ping(<nghttp2_session*> h2.session, NGHTTP2_FLAG_NONE, NULL):
        h2.failed = True


cdef void h2_notice(H2* h2) noexcept nogil:
    """Say that the connection is to end, before it does: requests that the client has sent until it
    hears so are served (RFC 9113, 6.8)."""
    h2.noticed = True
    if nghttp2_submit_shutdown_notice(<nghttp2_session*> h2.session):
        h2.failed = True


cdef nghttp2_session* h2_client_session(H2* h2) noexcept nogil:
    """One that has said what it allows, or NULL."""
    cdef nghttp2_settings_entry[4] settings
    cdef nghttp2_session* session = NULL
    if nghttp2_session_server_new2(&session, _callbacks, h2, _options):
        return NULL
    settings[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    settings[0].value = STREAMS_ANY
    settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    settings[1].value = H2_WINDOW_BYTES
    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    settings[2].value = H2_HEAD_BYTES_MAX
    settings[3].settings_id = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
    settings[3].value = 1
    if nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 4) or \
            nghttp2_session_set_local_window_size(
                session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_BYTES):
        nghttp2_session_del(session)
        return NULL
    return session


cdef void h2_answer(H2* h2, H2Stream* st) noexcept nogil:
    """Its exchange has begun to answer."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    cdef Core* core = <Core*> h2.core
    cdef nghttp2_nv[NV_MAX] fields
    cdef nghttp2_data_provider body
    cdef uint8_t[3] status
    cdef uint32_t size = 0
    cdef int n, error
    body.source.ptr = st
    body.read_callback = h2_on_read
    while st.output != NULL:
        n = h2_answer_head(st, fields, status, &size)
        if n == 0 and not st.flags & H2_DONE:
            return
        if n <= 0:
            st.flags |= H2_FAILED
            return
        if status[0] == 49:             # of 1xx
            error = nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, st.id, NULL, fields, n, NULL)
        else:
            st.flags |= H2_ANSWERED
            error = nghttp2_submit_response(
                session, st.id, fields, n,
                NULL if st.flags & H2_DONE and st.trailers == NULL
                and st.output.start + size == st.output.end else &body)
        if error < 0:
            st.flags |= H2_FAILED
            return
        st.output.start += size
        if st.output.start == st.output.end:
            give_held(core, st.output)
            st.output = NULL
        h2_count_ahead(st)
        if unlikely(st.stream != NULL and not st.stream.ready & WRITABLE):
            st.stream.ready |= WRITABLE         # (its body had no room beside the head)
            queue(core, st.stream.exchange)
        if st.flags & H2_ANSWERED:
            return
