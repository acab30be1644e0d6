# TLS on a stream, by OpenSSL: read, peek, write and shut as for plain sockets.
# Reads and writes the stream's socket through a BIO of ours, so that a record that does not fit
# waits. Results are counts, or -errno; OpenSSL's error queue is empty after each call.
from libc.errno cimport EAGAIN, ECONNRESET, EPIPE, EPROTO
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastlb._core.base.enums cimport (
    AGAIN, ERROR, FAIL, HANGUP, LAYER_NONE, LAYER_TLS, NEXT, PEER_SHUT, READABLE, ROLE_CLIENT,
    STREAM_CAUTIOUS, STREAM_CUT, STREAM_DRY, WRITABLE,
)
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport TLS_OVERHEAD_BYTES, TLS_RECORD_BYTES
from fastlb._core.base.mem cimport (
    CHUNK_RAW, chunk_bytes, chunk_class, chunk_size, give_chunk, take_chunk, take_pending,
)
from fastlb._core.base.net cimport net_read, net_widen, net_write
from fastlb._core.base.text cimport text_of
from fastlb._core.base.tlsfacts cimport drop_facts
from fastlb._core.base.types cimport Chunk, Core, Stream, TlsEntry
from fastlb._core.base.wire cimport Gathered, Wire
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.ext.openssl cimport (
    BIO, BIO_CTRL_FLUSH, BIO_METHOD, BIO_TYPE_SOURCE_SINK, ERR_GET_LIB, ERR_GET_REASON,
    ERR_LIB_SSL, ERR_PACK, FASTLB_HAS_TLS, SSL, SSL_CTX, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE,
    SSL_ERROR_ZERO_RETURN, SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_R_HTTPS_PROXY_REQUEST,
    SSL_R_HTTP_REQUEST, SSL_SENT_SHUTDOWN, X509_V_OK, BIO_clear_retry_flags, BIO_free,
    BIO_get_data, BIO_get_new_index, BIO_meth_new, BIO_meth_set_ctrl, BIO_meth_set_destroy,
    BIO_meth_set_read, BIO_meth_set_write, BIO_new, BIO_set_data, BIO_set_init, BIO_set_retry_read,
    BIO_set_retry_write, ERR_clear_error, ERR_peek_error, ERR_reason_error_string,
    SSL_do_handshake, SSL_free, SSL_get0_alpn_selected, SSL_get0_param, SSL_get_error,
    SSL_get_rbio, SSL_get_shutdown, SSL_get_verify_result, SSL_has_pending, SSL_is_init_finished,
    SSL_new, SSL_peek, SSL_read, SSL_session_reused, SSL_set1_host, SSL_set_accept_state,
    SSL_set_bio, SSL_set_connect_state, SSL_set_tlsext_host_name, SSL_shutdown, SSL_write,
    X509_VERIFY_PARAM_set1_ip_asc, X509_verify_cert_error_string,
)

cdef BIO_METHOD* _method = NULL


# --- between OpenSSL and the socket ---

cdef int _on_read(BIO* bio, char* into, int size) noexcept nogil:
    cdef Stream* s = (<Wire*> BIO_get_data(bio)).stream
    cdef ssize_t n
    BIO_clear_retry_flags(bio)
    if s.flags & STREAM_CUT:
        return 0
    if s.flags & STREAM_DRY:
        BIO_set_retry_read(bio)
        return -1
    n = net_read(s.fd, into, size)
    if likely(n > 0):
        # (with an end or an error announced, there is no event for what follows)
        if n < size and not s.ready & (PEER_SHUT | ERROR | HANGUP):
            s.flags |= STREAM_DRY
        return <int> n
    if n == -EAGAIN:
        s.flags |= STREAM_DRY
        BIO_set_retry_read(bio)
        return -1
    if n == 0 and not s.ready & ERROR:
        s.flags |= STREAM_CUT
    return <int> n if n < 0 else 0


