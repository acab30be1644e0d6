# OpenSSL contexts of listeners and pools. A listener has one SSL_CTX for each certificate, of which
# its client's hello picks one (see hello); a pool has one.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport TICKET_KEYS
from fastlb._core.base.parts cimport TlsName
from fastlb._core.base.text cimport hash_bytes, hash_seed
from fastlb._core.ext.atomic cimport fl_store32
from fastlb._core.ext.linux cimport close
from fastlb._core.ext.openssl cimport (
    BIO, BIO_free, ERR_clear_error, PEM_read_bio_X509, PEM_read_bio_X509_CRL, SSL_CTX,
    SSL_CTX_add1_chain_cert, SSL_CTX_add_client_CA, SSL_CTX_free, SSL_CTX_get_cert_store,
    SSL_CTX_new, SSL_CTX_set1_groups_list, SSL_CTX_set_alpn_protos, SSL_CTX_set_alpn_select_cb,
    SSL_CTX_set_cipher_list, SSL_CTX_set_ciphersuites, SSL_CTX_set_client_hello_cb,
    SSL_CTX_set_default_verify_paths, SSL_CTX_set_ex_data, SSL_CTX_set_keylog_callback,
    SSL_CTX_set_max_proto_version, SSL_CTX_set_min_proto_version, SSL_CTX_set_mode,
    SSL_CTX_set_num_tickets, SSL_CTX_set_options, SSL_CTX_set_read_ahead,
    SSL_CTX_set_session_cache_mode, SSL_CTX_set_session_ticket_cb, SSL_CTX_set_tlsext_status_cb,
    SSL_CTX_set_tlsext_ticket_key_evp_cb, SSL_CTX_set_verify, SSL_CTX_set_verify_depth,
    SSL_CTX_use_PrivateKey, SSL_CTX_use_certificate, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER,
    SSL_MODE_ENABLE_PARTIAL_WRITE, SSL_MODE_RELEASE_BUFFERS, SSL_OP_CIPHER_SERVER_PREFERENCE,
    SSL_OP_NO_COMPRESSION, SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_TICKET, SSL_OP_PRIORITIZE_CHACHA,
    SSL_SESS_CACHE_OFF, SSL_VERIFY_FAIL_IF_NO_PEER_CERT, SSL_VERIFY_NONE, SSL_VERIFY_PEER,
    TLS_method, X509, X509_CRL, X509_CRL_free, X509_STORE, X509_STORE_add_cert, X509_STORE_add_crl,
    X509_STORE_set_flags, X509_V_FLAG_CRL_CHECK, X509_V_FLAG_PARTIAL_CHAIN, X509_free,
)
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.certificates cimport Certificate, last_error, memory_bio, no_password
from fastlb._core.tables.hello cimport (
    Staple, entry_index, find_name, on_alpn, on_hello, on_key, on_resumed, on_status, on_ticket,
    staple_index,
)

import os

cdef enum:
    KEY_FILE_BYTES = 80                 # of tickets: a name and two keys, as nginx and HAProxy have

cdef uint32_t _last_id = 0


cdef int _choose(SSL_CTX* context, bytes ciphers, bytes cipher_suites, bytes curves) except -1:
    if ciphers and not SSL_CTX_set_cipher_list(context, ciphers):
        raise ValueError(f"ciphers: {last_error()}")
    if cipher_suites and not SSL_CTX_set_ciphersuites(context, cipher_suites):
        raise ValueError(f"cipher_suites: {last_error()}")
    if curves and not SSL_CTX_set1_groups_list(context, curves):
        raise ValueError(f"curves: {last_error()}")
    return 0


def check_names(bytes ciphers, bytes cipher_suites, bytes curves) -> None:
    """ValueError: OpenSSL doesn't know one of these."""
    cdef SSL_CTX* context = SSL_CTX_new(TLS_method())
    if context == NULL:
        raise MemoryError
    try:
        _choose(context, ciphers, cipher_suites, curves)
    finally:
        SSL_CTX_free(context)


