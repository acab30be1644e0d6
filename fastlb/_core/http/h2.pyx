# A client's connection of HTTP/2, by nghttp2: frames to and from the requests that they carry.
# nghttp2 has HPACK, windows, the order of things and the limits of 1.52; what else a client may do
# to make us work is counted here.
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    ERROR, H2_ALL_SENT, H2_ANSWERED, H2_CLOSED, H2_DEFERRED, H2_DONE, H2_ENDED, H2_FAILED,
    H2_HEAD_READ, H2_LOOK, H2_REFUSED, H2_RESET, H2_WAKE, READABLE, WRITABLE,
)
from fastlb._core.base.h2stream cimport give_h2_stream, h2_look, take_h2_stream
from fastlb._core.base.limits cimport (
    H2_ACKS_MAX, H2_BAD_MAX, H2_CONNECTION_BYTES, H2_FRAME_BYTES_MAX, H2_HEAD_BYTES_MAX,
    H2_SETTINGS_MAX, H2_STREAMS_MAX, H2_WINDOW_BYTES,
)
from fastlb._core.base.mem cimport chunk_bytes, give_held
from fastlb._core.base.queue cimport queue
from fastlb._core.base.types cimport Core, Exchange, H2, H2Stream
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.ext.nghttp2 cimport (
    FASTLB_HAS_H2, NGHTTP2_DATA, NGHTTP2_DATA_FLAG_EOF, NGHTTP2_DATA_FLAG_NO_END_STREAM,
    NGHTTP2_ENHANCE_YOUR_CALM, NGHTTP2_ERR_DEFERRED, NGHTTP2_ERR_FLOODED,
    NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE, NGHTTP2_FLAG_ACK, NGHTTP2_FLAG_END_STREAM,
    NGHTTP2_FLAG_NONE, NGHTTP2_HCAT_REQUEST, NGHTTP2_HEADERS, NGHTTP2_INTERNAL_ERROR,
    NGHTTP2_NO_ERROR, NGHTTP2_PROTOCOL_ERROR, NGHTTP2_REFUSED_STREAM, NGHTTP2_RST_STREAM,
    NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
    NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
    NGHTTP2_WINDOW_UPDATE, nghttp2_data_provider, nghttp2_data_source, nghttp2_frame,
    nghttp2_frame_hd, nghttp2_nv, nghttp2_option, nghttp2_option_new,
    nghttp2_option_set_max_outbound_ack, nghttp2_option_set_max_settings,
    nghttp2_option_set_no_auto_window_update, nghttp2_option_set_no_closed_streams,
    nghttp2_session, nghttp2_session_callbacks, nghttp2_session_callbacks_new,
    nghttp2_session_callbacks_set_on_begin_frame_callback,
    nghttp2_session_callbacks_set_on_begin_headers_callback,
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback,
    nghttp2_session_callbacks_set_on_frame_recv_callback,
    nghttp2_session_callbacks_set_on_frame_send_callback,
    nghttp2_session_callbacks_set_on_header_callback,
    nghttp2_session_callbacks_set_on_stream_close_callback, nghttp2_session_consume,
    nghttp2_session_consume_connection, nghttp2_session_del,
    nghttp2_session_get_last_proc_stream_id, nghttp2_session_get_stream_user_data,
    nghttp2_session_mem_recv, nghttp2_session_mem_send, nghttp2_session_resume_data,
    nghttp2_session_server_new2, nghttp2_session_set_local_window_size,
    nghttp2_session_set_stream_user_data, nghttp2_session_terminate_session,
    nghttp2_session_want_read, nghttp2_session_want_write, nghttp2_settings_entry,
    nghttp2_submit_goaway, nghttp2_submit_headers, nghttp2_submit_response,
    nghttp2_submit_rst_stream, nghttp2_submit_settings, nghttp2_submit_trailer,
)
from fastlb._core.http.h2text cimport (
    NV_MAX, h2_answer_head, h2_end_body, h2_end_head, h2_lines, h2_take_data, h2_take_field,
)

cdef enum:
    RESET_COST = 5                  # a request that is thrown away, next to a frame

cdef nghttp2_session_callbacks* _callbacks = NULL
cdef nghttp2_option* _options = NULL


cdef inline H2Stream* _stream(nghttp2_session* session, int32_t id) noexcept nogil:
    return <H2Stream*> nghttp2_session_get_stream_user_data(session, id)


