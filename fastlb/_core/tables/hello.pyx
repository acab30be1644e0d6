# What OpenSSL asks during a client's handshake: certificate, protocol, ticket. The connection holds
# the snapshot that the answers are in.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memcmp, memcpy, memset

from fastlb._core.base.limits cimport TICKET_KEYS, TLS_NAME_BYTES_MAX
from fastlb._core.base.parts cimport TicketKey, TlsEntry, TlsName
from fastlb._core.base.text cimport equal, hash_bytes, hash_seed, lower
from fastlb._core.ext.atomic cimport fl_load32
from fastlb._core.ext.linux cimport write
from fastlb._core.ext.openssl cimport (
    EVP_CIPHER_CTX, EVP_MAC_CTX, OSSL_MAC_PARAM_DIGEST, OSSL_MAC_PARAM_KEY, OSSL_PARAM, SSL,
    SSL_AD_UNRECOGNIZED_NAME, SSL_CLIENT_HELLO_ERROR, SSL_CLIENT_HELLO_SUCCESS, SSL_CTX,
    SSL_SESSION, SSL_TICKET_RETURN_IGNORE_RENEW, SSL_TICKET_RETURN_USE,
    SSL_TICKET_RETURN_USE_RENEW, SSL_TICKET_SUCCESS, SSL_TICKET_SUCCESS_RENEW,
    SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_NOACK, SSL_TLSEXT_ERR_OK, TLS1_3_VERSION,
    EVP_DecryptInit_ex, EVP_Digest, EVP_EncryptInit_ex, EVP_MAC_CTX_set_params, EVP_aes_256_cbc,
    EVP_sha256, OPENSSL_malloc, OSSL_PARAM_construct_end, OSSL_PARAM_construct_octet_string,
    OSSL_PARAM_construct_utf8_string, RAND_bytes, SSL_CTX_get_ex_data, SSL_CTX_get_ex_new_index,
    SSL_SESSION_set1_hostname, SSL_client_hello_get0_ext, SSL_get_SSL_CTX, SSL_get_certificate,
    SSL_set_SSL_CTX, SSL_set_session_id_context, SSL_set_tlsext_status_ocsp_resp, SSL_version,
    TLSEXT_TYPE_server_name,
)

entry_index = staple_index = -1

cdef uint32_t _name_of(SSL* ssl, uint8_t* into) noexcept nogil:
    """The host that a client asks for (RFC 6066, 3), in lower case; 0: none."""
    cdef const unsigned char* at = NULL
    cdef size_t size = 0, i, n
    if not SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &size):
        return 0
    # The list's size, the kind of its first name (0: a host), and the name's size.
    if size < 5 or <size_t> (at[0] << 8 | at[1]) + 2 != size or at[2] != 0:
        return 0
    n = at[3] << 8 | at[4]
    if n + 5 > size or n > TLS_NAME_BYTES_MAX:
        return 0
    for i in range(n):
        into[i] = lower(at[5 + i])
    return <uint32_t> n


cdef void* _context_of(const TlsEntry* entry, const uint8_t* name, uint32_t size) noexcept nogil:
    """The certificate for a name: its own before a wildcard's; NULL: there is none."""
    cdef uint8_t[TLS_NAME_BYTES_MAX + 1] wild
    cdef uint32_t first = 0
    cdef void* found = find_name(entry, name, size)
    if found != NULL:
        return found
    while first < size and name[first] != c'.':
        first += 1
    if first == 0 or first == size:
        return NULL
    wild[0] = 42
    memcpy(&wild[1], name + first, size - first)
    return find_name(entry, wild, size - first + 1)


cdef void* find_name(const TlsEntry* entry, const uint8_t* name, uint32_t size) noexcept nogil:
    cdef uint32_t i = <uint32_t> hash_bytes(hash_seed(), name, size)
    cdef const TlsName* place
    while True:
        place = &entry.names[i & (entry.n_names - 1)]
        if place.context == NULL:
            return NULL
        if equal(place.name.at, place.name.size, name, size):
            return place.context
        i += 1


cdef int on_hello(SSL* ssl, int* alert, void* given) noexcept nogil:
    """Before a session is looked for: which certificate, and whose sessions may be resumed."""
    cdef const TlsEntry* entry = <const TlsEntry*> given
    cdef uint8_t[TLS_NAME_BYTES_MAX] name
    cdef unsigned char[32] digest
    cdef unsigned char[32] scope
    cdef unsigned int n = 32
    cdef uint32_t size = _name_of(ssl, name)
    cdef void* context = NULL
    if size:
        context = _context_of(entry, name, size)
        if context == NULL and entry.refuses:
            alert[0] = SSL_AD_UNRECOGNIZED_NAME
            return SSL_CLIENT_HELLO_ERROR
    if context != NULL and context != entry.context:
        SSL_set_SSL_CTX(ssl, <SSL_CTX*> context)
    memcpy(scope, entry.scope, 16)
    memset(&scope[16], 0, 16)
    if size and EVP_Digest(name, size, digest, &n, EVP_sha256(), NULL):
        memcpy(&scope[16], digest, 16)
    SSL_set_session_id_context(ssl, scope, 32)
    return SSL_CLIENT_HELLO_SUCCESS