cdef class Tickets:
    """The keys of session tickets, which outlive configurations: by chance, or from files of 80
    bytes each (a name, and keys of AES-256 and HMAC) that several processes share."""

    def __init__(self, files: list[bytes] = []):
        cdef int i
        for i in range(TICKET_KEYS):
            self._fill(i, os.urandom(KEY_FILE_BYTES))
        self.use(files)

    cdef int _fill(self, int i, bytes data) except -1:
        cdef const uint8_t* at = <const uint8_t*> <const char*> data
        if len(data) != KEY_FILE_BYTES:
            raise ValueError(f"a key of tickets has {KEY_FILE_BYTES} bytes, and not {len(data)}")
        memcpy(self.table.keys[i].name, at, 16)
        memcpy(self.table.keys[i].cipher, at + 16, 32)
        memcpy(self.table.keys[i].mac, at + 48, 32)
        return 0

    def use(self, list files) -> None:
        """These keys alone, of which the first makes new tickets."""
        cdef int i
        if not files:
            return
        for i in range(TICKET_KEYS):
            self._fill(i, files[i] if i < len(files) else os.urandom(KEY_FILE_BYTES))
        fl_store32(&self.table.latest, 0)

    def rotate(self) -> None:
        """New tickets by a new key. Those of the last but two are worth nothing any more."""
        cdef int following = (self.table.latest + 1) % TICKET_KEYS
        cdef int later = (following + 1) % TICKET_KEYS
        self._fill(later, os.urandom(KEY_FILE_BYTES))
        fl_store32(&self.table.latest, following)