cdef void _count_bad(H2* h2, uint32_t cost) noexcept nogil:
    """So much that brings no request on, in a second: the client is told to go."""
    cdef Core* core = <Core*> h2.core
    cdef uint64_t second = core.now_ms // 1000
    if h2.bad_second != second:
        h2.bad_second = second
        h2.n_bad = 0
    h2.n_bad += cost
    if unlikely(h2.n_bad > H2_BAD_MAX) and not h2.leaving:
        h2.leaving = True
        fl_count(&core.counters.h2_abused, 1)
        nghttp2_session_terminate_session(
            <nghttp2_session*> h2.session, NGHTTP2_ENHANCE_YOUR_CALM)


cdef void _wake(H2Stream* st) noexcept nogil:
    st.flags |= H2_WAKE
    h2_look(st)


# --- what a client says ---

cdef int _on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head,
                         void* given) noexcept nogil:
    cdef H2* h2 = <H2*> given
    if head.type == NGHTTP2_HEADERS:
        return 0
    if head.type == NGHTTP2_DATA:
        if head.length == 0 and not head.flags & NGHTTP2_FLAG_END_STREAM:
            _count_bad(h2, 1)
    elif head.type == NGHTTP2_RST_STREAM:
        _count_bad(h2, RESET_COST)
    elif not head.flags & NGHTTP2_FLAG_ACK or head.type == NGHTTP2_WINDOW_UPDATE:
        _count_bad(h2, 1)
    return 0


cdef int _on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame,
                           void* given) noexcept nogil:
    cdef H2* h2 = <H2*> given
    cdef H2Stream* st
    if frame.hd.type != NGHTTP2_HEADERS or frame.headers.cat != NGHTTP2_HCAT_REQUEST:
        return 0
    st = take_h2_stream(<Core*> h2.core, h2)
    if unlikely(st == NULL):
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    st.id = frame.hd.stream_id
    nghttp2_session_set_stream_user_data(session, st.id, st)
    return 0


cdef int _on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t size, uint8_t flags,
                    void* given) noexcept nogil:
    cdef H2Stream* st = _stream(session, frame.hd.stream_id)
    if unlikely(st == NULL or st.flags & H2_FAILED):
        return 0
    if unlikely(not h2_take_field(
            st, name, <uint32_t> name_size, value, <uint32_t> size)):
        _count_bad(st.h2, RESET_COST)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    return 0


cdef int _on_frame(nghttp2_session* session, const nghttp2_frame* frame,
                   void* given) noexcept nogil:
    """It is whole."""
    cdef H2Stream* st
    cdef bint ended = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
    cdef bint fine = True
    if frame.hd.type != NGHTTP2_HEADERS and frame.hd.type != NGHTTP2_DATA:
        return 0
    st = _stream(session, frame.hd.stream_id)
    if st == NULL or st.flags & H2_FAILED:
        return 0
    if frame.hd.type == NGHTTP2_HEADERS and not st.flags & H2_HEAD_READ:
        fine = h2_end_head(st, ended)
    elif ended:
        fine = h2_end_body(st)
    else:
        return 0
    if unlikely(not fine):
        st.flags |= H2_FAILED
    _wake(st)
    return 0


cdef int _on_data(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* data,
                  size_t size, void* given) noexcept nogil:
    cdef H2Stream* st = _stream(session, id)
    if unlikely(st == NULL):
        nghttp2_session_consume_connection(session, size)
        return 0
    if st.exchange == NULL and st.flags & (H2_DONE | H2_FAILED):
        st.consumed += <uint32_t> size          # nobody reads it any more
        h2_look(st)
        return 0
    if unlikely(not h2_take_data(st, data, <uint32_t> size)):
        st.consumed += <uint32_t> size
        st.flags |= H2_FAILED
    else:
        st.unread += <uint32_t> size
    _wake(st)
    return 0


cdef int _on_close(nghttp2_session* session, int32_t id, uint32_t error,
                   void* given) noexcept nogil:
    cdef H2Stream* st = _stream(session, id)
    if st != NULL:
        st.flags |= H2_CLOSED
        if st.exchange != NULL:
            st.exchange.client.ready |= ERROR | READABLE
        _wake(st)
    return 0


