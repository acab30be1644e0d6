# A door to what is done with a client's hello, for tests and fuzzing.
from fastlb._core.ext.openssl cimport (
    BIO, BIO_new, BIO_new_mem_buf, BIO_s_mem, ERR_clear_error, SSL, SSL_CTX, SSL_do_handshake,
    SSL_free, SSL_get_SSL_CTX, SSL_new, SSL_set_accept_state, SSL_set_bio,
)
from fastlb._core.tables.contexts cimport TlsContext


def choose(TlsContext context, bytes records) -> int:
    """Which certificate a client is shown that sends these."""
    cdef SSL* ssl = SSL_new(<SSL_CTX*> context.entry.context)
    cdef BIO* into = BIO_new_mem_buf(<const char*> records, <int> len(records))
    cdef BIO* out = BIO_new(BIO_s_mem())
    if ssl == NULL or into == NULL or out == NULL:
        raise MemoryError
    SSL_set_bio(ssl, into, out)
    SSL_set_accept_state(ssl)
    SSL_do_handshake(ssl)
    ERR_clear_error()
    place = _place(context, SSL_get_SSL_CTX(ssl))
    SSL_free(ssl)
    return place


cdef int _place(TlsContext context, SSL_CTX* wanted) noexcept:
    cdef int i
    for i in range(context._n_contexts):
        if context._contexts[i] == wanted:
            return i
    return -1