cdef class TlsContext:
    """What `spec` says (compile/certificates), once for all snapshots that have the same."""

    def __cinit__(self, object spec, Tickets tickets):
        global _last_id
        cdef int i
        self._arena = Arena()
        self._arena.hold(spec)
        self._tickets = tickets
        self.entry.key_log_fd = -1
        _last_id += 1
        self.entry.id = _last_id
        self.entry.tickets = &tickets.table
        memcpy(self.entry.scope, <const char*> <bytes> spec.scope, 16)
        self.entry.alpn = self._arena.text(spec.alpn)
        self.entry.refuses = spec.refuses
        self.entry.verifies = spec.verify > 0
        self._n_contexts = max(1, len(spec.certificates))
        self._contexts = <SSL_CTX**> calloc(self._n_contexts, sizeof(void*))
        if self._contexts == NULL:
            raise MemoryError
        if spec.key_log:
            self.entry.key_log_fd = os.open(
                spec.key_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        for i in range(self._n_contexts):
            self._contexts[i] = self._context(spec)
            if i < len(spec.certificates):
                self._certify(self._contexts[i], spec.certificates[i])
        self.entry.context = self._contexts[0]
        if spec.is_listener:
            self._fill_names(spec.certificates)

    def __dealloc__(self):
        cdef int i
        for i in range(self._n_contexts):
            if self._contexts != NULL and self._contexts[i] != NULL:
                SSL_CTX_free(self._contexts[i])
        free(self._contexts)
        if self.entry.key_log_fd >= 0:
            close(self.entry.key_log_fd)

    cdef SSL_CTX* _context(self, object spec) except NULL:
        """Without a certificate yet."""
        cdef SSL_CTX* context = SSL_CTX_new(TLS_method())
        if context == NULL:
            raise MemoryError
        try:
            self._configure(context, spec)
        except BaseException:
            SSL_CTX_free(context)
            raise
        return context

    cdef int _configure(self, SSL_CTX* context, object spec) except -1:
        SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION
                            | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA)
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE
                         | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS)
        SSL_CTX_set_read_ahead(context, 1)
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_ex_data(context, entry_index, &self.entry)
        if not SSL_CTX_set_min_proto_version(context, spec.versions[0]) \
                or not SSL_CTX_set_max_proto_version(context, spec.versions[1]):
            raise ValueError(f"versions: {last_error()}")
        _choose(context, spec.ciphers, spec.cipher_suites, spec.curves)
        self._trust(context, spec)
        if spec.key_log:
            SSL_CTX_set_keylog_callback(context, on_key)
        if not spec.is_listener:
            if spec.alpn and SSL_CTX_set_alpn_protos(
                    context, self.entry.alpn.at, self.entry.alpn.size):
                raise ValueError(f"alpn: {last_error()}")
            return 0
        SSL_CTX_set_client_hello_cb(context, on_hello, &self.entry)
        if spec.alpn:
            SSL_CTX_set_alpn_select_cb(context, on_alpn, &self.entry)
        SSL_CTX_set_tlsext_status_cb(context, on_status)
        if spec.tickets:
            # One, where OpenSSL would send two: each is made, sent and read.
            SSL_CTX_set_num_tickets(context, 1)
            SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket)
            SSL_CTX_set_session_ticket_cb(context, NULL, on_resumed, NULL)
        else:
            SSL_CTX_set_num_tickets(context, 0)
            SSL_CTX_set_options(context, SSL_OP_NO_TICKET)
        return 0

    cdef int _trust(self, SSL_CTX* context, object spec) except -1:
        """Whose certificates the other side may have: 0 asks for none, 2 insists on one."""
        cdef X509_STORE* store = SSL_CTX_get_cert_store(context)
        cdef int mode = SSL_VERIFY_NONE
        if spec.verify:
            mode = SSL_VERIFY_PEER
            if spec.verify == 2:
                mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT
            if spec.depth >= 0:
                SSL_CTX_set_verify_depth(context, spec.depth)
            if spec.authorities:
                self._add_authorities(context, store, spec.authorities, spec.is_listener)
            elif not SSL_CTX_set_default_verify_paths(context):
                raise ValueError(f"the system's authorities: {last_error()}")
            if spec.revocations:
                self._add_revocations(store, spec.revocations)
        SSL_CTX_set_verify(context, mode, NULL)
        return 0

    cdef int _add_authorities(self, SSL_CTX* context, X509_STORE* store, bytes pem,
                              bint is_listener) except -1:
        cdef BIO* bio = memory_bio(pem)
        cdef X509* one
        while True:
            one = PEM_read_bio_X509(bio, NULL, no_password, NULL)
            if one == NULL:
                break
            X509_STORE_add_cert(store, one)
            if is_listener:
                SSL_CTX_add_client_CA(context, one)     # (it copies the name)
            X509_free(one)
        BIO_free(bio)
        ERR_clear_error()
        # Whoever is named here is trusted, be it an authority's authority or not.
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN)
        return 0

    cdef int _add_revocations(self, X509_STORE* store, bytes pem) except -1:
        cdef BIO* bio = memory_bio(pem)
        cdef X509_CRL* one
        while True:
            one = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL)
            if one == NULL:
                break
            X509_STORE_add_crl(store, one)
            X509_CRL_free(one)
        BIO_free(bio)
        ERR_clear_error()
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK)
        return 0

    cdef int _certify(self, SSL_CTX* context, object given) except -1:
        """`given` is of one set of names: certificates with keys of several kinds."""
        cdef Certificate certificate
        cdef Staple* staple
        cdef Staple* before = NULL
        cdef int i
        for certificate, ocsp in given.certificates:
            if SSL_CTX_use_certificate(context, certificate.leaf) != 1 \
                    or SSL_CTX_use_PrivateKey(context, certificate.key) != 1:
                raise ValueError(last_error())
            for i in range(certificate.n_issuers):
                if SSL_CTX_add1_chain_cert(context, certificate.issuers[i]) != 1:
                    raise ValueError(last_error())
            if ocsp:
                staple = <Staple*> self._arena.take(1, sizeof(Staple))
                staple.leaf = certificate.leaf
                staple.at = self._arena.keep(ocsp)
                staple.size = len(ocsp)
                staple.next = before
                before = staple
        if before != NULL:
            SSL_CTX_set_ex_data(context, staple_index, before)
        return 0

    cdef int _fill_names(self, object certificates) except -1:
        """The first certificate of a name has it."""
        cdef uint32_t size = 2, place
        cdef Text name
        cdef int i
        while size < 2 * sum(len(given.names) for given in certificates) + 2:
            size *= 2
        self.entry.n_names = size
        self.entry.names = <TlsName*> self._arena.take(size, sizeof(TlsName))
        for i, given in enumerate(certificates):
            for text in given.names:
                name = self._arena.text(text)
                if find_name(&self.entry, name.at, name.size) != NULL:
                    continue
                place = <uint32_t> hash_bytes(hash_seed(), name.at, name.size)
                while self.entry.names[place & (size - 1)].context != NULL:
                    place += 1
                self.entry.names[place & (size - 1)].name = name
                self.entry.names[place & (size - 1)].context = self._contexts[i]
        return 0