cdef int _on_write(BIO* bio, const char* data, int size) noexcept nogil:
    cdef Wire* wire = <Wire*> BIO_get_data(bio)
    cdef ssize_t n
    BIO_clear_retry_flags(bio)
    if wire.gathered != NULL:
        if unlikely(wire.gathered.end - wire.gathered.at < size):
            return -1
        memcpy(wire.gathered.at, data, size)
        wire.gathered.at += size
        return size
    n = net_write(wire.stream.fd, data, size, False)
    if n == -EAGAIN:
        BIO_set_retry_write(bio)
        return -1
    return <int> n


cdef long _on_ctrl(BIO* bio, int what, long number, void* pointer) noexcept nogil:
    return 1 if what == BIO_CTRL_FLUSH else 0


cdef int _on_destroy(BIO* bio) noexcept nogil:
    cdef Wire* wire = <Wire*> BIO_get_data(bio)
    if wire != NULL:                    # (or memory was gone before it had one)
        drop_facts(wire.facts)
        free(wire)
    return 1


cdef int _make_method() except -1:
    global _method
    if not FASTLB_HAS_TLS:
        return 0
    _method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, b"fastlb")
    if _method == NULL:
        raise MemoryError
    BIO_meth_set_read(_method, _on_read)
    BIO_meth_set_write(_method, _on_write)
    BIO_meth_set_ctrl(_method, _on_ctrl)
    BIO_meth_set_destroy(_method, _on_destroy)
    return 0


_make_method()


# --- streams ---

cdef bint tls_open(Core* core, Stream* s, TlsEntry* entry, bint accept) noexcept nogil:
    """Let a connected stream speak TLS from here on; False when memory is gone."""
    cdef SSL* ssl = SSL_new(<SSL_CTX*> entry.context)
    cdef BIO* bio = BIO_new(_method)
    cdef Wire* wire = <Wire*> malloc(sizeof(Wire))
    if unlikely(ssl == NULL or bio == NULL or wire == NULL):
        ERR_clear_error()
        SSL_free(ssl)
        BIO_free(bio)
        free(wire)
        return False
    wire.stream = s
    wire.gathered = NULL
    wire.facts = NULL
    BIO_set_init(bio, 1)
    BIO_set_data(bio, wire)
    SSL_set_bio(ssl, bio, bio)
    if accept:
        SSL_set_accept_state(ssl)
    else:
        SSL_set_connect_state(ssl)
    s.tls = ssl
    s.layer = LAYER_TLS
    s.flags |= STREAM_CAUTIOUS
    fl_count(&core.counters.secured, 1)
    return True


cdef void tls_moved(Stream* s) noexcept nogil:
    """Another struct stands for the connection now."""
    (<Wire*> BIO_get_data(SSL_get_rbio(<SSL*> s.tls))).stream = s


cdef bint tls_expect(Stream* s, const char* name, bint verify) noexcept nogil:
    """Ask a server for a host, and with `verify` take no other: a name, or an IP address, which is
    not asked for (RFC 6066, 3)."""
    cdef SSL* ssl = <SSL*> s.tls
    cdef bint is_address = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
    cdef bint fine = True
    if not is_address:
        fine = SSL_set_tlsext_host_name(ssl, name) == 1
        if verify:
            fine = fine and SSL_set1_host(ssl, name) == 1
    ERR_clear_error()
    return fine


cdef Text tls_chosen(const Stream* s) noexcept nogil:
    """The protocol that both sides have chosen (ALPN); nothing if there is none."""
    cdef const unsigned char* name = NULL
    cdef unsigned int size = 0
    SSL_get0_alpn_selected(<SSL*> s.tls, &name, &size)
    return text_of(name, size)


cdef bint tls_speaks_h2(const Stream* s) noexcept nogil:
    """Whether that is HTTP/2 (RFC 9113, 3.2)."""
    cdef Text name = tls_chosen(s)
    return name.size == 2 and name.at[0] == c'h' and name.at[1] == c'2'


cdef bint tls_is_resumed(const Stream* s) noexcept nogil:
    return SSL_session_reused(<SSL*> s.tls) == 1


