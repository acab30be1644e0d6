# HTTP/2 towards servers: frames from the HTTP/1.1 that an exchange has written, and back.
# Reads and writes the streams of one connection, as nghttp2's callbacks say.
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memchr, strlen

from fastlb._core.base.enums cimport (
    ERROR, H2_ANSWERED, H2_CHUNKED, H2_CLOSED, H2_DONE, H2_ENDED, H2_FAILED, H2_HEAD_READ,
    H2_IN_CHUNKS, H2_LENGTH, H2_NO_BODY, H2_REFUSED, H2_TOO_LARGE, H2_TUNNEL, HTTP_BINDS,
    HTTP_TRAILERS, READABLE,
)
from fastlb._core.base.h2stream cimport h2_count_ahead, h2_end_with, h2_feed_text
from fastlb._core.base.head cimport FIELD_AUTHENTICATE, FIELD_AUTHORIZATION
from fastlb._core.base.limits cimport (
    H2_SERVER_BYTES, H2_STREAMS_MAX, H2_WINDOW_BYTES, RESPONSE_HEAD_BYTES_MAX,
)
from fastlb._core.base.mem cimport chunk_bytes, give_held
from fastlb._core.base.queue cimport queue
from fastlb._core.base.text cimport head_end, is_literal, text_of
from fastlb._core.base.types cimport H2, Core, Exchange, H2Stream, PoolEntry
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.ext.nghttp2 cimport (
    FASTLB_HAS_H2, NGHTTP2_DATA, NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE, NGHTTP2_FLAG_ACK,
    NGHTTP2_FLAG_END_STREAM, NGHTTP2_FLAG_NONE, NGHTTP2_GOAWAY, NGHTTP2_HEADERS,
    NGHTTP2_NV_FLAG_NONE, NGHTTP2_PING, NGHTTP2_REFUSED_STREAM, NGHTTP2_RST_STREAM,
    NGHTTP2_SETTINGS, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, NGHTTP2_SETTINGS_ENABLE_PUSH,
    NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS,
    NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, nghttp2_data_provider, nghttp2_frame, nghttp2_nv,
    nghttp2_option, nghttp2_session, nghttp2_session_callbacks,
    nghttp2_session_callbacks_set_on_frame_recv_callback,
    nghttp2_session_callbacks_set_on_frame_send_callback,
    nghttp2_session_callbacks_set_on_header_callback,
    nghttp2_session_callbacks_set_on_stream_close_callback, nghttp2_session_client_new2,
    nghttp2_session_del, nghttp2_session_get_remote_settings,
    nghttp2_session_set_local_window_size, nghttp2_settings_entry, nghttp2_submit_request,
    nghttp2_submit_settings,
)
from fastlb._core.h2.frames cimport (
    h2_count_reset, h2_is_of_use, h2_on_read, h2_prepare, h2_stream, h2_wake,
)
from fastlb._core.h2.text cimport NV_MAX, h2_lines
from fastlb._core.h2.window cimport h2_answered
from fastlb._core.proto.fields cimport binds_connection, field_kind

cdef nghttp2_session_callbacks* _callbacks = NULL
cdef nghttp2_option* _options = NULL


# --- what a server says ---

cdef bint _begin_answer(H2Stream* st, const uint8_t* status) noexcept nogil:
    """The line, and what HTTP/1.1 has to say for a tunnel (RFC 8441, 5)."""
    if unlikely(st.flags & H2_TUNNEL) and status[0] == 50:
        return (
            h2_feed_text(st, b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n"
                             b"upgrade: websocket\r\nsec-websocket-accept: ", 97)
            and h2_feed_text(st, st.stream.exchange.http.websocket_accept, 28)
            and h2_feed_text(st, b"\r\n", 2)
        )
    return (h2_feed_text(st, b"HTTP/1.1 ", 9) and h2_feed_text(st, status, 3)
            and h2_feed_text(st, b" \r\n", 3))


cdef inline uint32_t _head_bytes_max(const H2Stream* st) noexcept nogil:
    """Of a head, and of trailers. (A tunnel holds no pool, and has no trailers to speak of.)"""
    cdef const PoolEntry* pool = st.stream.exchange.pool
    return pool.keys.max_response_header_size_bytes if pool != NULL \
        else <uint32_t> RESPONSE_HEAD_BYTES_MAX