cdef int _on_sent(nghttp2_session* session, const nghttp2_frame* frame,
                  void* given) noexcept nogil:
    cdef H2Stream* st
    if not frame.hd.flags & NGHTTP2_FLAG_END_STREAM or frame.hd.type > NGHTTP2_HEADERS:
        return 0
    st = _stream(session, frame.hd.stream_id)
    if st != NULL and not st.flags & H2_ENDED:
        st.flags |= H2_ALL_SENT
        h2_look(st)
    return 0


cdef bint _submit_trailers(nghttp2_session* session, H2Stream* st) noexcept nogil:
    cdef nghttp2_nv[NV_MAX] fields
    cdef uint8_t* lines = chunk_bytes(st.trailers)
    cdef int n = h2_lines(lines, lines + st.trailers.end, fields, 0)
    return n > 0 and nghttp2_submit_trailer(session, st.id, fields, n) == 0


cdef ssize_t _on_read(nghttp2_session* session, int32_t id, uint8_t* into, size_t room,
                      uint32_t* flags, nghttp2_data_source* source, void* given) noexcept nogil:
    """The next part of an answer's body."""
    cdef H2Stream* st = <H2Stream*> source.ptr
    cdef H2* h2 = <H2*> given
    cdef Core* core = <Core*> h2.core
    cdef uint32_t n = 0
    if st.output != NULL:
        n = st.output.end - st.output.start
        if n > room:
            n = <uint32_t> room
        memcpy(into, chunk_bytes(st.output) + st.output.start, n)
        st.output.start += n
        if st.output.start == st.output.end:
            give_held(core, st.output)
            st.output = NULL
        if st.exchange != NULL and not st.exchange.client.ready & WRITABLE:
            st.exchange.client.ready |= WRITABLE
            queue(core, st.exchange)
        h2.moved = True
        h2.n_bad -= 2 if h2.n_bad > 2 else h2.n_bad     # (what it lets us send it may tell us)
    if st.output == NULL and st.flags & H2_DONE:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        if unlikely(st.trailers != NULL) and _submit_trailers(session, st):
            flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
        return n
    if n == 0:
        st.flags |= H2_DEFERRED
        return NGHTTP2_ERR_DEFERRED
    return n


# --- a connection ---