cdef int on_alpn(SSL* ssl, const unsigned char** chosen, unsigned char* chosen_size,
                  const unsigned char* offered, unsigned int size, void* given) noexcept nogil:
    """The first of ours that the client offers (RFC 7301, 3.2)."""
    cdef const TlsEntry* entry = <const TlsEntry*> given
    cdef uint32_t i = 0, k
    while i < entry.alpn.size:
        k = 0
        while k < size:
            if offered[k] == entry.alpn.at[i] and k + 1 + offered[k] <= size and memcmp(
                    offered + k + 1, entry.alpn.at + i + 1, offered[k]) == 0:
                chosen[0] = offered + k + 1
                chosen_size[0] = offered[k]
                return SSL_TLSEXT_ERR_OK
            k += 1 + offered[k]
        i += 1 + entry.alpn.at[i]
    return SSL_TLSEXT_ERR_ALERT_FATAL


cdef int on_status(SSL* ssl, void* given) noexcept nogil:
    """The client asks for a proof that the certificate isn't revoked (RFC 6066, 8)."""
    cdef const Staple* staple = <const Staple*> SSL_CTX_get_ex_data(
        SSL_get_SSL_CTX(ssl), staple_index)
    cdef void* copied
    while staple != NULL and staple.leaf != SSL_get_certificate(ssl):
        staple = staple.next
    if staple == NULL:
        return SSL_TLSEXT_ERR_NOACK
    copied = OPENSSL_malloc(staple.size)        # (OpenSSL frees it)
    if copied == NULL:
        return SSL_TLSEXT_ERR_NOACK
    memcpy(copied, staple.at, staple.size)
    SSL_set_tlsext_status_ocsp_resp(ssl, copied, staple.size)
    return SSL_TLSEXT_ERR_OK


cdef void on_key(const SSL* ssl, const char* line) noexcept nogil:
    """A line of a key log, as SSLKEYLOGFILE has it."""
    cdef const TlsEntry* entry = <const TlsEntry*> SSL_CTX_get_ex_data(
        SSL_get_SSL_CTX(ssl), entry_index)
    cdef char[512] text
    cdef size_t n = 0
    while line[n] and n < 511:
        text[n] = line[n]
        n += 1
    text[n] = c'\n'
    if entry.key_log_fd >= 0:
        write(entry.key_log_fd, text, n + 1)


cdef int _set_mac(EVP_MAC_CTX* mac, const TicketKey* key) noexcept nogil:
    cdef OSSL_PARAM[3] params
    params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, <void*> key.mac, 32)
    params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, <char*> b"SHA256", 0)
    params[2] = OSSL_PARAM_construct_end()
    return EVP_MAC_CTX_set_params(mac, params)


cdef int on_ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                    EVP_MAC_CTX* mac, int make) noexcept nogil:
    """Make a ticket or take one (RFC 5077, 4): 1, 2 for one to be replaced, 0 for no ticket."""
    cdef const TlsEntry* entry = <const TlsEntry*> SSL_CTX_get_ex_data(
        SSL_get_SSL_CTX(ssl), entry_index)
    cdef int latest = fl_load32(&entry.tickets.latest)
    cdef const TicketKey* key
    cdef int i
    if make:
        key = &entry.tickets.keys[latest]
        if RAND_bytes(iv, 16) != 1:
            return -1
        memcpy(name, key.name, 16)
        if not EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) \
                or not _set_mac(mac, key):
            return -1
        return 1
    for i in range(TICKET_KEYS):
        key = &entry.tickets.keys[i]
        if memcmp(key.name, name, 16) == 0:
            if not _set_mac(mac, key) or not EVP_DecryptInit_ex(
                    cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv):
                return -1
            # A ticket of TLS 1.3 is good for one connection, so there is another one for each.
            return 1 if i == latest and SSL_version(ssl) != TLS1_3_VERSION else 2
    return 0


cdef int on_resumed(SSL* ssl, SSL_SESSION* session, const unsigned char* name, size_t size,
                    int status, void* given) noexcept nogil:
    """What on_ticket has said holds. Of TLS 1.2, OpenSSL takes the name from a session that goes
    on, where it is not, since we accept no names (RFC 6066, 3): it is the one in the hello, or the
    session's context would be another."""
    cdef uint8_t[TLS_NAME_BYTES_MAX + 1] host
    cdef uint32_t n
    if status != SSL_TICKET_SUCCESS and status != SSL_TICKET_SUCCESS_RENEW:
        return SSL_TICKET_RETURN_IGNORE_RENEW
    if SSL_version(ssl) != TLS1_3_VERSION:
        n = _name_of(ssl, host)
        if n:
            host[n] = 0
            SSL_SESSION_set1_hostname(session, <const char*> host)
    return SSL_TICKET_RETURN_USE if status == SSL_TICKET_SUCCESS else SSL_TICKET_RETURN_USE_RENEW


def _prepare():
    global entry_index, staple_index
    entry_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL)
    staple_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL)


_prepare()
