# Certificates and keys as OpenSSL reads them (PEM, RFC 7468). What is wrong is a ValueError that
# says it without a file's name.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport text_of
from fastlb._core.ext.nghttp2 cimport FASTLB_HAS_H2
from fastlb._core.ext.openssl cimport (
    ASN1_INTEGER_set_uint64, ASN1_STRING, ASN1_STRING_get0_data, ASN1_STRING_length, ASN1_TIME,
    ASN1_TIME_diff, ASN1_TIME_free, ASN1_TIME_set, BIO, BIO_free, BIO_get_mem_data, BIO_new,
    BIO_new_mem_buf, BIO_s_mem, ERR_clear_error, ERR_peek_last_error, ERR_reason_error_string,
    EVP_EC_gen, EVP_PKEY, EVP_PKEY_EC, EVP_PKEY_free, EVP_PKEY_get0_type_name,
    EVP_PKEY_get_base_id, EVP_PKEY_get_bits, EVP_sha256, FASTLB_HAS_TLS, GENERAL_NAME_get0_value,
    GENERAL_NAMES, GENERAL_NAMES_free, GEN_DNS, GEN_IPADD, MBSTRING_UTF8, NID_basic_constraints,
    NID_commonName, NID_subject_alt_name, OpenSSL_version, PEM_read_bio_PrivateKey,
    PEM_read_bio_X509, PEM_read_bio_X509_CRL, PEM_write_bio_PrivateKey, PEM_write_bio_X509,
    RAND_bytes, X509, X509V3_EXT_conf_nid, X509_CRL, X509_CRL_free, X509_EXTENSION,
    X509_EXTENSION_free, X509_NAME_add_entry_by_NID, X509_NAME_get_text_by_NID, X509_NAME_print_ex,
    X509_add_ext, X509_check_private_key, X509_digest, X509_free, X509_get0_notAfter,
    X509_get0_notBefore, X509_get0_pubkey, X509_getm_notAfter, X509_getm_notBefore,
    X509_get_ext_d2i, X509_get_serialNumber, X509_get_subject_name, X509_gmtime_adj, X509_new,
    X509_set_issuer_name, X509_set_pubkey, X509_set_version, X509_sign, XN_FLAG_RFC2253,
    sk_GENERAL_NAME_num, sk_GENERAL_NAME_value,
)

cdef extern from *:
    """
    #if FASTLB_HAS_H2
    #define fl_h2_version() (nghttp2_version(0)->version_str)
    #else
    #define fl_h2_version() ("")
    #endif
    """
    const char* fl_h2_version()

import ipaddress

AVAILABLE = bool(FASTLB_HAS_TLS)
H2_AVAILABLE = bool(FASTLB_HAS_H2)
NGHTTP2 = (<bytes> fl_h2_version()).decode() if FASTLB_HAS_H2 else ""
OPENSSL = (<bytes> OpenSSL_version(0)).decode() if FASTLB_HAS_TLS else ""
CHAIN_MAX = 16                          # issuers that are sent along: no real chain is near


cdef str last_error():
    """Why OpenSSL failed just now; it is forgotten."""
    cdef const char* text = ERR_reason_error_string(ERR_peek_last_error())
    ERR_clear_error()
    return (<bytes> text).decode() if text != NULL else "unknown"


cdef BIO* memory_bio(bytes text) except NULL:
    """For as long as the text lives."""
    cdef BIO* bio
    if not FASTLB_HAS_TLS:
        raise ValueError("this build of fastlb has no TLS")
    bio = BIO_new_mem_buf(<const char*> text, <int> len(text))
    if bio == NULL:
        raise MemoryError
    return bio


cdef int no_password(char* into, int size, int write, void* given) noexcept nogil:
    """The password that was given (a Text*), or none: OpenSSL would ask a terminal."""
    cdef Text* password = <Text*> given
    if password == NULL or password.size > <uint32_t> size:
        return -1
    memcpy(into, password.at, password.size)
    return <int> password.size


cdef long _seconds(const ASN1_TIME* time) except? -1:
    """Since 1970."""
    cdef ASN1_TIME* epoch = ASN1_TIME_set(NULL, 0)
    cdef int days = 0, seconds = 0
    if epoch == NULL:
        raise MemoryError
    if not ASN1_TIME_diff(&days, &seconds, epoch, time):
        ASN1_TIME_free(epoch)
        raise ValueError(f"has a date that can't be read: {last_error()}")
    ASN1_TIME_free(epoch)
    return <long> days * 86400 + seconds