cdef int tls_handshake(Stream* s) noexcept nogil:
    """NEXT when it is done, AGAIN, or FAIL: `tls_failure` says why, once."""
    cdef SSL* ssl = <SSL*> s.tls
    cdef int n, error
    s.flags &= <uint8_t> ~STREAM_DRY
    n = SSL_do_handshake(ssl)
    if n == 1:
        if s.flags & STREAM_DRY and not SSL_has_pending(ssl):
            s.ready &= <uint8_t> ~READABLE
        return NEXT
    error = SSL_get_error(ssl, n)
    if error == SSL_ERROR_WANT_READ:
        s.ready &= <uint8_t> ~READABLE
        return AGAIN
    if error == SSL_ERROR_WANT_WRITE:
        s.ready &= <uint8_t> ~WRITABLE
        return AGAIN
    return FAIL


cdef bint tls_is_http(int reason) noexcept nogil:
    """Whether the peer spoke HTTP without TLS."""
    return reason == SSL_R_HTTP_REQUEST or reason == SSL_R_HTTPS_PROXY_REQUEST


cdef int tls_failure() noexcept nogil:
    """OpenSSL's number for what failed just now, 0 if it was the connection; it is forgotten."""
    cdef int reason = ERR_GET_REASON(ERR_peek_error())
    ERR_clear_error()
    return reason


cdef int tls_server_failure(const Stream* s) noexcept nogil:
    """Why a handshake with a server failed, as ServerLive.error has it: below 0, and tls_words()
    says what it means. OpenSSL's queue of errors is empty then."""
    cdef long verified = SSL_get_verify_result(<SSL*> s.tls)
    cdef unsigned long error = ERR_peek_error()
    ERR_clear_error()
    if ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED and verified != X509_V_OK:
        return -<int> verified
    if error and ERR_GET_LIB(error) != ERR_LIB_SSL:
        return TLS_BROKEN
    return TLS_CLOSED - ERR_GET_REASON(error)


cdef str tls_words(int failure):
    """What tls_server_failure() or carrier said, in the words of a health check."""
    if failure == TLS_NOT_H2:
        return "it doesn't choose h2"
    if failure == TLS_BROKEN:
        return "no TLS: PROTOCOL_ERROR"
    if failure == TLS_CLOSED:
        return "it closed in the TLS handshake"
    if failure > TLS_CLOSED:
        return f"its certificate: {X509_verify_cert_error_string(-failure).decode()}"
    text = ERR_reason_error_string(ERR_PACK(ERR_LIB_SSL, 0, TLS_CLOSED - failure))
    words = text.decode() if text != NULL else f"error {TLS_CLOSED - failure}"
    return f"no TLS: {words.upper().replace(' ', '_')}"


cdef void tls_forget() noexcept nogil:
    """What others than we have left in this thread's queue of errors would be taken for ours."""
    ERR_clear_error()


cdef ssize_t _failed(Stream* s, int n) noexcept nogil:
    """What a read that got nothing comes to, but for -EAGAIN."""
    cdef int error = SSL_get_error(<SSL*> s.tls, n)
    if error == SSL_ERROR_ZERO_RETURN:
        return 0
    if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE:
        return -EAGAIN
    ERR_clear_error()
    if s.flags & STREAM_CUT:
        # The end came without TLS' own. Many clients do so; what a server sends may be cut short
        # by somebody else (RFC 8446, 6.1).
        return 0 if s.role == ROLE_CLIENT else -ECONNRESET
    return -ECONNRESET if s.ready & ERROR else -EPROTO


cdef ssize_t tls_read(Stream* s, void* into, size_t size) noexcept nogil:
    """Bytes, 0 at the peer's end, or -errno. READABLE goes when nothing is left here or there."""
    cdef SSL* ssl = <SSL*> s.tls
    cdef bint was_dry
    cdef ssize_t result
    cdef int n
    if likely(not SSL_has_pending(ssl)):
        s.flags &= <uint8_t> ~STREAM_DRY
    was_dry = s.flags & STREAM_DRY
    n = SSL_read(ssl, into, <int> size)
    if unlikely(n <= 0):
        result = _failed(s, n)
        if result != -EAGAIN or not was_dry:
            return result
        # It had the begin of a record, and there may have been an event since.
        s.flags &= <uint8_t> ~STREAM_DRY
        n = SSL_read(ssl, into, <int> size)
        if n <= 0:
            return _failed(s, n)
    if s.flags & STREAM_DRY and not SSL_has_pending(ssl):
        s.ready &= <uint8_t> ~READABLE
    return n