cdef int _prepare() except -1:
    global _callbacks, _options
    if not FASTLB_HAS_H2:
        return 0
    if nghttp2_session_callbacks_new(&_callbacks) or nghttp2_option_new(&_options):
        raise MemoryError
    nghttp2_session_callbacks_set_on_begin_frame_callback(_callbacks, _on_begin_frame)
    nghttp2_session_callbacks_set_on_begin_headers_callback(_callbacks, _on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback(_callbacks, _on_header)
    nghttp2_session_callbacks_set_on_frame_recv_callback(_callbacks, _on_frame)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(_callbacks, _on_data)
    nghttp2_session_callbacks_set_on_stream_close_callback(_callbacks, _on_close)
    nghttp2_session_callbacks_set_on_frame_send_callback(_callbacks, _on_sent)
    nghttp2_option_set_no_auto_window_update(_options, 1)
    nghttp2_option_set_max_outbound_ack(_options, H2_ACKS_MAX)
    nghttp2_option_set_max_settings(_options, H2_SETTINGS_MAX)
    nghttp2_option_set_no_closed_streams(_options, 1)
    return 0


_prepare()


cdef bint h2_begin(Core* core, Exchange* x) noexcept nogil:
    """Let a client's connection carry requests; False when memory is gone."""
    cdef nghttp2_settings_entry[4] settings
    cdef nghttp2_session* session = NULL
    cdef H2* h2
    if not FASTLB_HAS_H2:
        return False
    h2 = <H2*> calloc(1, sizeof(H2))
    if h2 == NULL:
        return False
    if nghttp2_session_server_new2(&session, _callbacks, h2, _options):
        free(h2)
        return False
    h2.session = session
    h2.core = core
    h2.carrier = x
    x.h2 = h2
    settings[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    settings[0].value = H2_STREAMS_MAX
    settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    settings[1].value = H2_WINDOW_BYTES
    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    settings[2].value = H2_HEAD_BYTES_MAX
    settings[3].settings_id = NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL
    settings[3].value = 1
    if nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 4) or \
            nghttp2_session_set_local_window_size(
                session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_BYTES):
        h2_end(core, x)
        return False
    return True


cdef void h2_end(Core* core, Exchange* x) noexcept nogil:
    """Its requests have ended."""
    cdef H2* h2 = x.h2
    nghttp2_session_del(<nghttp2_session*> h2.session)
    while h2.streams != NULL:
        h2.streams.flags &= <uint32_t> ~H2_LOOK
        give_h2_stream(core, h2.streams)
    x.h2 = NULL
    free(h2)


cdef bint h2_receive(H2* h2, const uint8_t* data, uint32_t size) noexcept nogil:
    """Bytes that have come; False: nothing of what follows can be read, and the client is told."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    cdef ssize_t n = nghttp2_session_mem_recv(session, data, size)
    if likely(n == <ssize_t> size):
        return True
    if n == NGHTTP2_ERR_FLOODED and not h2.leaving:
        fl_count(&(<Core*> h2.core).counters.h2_abused, 1)
    h2.leaving = True
    nghttp2_session_terminate_session(
        session, NGHTTP2_ENHANCE_YOUR_CALM if n == NGHTTP2_ERR_FLOODED else NGHTTP2_PROTOCOL_ERROR)
    return False


cdef void _answer(H2* h2, H2Stream* st) noexcept nogil:
    """Its exchange has begun to answer."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    cdef Core* core = <Core*> h2.core
    cdef nghttp2_nv[NV_MAX] fields
    cdef nghttp2_data_provider body
    cdef uint8_t[3] status
    cdef uint32_t size = 0
    cdef int n, error
    body.source.ptr = st
    body.read_callback = _on_read
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
        if st.flags & H2_ANSWERED:
            return


cdef void _reset(H2* h2, H2Stream* st, uint32_t why) noexcept nogil:
    st.flags |= H2_RESET
    nghttp2_submit_rst_stream(<nghttp2_session*> h2.session, NGHTTP2_FLAG_NONE, st.id, why)


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
                nghttp2_session_consume_connection(session, st.consumed)
            else:
                nghttp2_session_consume(session, st.id, st.consumed)
            st.consumed = 0
        if st.flags & H2_WAKE:
            st.flags &= <uint32_t> ~H2_WAKE
            if st.exchange != NULL:
                st.exchange.client.ready |= READABLE
                queue(core, st.exchange)
        if st.flags & H2_CLOSED:
            if st.exchange == NULL:
                if st.unread:
                    nghttp2_session_consume_connection(session, st.unread)
                give_h2_stream(core, st)
            continue
        if not st.flags & (H2_ANSWERED | H2_FAILED):
            if st.output != NULL and st.flags & H2_HEAD_READ:
                _answer(h2, st)
            elif st.flags & H2_DONE:
                st.flags |= H2_FAILED
        elif st.flags & H2_DEFERRED:
            st.flags &= <uint32_t> ~H2_DEFERRED
            nghttp2_session_resume_data(session, st.id)
        if st.flags & H2_RESET:
            continue
        if st.flags & H2_FAILED:
            _reset(h2, st, NGHTTP2_REFUSED_STREAM if st.flags & H2_REFUSED
                   else NGHTTP2_INTERNAL_ERROR)
        elif st.flags & H2_ALL_SENT and st.exchange == NULL and not st.flags & H2_ENDED:
            _reset(h2, st, NGHTTP2_NO_ERROR)    # it needs no more of the request (RFC 9113, 8.1)


cdef uint32_t h2_gather(H2* h2, uint8_t* into, uint32_t room) noexcept nogil:
    """Frames that are to go out, as many as fit; 0: none."""
    cdef const uint8_t* data = NULL
    cdef uint32_t size = 0
    cdef ssize_t n
    while size + H2_FRAME_BYTES_MAX <= room:
        n = nghttp2_session_mem_send(<nghttp2_session*> h2.session, &data)
        if n <= 0:
            break
        memcpy(into + size, data, n)
        size += <uint32_t> n
    return size


cdef void h2_leave(H2* h2) noexcept nogil:
    """Say that no more requests are taken; those that are under way go on."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    if not h2.leaving:
        h2.leaving = True
        nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR,
                              NULL, 0)


cdef bint h2_is_over(H2* h2) noexcept nogil:
    return not nghttp2_session_want_read(<nghttp2_session*> h2.session) \
        and not nghttp2_session_want_write(<nghttp2_session*> h2.session)