cdef tuple _names(X509* leaf):
    """subjectAltName's (RFC 5280, 4.2.1.6); the common name where there are none."""
    cdef void* found = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL)
    cdef const ASN1_STRING* value
    cdef char[256] common
    cdef int i, kind = 0, n
    names = []
    if found != NULL:
        for i in range(sk_GENERAL_NAME_num(found)):
            value = <const ASN1_STRING*> GENERAL_NAME_get0_value(
                sk_GENERAL_NAME_value(found, i), &kind)
            if kind != GEN_DNS and kind != GEN_IPADD:
                continue
            text = (<const char*> ASN1_STRING_get0_data(value))[:ASN1_STRING_length(value)]
            if kind == GEN_DNS:
                names.append(text.decode("ascii", "replace").lower())
            elif len(text) in (4, 16):
                names.append(str(ipaddress.ip_address(text)))
        GENERAL_NAMES_free(<GENERAL_NAMES*> found)
    if not names:
        n = X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, common, 256)
        if n > 0:
            names.append(common[:n].decode("utf-8", "replace").lower())
    ERR_clear_error()
    return tuple(dict.fromkeys(names))


cdef str _subject(X509* leaf):
    cdef BIO* bio = BIO_new(BIO_s_mem())
    cdef char* at = NULL
    cdef long n
    if bio == NULL:
        raise MemoryError
    X509_NAME_print_ex(bio, X509_get_subject_name(leaf), 0, XN_FLAG_RFC2253)
    n = BIO_get_mem_data(bio, &at)
    text = at[:n].decode("utf-8", "replace")
    BIO_free(bio)
    return text


cdef str _algorithm(EVP_PKEY* key):
    cdef const char* name = EVP_PKEY_get0_type_name(key)
    kind = (<bytes> name).decode() if name != NULL else "unknown"
    if EVP_PKEY_get_base_id(key) == EVP_PKEY_EC:
        return f"ECDSA P-{EVP_PKEY_get_bits(key)}"
    return f"{kind} {EVP_PKEY_get_bits(key)}"