cdef bint _take_trailer(H2Stream* st, const uint8_t* name, uint32_t name_size,
                        const uint8_t* value, uint32_t size) noexcept nogil:
    return (name[0] == c':' or (
        h2_end_with(st, name, name_size) and h2_end_with(st, b": ", 2)
        and h2_end_with(st, value, size) and h2_end_with(st, b"\r\n", 2)
    ))


cdef inline bint _is_of_authentication(const uint8_t* name, size_t size, int kind) noexcept nogil:
    """Whether a field asks for credentials, or has them. Of NTLM and Negotiate, which authenticate
    a connection, neither may pass here: all clients share this one."""
    return (name[0] == c'w' or name[0] == c'a' or name[0] == c'p') \
        and field_kind(name, <uint32_t> size) == kind


cdef bint _take_field(H2Stream* st, const uint8_t* name, uint32_t name_size,
                      const uint8_t* value, uint32_t size) noexcept nogil:
    """False: it is too much."""
    st.head_bytes += name_size + size + 32          # (as RFC 9113, 6.5.2 counts)
    if unlikely(st.head_bytes > _head_bytes_max(st)):
        st.flags |= H2_TOO_LARGE
        return False
    if unlikely(name_size == 0):
        return False
    if st.flags & H2_HEAD_READ:
        return _take_trailer(st, name, name_size, value, size)
    if name[0] == c':':
        if not is_literal(name, name_size, b":status") or size != 3:
            return False
        st.pseudo_at[0] = (value[0] - 48) * 100 + (value[1] - 48) * 10 + value[2] - 48
        return _begin_answer(st, value)
    if is_literal(name, name_size, b"content-length"):
        st.flags |= H2_LENGTH
    elif unlikely(_is_of_authentication(name, name_size, FIELD_AUTHENTICATE)) \
            and binds_connection(text_of(value, size)):
        return True
    return (h2_feed_text(st, name, name_size) and h2_feed_text(st, b": ", 2)
            and h2_feed_text(st, value, size) and h2_feed_text(st, b"\r\n", 2))


cdef int _on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                    size_t name_size, const uint8_t* value, size_t size, uint8_t flags,
                    void* given) noexcept nogil:
    cdef H2Stream* st = h2_stream(session, frame.hd.stream_id)
    if unlikely(st == NULL or st.flags & H2_FAILED or st.stream == NULL):
        return 0
    if unlikely(not _take_field(st, name, <uint32_t> name_size, value, <uint32_t> size)):
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE    # (it is reset)
    return 0


cdef bint _end_head(H2Stream* st, bint ended) noexcept nogil:
    cdef uint32_t status = st.pseudo_at[0]
    cdef bint fine = True
    h2_is_of_use(st.h2, st.head_bytes)
    st.head_bytes = 0
    if status < 200:
        st.flags &= <uint32_t> ~H2_LENGTH
        return h2_feed_text(st, b"\r\n", 2)
    st.flags |= H2_HEAD_READ
    if unlikely(st.flags & H2_TUNNEL) and 200 <= status < 300:
        return h2_feed_text(st, b"\r\n", 2)
    if not st.flags & (H2_LENGTH | H2_NO_BODY) and status != 204 and status != 304:
        st.flags |= H2_CHUNKED
        fine = h2_feed_text(st, b"transfer-encoding: chunked\r\n", 28)
    return fine and h2_feed_text(st, b"\r\n", 2)


