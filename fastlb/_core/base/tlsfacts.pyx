# What TLS knows of a client, found when it is first asked for.
# Reads the connection's SSL; keeps one copy with it. All of it is printable ASCII.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset, strlen

from fastlb._core.base.enums cimport LAYER_TLS
from fastlb._core.base.limits cimport TLS_FACTS, TLS_NAME_BYTES_MAX, TLS_SUBJECT_BYTES_MAX
from fastlb._core.base.text cimport is_digit, lower, text_of, texts_copy, texts_size
from fastlb._core.base.wire cimport Wire
from fastlb._core.ext.atomic cimport fl_add32, unlikely
from fastlb._core.ext.openssl cimport (
    BIO, SSL, SSL_VERIFY_PEER, TLS1_3_VERSION, X509, X509_V_OK, XN_FLAG_RFC2253, BIO_free,
    BIO_get_data, BIO_get_mem_data, BIO_new, BIO_s_mem, ERR_clear_error, EVP_sha256,
    SSL_get0_peer_certificate, SSL_get_rbio, SSL_get_servername, SSL_get_verify_mode,
    SSL_get_verify_result, SSL_is_init_finished, SSL_version, TLSEXT_NAMETYPE_host_name,
    X509_NAME_print_ex, X509_digest, X509_get_subject_name,
)

cdef TlsFacts[2] _bare          # of those who neither ask for a name nor show a certificate


cdef uint32_t _take_name(const SSL* ssl, uint8_t* into) noexcept nogil:
    """In lower case; 0 if there is none, or none that a host could have."""
    cdef const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)
    cdef size_t i, size = strlen(name) if name != NULL else 0
    cdef uint8_t c
    if size > TLS_NAME_BYTES_MAX:
        return 0
    for i in range(size):
        c = lower(<uint8_t> name[i])
        if not (c'a' <= c <= c'z' or is_digit(c) or c == c'-' or c == c'.' or c == c'_'):
            return 0
        into[i] = c
    return <uint32_t> size


cdef uint32_t _take_subject(X509* leaf, uint8_t* into) noexcept nogil:
    """What isn't printable ASCII is escaped by OpenSSL, and what is not yet then is refused: this
    goes into header fields."""
    cdef BIO* bio = BIO_new(BIO_s_mem())
    cdef char* at = NULL
    cdef long i, size
    if unlikely(bio == NULL):
        return 0
    size = 0
    if X509_NAME_print_ex(bio, X509_get_subject_name(leaf), 0, XN_FLAG_RFC2253) >= 0:
        size = BIO_get_mem_data(bio, &at)
    if size < 0 or size > TLS_SUBJECT_BYTES_MAX:
        size = 0
    for i in range(size):
        if <uint8_t> at[i] < 32 or <uint8_t> at[i] > 126:
            size = 0
            break
        into[i] = <uint8_t> at[i]
    BIO_free(bio)
    ERR_clear_error()
    return <uint32_t> size


cdef uint32_t _take_fingerprint(X509* leaf, uint8_t* into) noexcept nogil:
    cdef const char* hexadecimal = "0123456789abcdef"
    cdef unsigned char[32] digest
    cdef unsigned int i, n = 0
    if not X509_digest(leaf, EVP_sha256(), digest, &n) or n != 32:
        ERR_clear_error()
        return 0
    for i in range(32):
        into[2 * i] = hexadecimal[digest[i] >> 4]
        into[2 * i + 1] = hexadecimal[digest[i] & 15]
    return 64


cdef TlsFacts* make_facts(const Text* all) noexcept nogil:
    """A copy, with one holder; NULL when memory is gone."""
    cdef TlsFacts* facts = <TlsFacts*> malloc(sizeof(TlsFacts) + texts_size(all, TLS_FACTS))
    if unlikely(facts == NULL):
        return NULL
    facts.holders = 1
    texts_copy(facts.all, all, TLS_FACTS, <uint8_t*> (facts + 1))
    return facts


cdef TlsFacts* _find_out(const SSL* ssl) noexcept nogil:
    """A certificate that wasn't asked for or looked at is nobody's, and neither is one whose
    handshake isn't over: anybody may show it."""
    cdef TlsFacts* bare = &_bare[1 if SSL_version(ssl) == TLS1_3_VERSION else 0]
    cdef X509* leaf = SSL_get0_peer_certificate(ssl)
    cdef uint8_t[TLS_NAME_BYTES_MAX] name
    cdef uint8_t[TLS_SUBJECT_BYTES_MAX] subject
    cdef uint8_t[64] fingerprint
    cdef Text[TLS_FACTS] all
    memcpy(all, bare.all, sizeof(all))
    all[TLS_SNI] = text_of(name, _take_name(ssl, name))
    if leaf != NULL and SSL_is_init_finished(ssl) and SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER \
            and SSL_get_verify_result(ssl) == X509_V_OK:
        all[TLS_SUBJECT] = text_of(subject, _take_subject(leaf, subject))
        all[TLS_FINGERPRINT] = text_of(fingerprint, _take_fingerprint(leaf, fingerprint))
    if all[TLS_SNI].size == 0 and all[TLS_SUBJECT].size == 0 and all[TLS_FINGERPRINT].size == 0:
        return bare
    return make_facts(all)


cdef TlsFacts* tls_facts(const Stream* s) noexcept nogil:
    """NULL without TLS, and when memory is gone."""
    cdef SSL* ssl = <SSL*> s.tls
    cdef Wire* wire
    if ssl == NULL:
        return NULL
    if unlikely(s.layer != LAYER_TLS):  # of a rehearsal, or by its first bytes: it has been told
        return <TlsFacts*> s.tls
    wire = <Wire*> BIO_get_data(SSL_get_rbio(ssl))
    if unlikely(wire.facts == NULL):
        wire.facts = _find_out(ssl)
    return wire.facts


cdef void hold_facts(TlsFacts* facts) noexcept nogil:
    """For whoever outlives the connection."""
    if facts != NULL and facts.holders:
        fl_add32(&facts.holders, 1)


cdef void drop_facts(TlsFacts* facts) noexcept nogil:
    if facts != NULL and facts.holders and fl_add32(&facts.holders, -1) == 1:
        free(facts)


cdef void _prepare() noexcept:
    cdef int i
    memset(_bare, 0, sizeof(_bare))
    for i in range(2):
        _bare[i].all[TLS_VERSION] = text_of(
            <const uint8_t*> (b"TLSv1.3" if i else b"TLSv1.2"), 7)


_prepare()