cdef class Certificate:
    """A certificate with those of its issuers that are sent along, and its key."""

    def __init__(self, bytes cert, bytes key, password: bytes | None = None):
        cdef unsigned char[32] digest
        cdef unsigned int size = 32
        self._text = cert
        self._read_chain(cert)
        self._read_key(key, password)
        if X509_check_private_key(self.leaf, self.key) != 1:
            ERR_clear_error()
            raise ValueError("the key doesn't belong to the certificate")
        self.names = _names(self.leaf)
        self.not_before = _seconds(X509_get0_notBefore(self.leaf))
        self.not_after = _seconds(X509_get0_notAfter(self.leaf))
        self.algorithm = _algorithm(X509_get0_pubkey(self.leaf))
        self.subject = _subject(self.leaf)
        X509_digest(self.leaf, EVP_sha256(), digest, &size)
        self.fingerprint = (<const char*> digest)[:32].hex()

    def __dealloc__(self):
        cdef int i
        if self.leaf != NULL:
            X509_free(self.leaf)
        for i in range(self.n_issuers):
            X509_free(self.issuers[i])
        free(self.issuers)
        if self.key != NULL:
            EVP_PKEY_free(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self._text == (<Certificate> other)._text

    def __hash__(self) -> int:
        return hash(self._text)

    cdef int _read_chain(self, bytes cert) except -1:
        cdef BIO* bio = memory_bio(cert)
        cdef X509* issuer
        self.leaf = PEM_read_bio_X509(bio, NULL, no_password, NULL)
        if self.leaf == NULL:
            BIO_free(bio)
            why = last_error()
            if b"-----BEGIN CERTIFICATE-----" in cert:
                raise ValueError(f"the certificate can't be read: {why}")
            raise ValueError("holds no certificate in PEM")
        self.issuers = <X509**> calloc(CHAIN_MAX, sizeof(void*))
        if self.issuers == NULL:
            BIO_free(bio)
            raise MemoryError
        while True:
            issuer = PEM_read_bio_X509(bio, NULL, no_password, NULL)
            if issuer == NULL:
                break
            if self.n_issuers == CHAIN_MAX:
                X509_free(issuer)
                BIO_free(bio)
                raise ValueError(f"has more than {CHAIN_MAX} certificates of issuers")
            self.issuers[self.n_issuers] = issuer
            self.n_issuers += 1
        BIO_free(bio)
        ERR_clear_error()
        return 0

    cdef int _read_key(self, bytes key, bytes password) except -1:
        cdef BIO* bio = memory_bio(key)
        cdef Text given
        if password is not None:
            given = text_of(<const uint8_t*> <const char*> password, <uint32_t> len(password))
        self.key = PEM_read_bio_PrivateKey(
            bio, NULL, no_password, &given if password is not None else NULL)
        BIO_free(bio)
        if self.key != NULL:
            ERR_clear_error()
            return 0
        why = last_error()
        if b"PRIVATE KEY-----" not in key:
            raise ValueError("holds no private key in PEM")
        if b"ENCRYPTED" in key:
            raise ValueError(
                "the key is encrypted, and " + ("the password is wrong" if password is not None
                                                else "there is no password for it"))
        raise ValueError(f"the key can't be read: {why}")


def check_authorities(bytes pem) -> int:
    """How many certificates there are."""
    cdef BIO* bio = memory_bio(pem)
    cdef X509* one
    n = 0
    while True:
        one = PEM_read_bio_X509(bio, NULL, no_password, NULL)
        if one == NULL:
            break
        X509_free(one)
        n += 1
    BIO_free(bio)
    why = last_error()
    if n != pem.count(b"-----BEGIN CERTIFICATE-----"):
        raise ValueError(f"certificate {n + 1} can't be read: {why}")
    if not n:
        raise ValueError("holds no certificate in PEM")
    return n


def check_revocations(bytes pem) -> int:
    """How many revocation lists there are."""
    cdef BIO* bio = memory_bio(pem)
    cdef X509_CRL* one
    n = 0
    while True:
        one = PEM_read_bio_X509_CRL(bio, NULL, no_password, NULL)
        if one == NULL:
            break
        X509_CRL_free(one)
        n += 1
    BIO_free(bio)
    why = last_error()
    if n != pem.count(b"-----BEGIN X509 CRL-----"):
        raise ValueError(f"revocation list {n + 1} can't be read: {why}")
    if not n:
        raise ValueError("holds no revocation list in PEM")
    return n


cdef int _extend(X509* made, int what, bytes value) except -1:
    cdef X509_EXTENSION* extension = X509V3_EXT_conf_nid(NULL, NULL, what, value)
    if extension == NULL:
        raise ValueError(f"{value.decode()}: {last_error()}")
    X509_add_ext(made, extension, -1)
    X509_EXTENSION_free(extension)
    return 0


cdef bytes _written(X509* made, EVP_PKEY* key):
    """One of both, in PEM."""
    cdef BIO* bio = BIO_new(BIO_s_mem())
    cdef char* at = NULL
    cdef long n
    if bio == NULL:
        raise MemoryError
    if made != NULL:
        PEM_write_bio_X509(bio, made)
    else:
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
    n = BIO_get_mem_data(bio, &at)
    text = at[:n]
    BIO_free(bio)
    return text


def self_signed(list names, int days) -> tuple[bytes, bytes]:
    """A certificate for names and IP addresses, and its key (P-256): for tries and tests."""
    cdef X509* made
    cdef EVP_PKEY* key
    cdef uint64_t serial = 1
    if not FASTLB_HAS_TLS:
        raise ValueError("this build of fastlb has no TLS")
    key = EVP_EC_gen(b"P-256")
    made = X509_new()
    try:
        if key == NULL or made == NULL:
            raise MemoryError
        RAND_bytes(<unsigned char*> &serial, 7)
        X509_set_version(made, 2)
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(made), serial)
        X509_gmtime_adj(X509_getm_notBefore(made), -3600)
        X509_gmtime_adj(X509_getm_notAfter(made), <long> days * 86400)
        common = names[0].encode()
        X509_NAME_add_entry_by_NID(
            X509_get_subject_name(made), NID_commonName, MBSTRING_UTF8, common, -1, -1, 0)
        X509_set_issuer_name(made, X509_get_subject_name(made))
        X509_set_pubkey(made, key)
        _extend(made, NID_basic_constraints, b"critical,CA:TRUE,pathlen:0")
        _extend(made, NID_subject_alt_name, ",".join(map(_alternative, names)).encode())
        if X509_sign(made, key, EVP_sha256()) == 0:
            raise ValueError(last_error())
        return _written(made, NULL), _written(NULL, key)
    finally:
        X509_free(made)
        EVP_PKEY_free(key)


def _alternative(name: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"