cdef void _on_settings(nghttp2_session* session, H2* h2) noexcept nogil:
    """The first ones are what requests have waited for."""
    cdef H2Stream* st = h2.streams
    cdef uint32_t most = nghttp2_session_get_remote_settings(
        session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
    h2.streams_max = most if most < <uint32_t> H2_STREAMS_MAX else <uint32_t> H2_STREAMS_MAX
    if h2.is_ready:
        return
    h2.is_ready = True
    while st != NULL:
        if st.stream != NULL:
            queue(<Core*> h2.core, st.stream.exchange)
        st = st.next


cdef int _on_frame(nghttp2_session* session, const nghttp2_frame* frame,
                   void* given) noexcept nogil:
    """It is whole."""
    cdef H2* h2 = <H2*> given
    cdef H2Stream* st
    cdef bint ended = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
    if frame.hd.type == NGHTTP2_SETTINGS and not frame.hd.flags & NGHTTP2_FLAG_ACK:
        _on_settings(session, h2)
    elif frame.hd.flags & NGHTTP2_FLAG_ACK and (
            frame.hd.type == NGHTTP2_SETTINGS or frame.hd.type == NGHTTP2_PING):
        h2_answered(h2)
    elif frame.hd.type == NGHTTP2_GOAWAY:
        h2.leaving = h2.gone = True
    if frame.hd.type != NGHTTP2_HEADERS and frame.hd.type != NGHTTP2_DATA:
        return 0
    st = h2_stream(session, frame.hd.stream_id)
    if st == NULL or st.flags & H2_FAILED or st.stream == NULL:
        return 0
    if frame.hd.type == NGHTTP2_HEADERS and not st.flags & H2_HEAD_READ:
        if unlikely(not _end_head(st, ended)):
            st.flags |= H2_FAILED
            st.stream.ready |= ERROR
    elif not ended:
        return 0
    if ended:
        st.flags |= H2_ENDED
    h2_wake(st)
    return 0


cdef int _on_close(nghttp2_session* session, int32_t id, uint32_t error,
                   void* given) noexcept nogil:
    cdef H2Stream* st = h2_stream(session, id)
    if st == NULL:
        return 0
    st.flags |= H2_CLOSED
    if error == NGHTTP2_REFUSED_STREAM:
        st.flags |= H2_REFUSED
    if st.stream != NULL and not st.flags & H2_ENDED:
        st.stream.ready |= ERROR
    h2_wake(st)
    return 0


cdef int _on_sent(nghttp2_session* session, const nghttp2_frame* frame,
                  void* given) noexcept nogil:
    if unlikely(frame.hd.type == NGHTTP2_RST_STREAM):
        h2_count_reset(session, <H2*> given, frame.hd.stream_id)
    return 0


cdef int _prepare() except -1:
    global _callbacks, _options
    if not FASTLB_HAS_H2:
        return 0
    h2_prepare(&_callbacks, &_options)
    nghttp2_session_callbacks_set_on_header_callback(_callbacks, _on_header)
    nghttp2_session_callbacks_set_on_frame_recv_callback(_callbacks, _on_frame)
    nghttp2_session_callbacks_set_on_frame_send_callback(_callbacks, _on_sent)
    nghttp2_session_callbacks_set_on_stream_close_callback(_callbacks, _on_close)
    return 0


_prepare()


cdef nghttp2_session* h2_server_session(H2* h2) noexcept nogil:
    """One that has said what it allows, or NULL."""
    cdef nghttp2_settings_entry[3] settings
    cdef nghttp2_session* session = NULL
    if not FASTLB_HAS_H2 or nghttp2_session_client_new2(&session, _callbacks, h2, _options):
        return NULL
    settings[0].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
    settings[0].value = 0
    settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    settings[1].value = H2_WINDOW_BYTES
    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    settings[2].value = h2.carrier.pool.keys.max_response_header_size_bytes
    if nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 3) or \
            nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, H2_SERVER_BYTES):
        nghttp2_session_del(session)
        return NULL
    return session


# --- what a server is asked ---

cdef inline void _set(nghttp2_nv* field, const char* name, uint8_t* value,
                      size_t size) noexcept nogil:
    field.name, field.namelen = <uint8_t*> name, strlen(name)
    field.value, field.valuelen = value, size
    field.flags = NGHTTP2_NV_FLAG_NONE


cdef inline bint _is(const nghttp2_nv* field, const char* name) noexcept nogil:
    return is_literal(field.name, field.namelen, name)


cdef uint64_t _number(const uint8_t* at, size_t size) noexcept nogil:
    """Of digits, as `proto/http1` has believed them."""
    cdef uint64_t n = 0
    cdef size_t i
    for i in range(size):
        n = n * 10 + at[i] - 48
    return n