cdef ssize_t tls_peek(Stream* s, void* into, size_t size) noexcept nogil:
    cdef int n
    s.flags &= <uint8_t> ~STREAM_DRY
    n = SSL_peek(<SSL*> s.tls, into, <int> size)
    return n if n > 0 else _failed(s, n)


cdef ssize_t tls_write(Stream* s, const void* data, size_t size) noexcept nogil:
    """How many bytes OpenSSL took, or -errno. Fewer than all, or -EAGAIN: the next one is begun
    already, and these bytes must come again."""
    cdef SSL* ssl = <SSL*> s.tls
    cdef size_t done = 0
    cdef int n, error
    while done < size:
        n = SSL_write(ssl, <const char*> data + done, <int> (size - done))
        if likely(n > 0):
            done += n
            continue
        error = SSL_get_error(ssl, n)
        if error == SSL_ERROR_WANT_WRITE or error == SSL_ERROR_WANT_READ:
            return <ssize_t> done if done else -EAGAIN
        ERR_clear_error()
        return -EPIPE
    return <ssize_t> done


cdef ssize_t tls_write_bulk(Core* core, Stream* s, const void* data, size_t size) noexcept nogil:
    """The same for many records in one system call. All bytes are taken, or it is an error; records
    that the socket has no room for are pending, as they are (CHUNK_RAW)."""
    cdef Wire* wire = <Wire*> BIO_get_data(SSL_get_rbio(<SSL*> s.tls))
    cdef uint32_t room = <uint32_t> (size + (size // TLS_RECORD_BYTES + 1) * TLS_OVERHEAD_BYTES)
    cdef Chunk* chunk = take_chunk(core, chunk_class(room))
    cdef Gathered gathered
    cdef ssize_t n
    if unlikely(chunk == NULL or chunk_size(chunk.klass) < room):
        if chunk != NULL:
            give_chunk(core, chunk)
        return tls_write(s, data, size)
    gathered.at = chunk_bytes(chunk)
    gathered.end = gathered.at + room
    wire.gathered = &gathered
    n = tls_write(s, data, size)
    wire.gathered = NULL
    chunk.end = <uint32_t> (gathered.at - chunk_bytes(chunk))
    if likely(n > 0):
        n = net_write(s.fd, chunk_bytes(chunk), chunk.end, False)
        if n == -EAGAIN:
            n = 0
    if n < 0 or n == <ssize_t> chunk.end:
        give_chunk(core, chunk)
        return n if n < 0 else <ssize_t> size
    chunk.start = <uint32_t> n
    chunk.scanned = CHUNK_RAW
    s.ready &= <uint8_t> ~WRITABLE
    take_pending(core, s, chunk)
    return <ssize_t> size


cdef void tls_shut(Stream* s) noexcept nogil:
    """Say that nothing follows. The socket's buffer is made larger for it where it is full."""
    cdef SSL* ssl = <SSL*> s.tls
    cdef int n
    if not SSL_is_init_finished(ssl) or SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN:
        return
    n = SSL_shutdown(ssl)
    if unlikely(n < 0):
        if SSL_get_error(ssl, n) == SSL_ERROR_WANT_WRITE:
            net_widen(s.fd)
            SSL_shutdown(ssl)
        ERR_clear_error()


cdef void tls_close(Core* core, Stream* s, bint silent) noexcept nogil:
    if not silent and s.fd >= 0:
        tls_shut(s)
    SSL_free(<SSL*> s.tls)
    s.tls = NULL
    s.layer = LAYER_NONE
    fl_count(&core.counters.secured, <uint64_t> -1)