cdef int _fields(H2* h2, H2Stream* st, uint8_t* at, uint8_t* end,
                 nghttp2_nv* fields) noexcept nogil:
    """Those of a request whose head is at `at`: how many, or -1."""
    cdef Exchange* x = st.stream.exchange
    cdef uint8_t* line = <uint8_t*> memchr(at, 10, end - at) + 1
    cdef uint8_t* path = <uint8_t*> memchr(at, 32, end - at) + 1
    cdef bint tunnel = st.flags & H2_TUNNEL
    cdef int n, i, kept
    _set(&fields[0], b":method", at, path - 1 - at)
    _set(&fields[1], b":scheme", <uint8_t*> b"http", 4)
    if h2.socket.tls != NULL:
        fields[1].value, fields[1].valuelen = <uint8_t*> b"https", 5
    _set(&fields[2], b":path", path, <uint8_t*> memchr(path, 32, end - path) - path)
    _set(&fields[3], b":authority", NULL, 0)
    if unlikely(tunnel):                            # RFC 8441, 4
        _set(&fields[0], b":method", <uint8_t*> b"CONNECT", 7)
        _set(&fields[4], b":protocol", <uint8_t*> b"websocket", 9)
    kept = 5 if tunnel else 4
    n = h2_lines(line, end, fields, kept)
    for i in range(kept, n):
        if _is(&fields[i], b"host"):
            fields[3].value, fields[3].valuelen = fields[i].value, fields[i].valuelen
            continue
        if _is(&fields[i], b"content-length"):
            st.left = _number(fields[i].value, fields[i].valuelen)
        elif unlikely(tunnel) and _is(&fields[i], b"sec-websocket-key"):
            continue
        elif unlikely(x.http.flags & HTTP_BINDS) and _is_of_authentication(
                fields[i].name, fields[i].namelen, FIELD_AUTHORIZATION) and binds_connection(
                    text_of(fields[i].value, <uint32_t> fields[i].valuelen)):
            continue
        fields[kept] = fields[i]
        kept += 1
    if unlikely(fields[3].valuelen == 0):           # (of HTTP/1.0: RFC 9113, 8.3.1 wants none)
        kept -= 1
        for i in range(3, kept):
            fields[i] = fields[i + 1]
    if x.http.flags & HTTP_TRAILERS:
        _set(&fields[kept], b"te", <uint8_t*> b"trailers", 8)
        kept += 1
    return kept if n > 0 else -1


cdef void _give_up(H2* h2, H2Stream* st, uint32_t flags) noexcept nogil:
    st.flags |= flags
    st.stream.ready |= ERROR | READABLE
    queue(<Core*> h2.core, st.stream.exchange)


cdef void h2_ask(H2* h2, H2Stream* st) noexcept nogil:
    """Its exchange has written a request, or some of it."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    cdef nghttp2_nv[NV_MAX + 4] fields
    cdef nghttp2_data_provider body
    cdef uint8_t* at = chunk_bytes(st.output) + st.output.start
    cdef uint8_t* end = <uint8_t*> head_end(at, chunk_bytes(st.output) + st.output.end)
    cdef int n
    if end == NULL:
        return
    if unlikely(h2.gone):
        _give_up(h2, st, H2_REFUSED | H2_CLOSED)
        return
    n = _fields(h2, st, at, end, fields)
    if unlikely(n <= 0 or (st.flags & H2_TUNNEL and not nghttp2_session_get_remote_settings(
            session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL))):
        _give_up(h2, st, H2_FAILED)
        return
    body.source.ptr = st
    body.read_callback = h2_on_read
    if st.left == 0 and not st.flags & (H2_IN_CHUNKS | H2_TUNNEL):
        st.flags |= H2_DONE
    st.flags |= H2_ANSWERED
    st.id = nghttp2_submit_request(
        session, NULL, fields, n, NULL if st.flags & H2_DONE else &body, st)
    if unlikely(st.id < 0):
        st.id = 0
        h2.leaving = h2.gone = True                 # (its ids are used up, or memory is)
        _give_up(h2, st, H2_REFUSED | H2_CLOSED)
        return
    st.output.start += <uint32_t> (end + 2 - at)
    if st.output.start == st.output.end or st.flags & H2_DONE:
        give_held(<Core*> h2.core, st.output)
        st.output = NULL
    h2_count_ahead(st)
