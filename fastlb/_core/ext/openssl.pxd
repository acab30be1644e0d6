# What is used of OpenSSL 3, by way of c/tls.h.
from libc.stdint cimport uint64_t, uint32_t, uint8_t

cdef extern from "tls.h" nogil:
    int FASTLB_HAS_TLS
    ctypedef struct SSL:
        pass
    ctypedef struct SSL_CTX:
        pass
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct SSL_CIPHER:
        pass
    ctypedef struct SSL_SESSION:
        pass
    ctypedef struct BIO:
        pass
    ctypedef struct BIO_METHOD:
        pass
    ctypedef struct X509:
        pass
    ctypedef struct X509_CRL:
        pass
    ctypedef struct X509_NAME:
        pass
    ctypedef struct X509_STORE:
        pass
    ctypedef struct X509_STORE_CTX:
        pass
    ctypedef struct X509_VERIFY_PARAM:
        pass
    ctypedef struct X509_EXTENSION:
        pass
    ctypedef struct ASN1_TIME:
        pass
    ctypedef struct ASN1_STRING:
        pass
    ctypedef struct ASN1_INTEGER:
        pass
    ctypedef struct EVP_PKEY:
        pass
    ctypedef struct EVP_MD:
        pass
    ctypedef struct EVP_CIPHER:
        pass
    ctypedef struct EVP_CIPHER_CTX:
        pass
    ctypedef struct EVP_MAC_CTX:
        pass
    ctypedef struct OSSL_PARAM:
        pass
    ctypedef struct GENERAL_NAMES:
        pass

    # --- connections ---
    enum:
        SSL_ERROR_SSL, SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE, SSL_ERROR_SYSCALL
        SSL_ERROR_ZERO_RETURN
        SSL_CLIENT_HELLO_SUCCESS, SSL_CLIENT_HELLO_ERROR
        SSL_TLSEXT_ERR_OK, SSL_TLSEXT_ERR_ALERT_FATAL, SSL_TLSEXT_ERR_NOACK
        SSL_AD_UNRECOGNIZED_NAME, SSL_AD_INTERNAL_ERROR
        TLSEXT_TYPE_server_name, TLSEXT_NAMETYPE_host_name
        TLSEXT_STATUSTYPE_ocsp
        SSL_SENT_SHUTDOWN
        SSL_TICKET_SUCCESS, SSL_TICKET_SUCCESS_RENEW, SSL_TICKET_RETURN_IGNORE_RENEW
        SSL_TICKET_RETURN_USE, SSL_TICKET_RETURN_USE_RENEW
        SSL_R_HTTP_REQUEST, SSL_R_HTTPS_PROXY_REQUEST, SSL_R_CERTIFICATE_VERIFY_FAILED
        BIO_CTRL_FLUSH, BIO_TYPE_SOURCE_SINK
        TLS1_2_VERSION, TLS1_3_VERSION
        X509_V_OK
    SSL* SSL_new(SSL_CTX*)
    void SSL_free(SSL*)
    void SSL_set_bio(SSL*, BIO*, BIO*)
    BIO* SSL_get_rbio(const SSL*)
    void SSL_set_accept_state(SSL*)
    void SSL_set_connect_state(SSL*)
    int SSL_do_handshake(SSL*)
    int SSL_read(SSL*, void*, int)
    int SSL_peek(SSL*, void*, int)
    int SSL_write(SSL*, const void*, int)
    int SSL_shutdown(SSL*)
    int SSL_get_shutdown(const SSL*)
    int SSL_is_init_finished(const SSL*)
    int SSL_get_error(const SSL*, int)
    int SSL_has_pending(const SSL*)
    int SSL_session_reused(const SSL*)
    int SSL_version(const SSL*)
    const char* SSL_get_version(const SSL*)
    const SSL_CIPHER* SSL_get_current_cipher(const SSL*)
    const char* SSL_CIPHER_get_name(const SSL_CIPHER*)
    void SSL_get0_alpn_selected(const SSL*, const unsigned char**, unsigned int*)
    X509* SSL_get0_peer_certificate(const SSL*)
    X509* SSL_get_certificate(const SSL*)
    long SSL_get_verify_result(const SSL*)
    int SSL_get_verify_mode(const SSL*)
    const char* SSL_get_servername(const SSL*, int)
    int SSL_SESSION_set1_hostname(SSL_SESSION*, const char*)
    SSL_CTX* SSL_set_SSL_CTX(SSL*, SSL_CTX*)
    SSL_CTX* SSL_get_SSL_CTX(const SSL*)
    int SSL_client_hello_get0_ext(SSL*, unsigned int, const unsigned char**, size_t*)
    int SSL_set_session_id_context(SSL*, const unsigned char*, unsigned int)
    int SSL_set1_host(SSL*, const char*)
    int SSL_set_tlsext_host_name(SSL*, const char*)
    X509_VERIFY_PARAM* SSL_get0_param(SSL*)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM*, const char*)
    long SSL_set_tlsext_status_ocsp_resp(SSL*, void*, long)
    int SSL_set_ex_data(SSL*, int, void*)
    void* SSL_get_ex_data(const SSL*, int)
    int SSL_get_ex_new_index(long, void*, void*, void*, void*)

    BIO_METHOD* BIO_meth_new(int, const char*)
    int BIO_meth_set_write(BIO_METHOD*, int (*)(BIO*, const char*, int) noexcept nogil)
    int BIO_meth_set_read(BIO_METHOD*, int (*)(BIO*, char*, int) noexcept nogil)
    int BIO_meth_set_ctrl(BIO_METHOD*, long (*)(BIO*, int, long, void*) noexcept nogil)
    int BIO_meth_set_destroy(BIO_METHOD*, int (*)(BIO*) noexcept nogil)
    int BIO_get_new_index()
    BIO* BIO_new(const BIO_METHOD*)
    BIO* BIO_new_mem_buf(const void*, int)
    const BIO_METHOD* BIO_s_mem()
    long BIO_get_mem_data(BIO*, char**)
    int BIO_free(BIO*)
    void BIO_set_data(BIO*, void*)
    void* BIO_get_data(BIO*)
    void BIO_set_init(BIO*, int)
    void BIO_set_retry_read(BIO*)
    void BIO_set_retry_write(BIO*)
    void BIO_clear_retry_flags(BIO*)

    # --- errors ---
    void ERR_clear_error()
    unsigned long ERR_peek_error()
    unsigned long ERR_peek_last_error()
    int ERR_GET_REASON(unsigned long)
    int ERR_GET_LIB(unsigned long)
    unsigned long ERR_PACK(int, int, int)
    enum:
        ERR_LIB_SSL
    const char* X509_verify_cert_error_string(long)
    const char* ERR_reason_error_string(unsigned long)

    # --- contexts ---
    uint64_t SSL_OP_NO_RENEGOTIATION
    uint64_t SSL_OP_NO_COMPRESSION
    uint64_t SSL_OP_CIPHER_SERVER_PREFERENCE
    uint64_t SSL_OP_PRIORITIZE_CHACHA
    uint64_t SSL_OP_NO_TICKET
    long SSL_MODE_ENABLE_PARTIAL_WRITE
    long SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
    long SSL_MODE_RELEASE_BUFFERS
    enum:
        SSL_SESS_CACHE_OFF, SSL_SESS_CACHE_CLIENT, SSL_SESS_CACHE_NO_INTERNAL
        SSL_VERIFY_NONE, SSL_VERIFY_PEER, SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        X509_V_FLAG_CRL_CHECK, X509_V_FLAG_CRL_CHECK_ALL, X509_V_FLAG_PARTIAL_CHAIN
    const SSL_METHOD* TLS_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD*)
    void SSL_CTX_free(SSL_CTX*)
    uint64_t SSL_CTX_set_options(SSL_CTX*, uint64_t)
    long SSL_CTX_set_mode(SSL_CTX*, long)
    int SSL_CTX_set_min_proto_version(SSL_CTX*, int)
    int SSL_CTX_set_max_proto_version(SSL_CTX*, int)
    int SSL_CTX_set_cipher_list(SSL_CTX*, const char*)
    int SSL_CTX_set_ciphersuites(SSL_CTX*, const char*)
    int SSL_CTX_set1_groups_list(SSL_CTX*, const char*)
    void SSL_CTX_set_read_ahead(SSL_CTX*, int)
    void SSL_CTX_set_default_read_buffer_len(SSL_CTX*, size_t)
    int SSL_CTX_set_num_tickets(SSL_CTX*, size_t)
    long SSL_CTX_set_session_cache_mode(SSL_CTX*, long)
    int SSL_CTX_set_session_id_context(SSL_CTX*, const unsigned char*, unsigned int)
    int SSL_CTX_use_certificate(SSL_CTX*, X509*)
    int SSL_CTX_use_PrivateKey(SSL_CTX*, EVP_PKEY*)
    int SSL_CTX_add1_chain_cert(SSL_CTX*, X509*)
    int SSL_CTX_select_current_cert(SSL_CTX*, X509*)
    int SSL_CTX_check_private_key(const SSL_CTX*)
    void SSL_CTX_set_verify(SSL_CTX*, int, void*)
    void SSL_CTX_set_verify_depth(SSL_CTX*, int)
    X509_STORE* SSL_CTX_get_cert_store(const SSL_CTX*)
    int SSL_CTX_add_client_CA(SSL_CTX*, X509*)
    int SSL_CTX_set_default_verify_paths(SSL_CTX*)
    int SSL_CTX_set_alpn_protos(SSL_CTX*, const unsigned char*, unsigned int)
    void SSL_CTX_set_alpn_select_cb(
        SSL_CTX*, int (*)(SSL*, const unsigned char**, unsigned char*, const unsigned char*,
                          unsigned int, void*) noexcept nogil, void*)
    void SSL_CTX_set_client_hello_cb(SSL_CTX*, int (*)(SSL*, int*, void*) noexcept nogil, void*)
    void SSL_CTX_set_keylog_callback(SSL_CTX*, void (*)(const SSL*, const char*) noexcept nogil)
    int SSL_CTX_set_tlsext_status_cb(SSL_CTX*, int (*)(SSL*, void*) noexcept nogil)
    int SSL_CTX_set_tlsext_status_arg(SSL_CTX*, void*)
    int SSL_CTX_set_tlsext_ticket_key_evp_cb(
        SSL_CTX*, int (*)(SSL*, unsigned char*, unsigned char*, EVP_CIPHER_CTX*, EVP_MAC_CTX*,
                          int) noexcept nogil)
    int SSL_CTX_set_session_ticket_cb(
        SSL_CTX*, int (*)(SSL*, void*) noexcept nogil,
        int (*)(SSL*, SSL_SESSION*, const unsigned char*, size_t, int, void*) noexcept nogil,
        void*)
    int SSL_CTX_set_ex_data(SSL_CTX*, int, void*)
    void* SSL_CTX_get_ex_data(const SSL_CTX*, int)
    int SSL_CTX_get_ex_new_index(long, void*, void*, void*, void*)
    int X509_STORE_add_cert(X509_STORE*, X509*)
    int X509_STORE_add_crl(X509_STORE*, X509_CRL*)
    int X509_STORE_set_flags(X509_STORE*, unsigned long)
    void* OPENSSL_malloc(size_t)

    # --- tickets ---
    const EVP_CIPHER* EVP_aes_256_cbc()
    int EVP_EncryptInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, void*, const unsigned char*,
                           const unsigned char*)
    int EVP_DecryptInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, void*, const unsigned char*,
                           const unsigned char*)
    int EVP_MAC_CTX_set_params(EVP_MAC_CTX*, const OSSL_PARAM*)
    OSSL_PARAM OSSL_PARAM_construct_octet_string(const char*, void*, size_t)
    OSSL_PARAM OSSL_PARAM_construct_utf8_string(const char*, char*, size_t)
    OSSL_PARAM OSSL_PARAM_construct_end()
    const char* OSSL_MAC_PARAM_KEY
    const char* OSSL_MAC_PARAM_DIGEST
    int RAND_bytes(unsigned char*, int)

    # --- certificates ---
    enum:
        NID_subject_alt_name, NID_commonName, NID_basic_constraints, NID_key_usage
        NID_ext_key_usage
        XN_FLAG_RFC2253
        MBSTRING_UTF8
        GEN_DNS, GEN_IPADD
        EVP_PKEY_EC, EVP_PKEY_RSA
    X509* PEM_read_bio_X509(
        BIO*, void*, int (*)(char*, int, int, void*) noexcept nogil, void*)
    EVP_PKEY* PEM_read_bio_PrivateKey(
        BIO*, void*, int (*)(char*, int, int, void*) noexcept nogil, void*)
    X509_CRL* PEM_read_bio_X509_CRL(
        BIO*, void*, int (*)(char*, int, int, void*) noexcept nogil, void*)
    int PEM_write_bio_X509(BIO*, X509*)
    int PEM_write_bio_PrivateKey(BIO*, EVP_PKEY*, const EVP_CIPHER*, unsigned char*, int, void*,
                                 void*)
    void X509_free(X509*)
    int X509_up_ref(X509*)
    void X509_CRL_free(X509_CRL*)
    void EVP_PKEY_free(EVP_PKEY*)
    int EVP_PKEY_up_ref(EVP_PKEY*)
    int EVP_PKEY_get_base_id(const EVP_PKEY*)
    int EVP_PKEY_get_bits(const EVP_PKEY*)
    const char* EVP_PKEY_get0_type_name(const EVP_PKEY*)
    EVP_PKEY* EVP_EC_gen(const char*)
    EVP_PKEY* X509_get0_pubkey(const X509*)
    int X509_check_private_key(const X509*, const EVP_PKEY*)
    const ASN1_TIME* X509_get0_notBefore(const X509*)
    const ASN1_TIME* X509_get0_notAfter(const X509*)
    ASN1_TIME* ASN1_TIME_set(ASN1_TIME*, long)
    int ASN1_TIME_diff(int*, int*, const ASN1_TIME*, const ASN1_TIME*)
    void ASN1_TIME_free(ASN1_TIME*)
    ASN1_TIME* X509_gmtime_adj(ASN1_TIME*, long)
    ASN1_TIME* X509_getm_notBefore(const X509*)
    ASN1_TIME* X509_getm_notAfter(const X509*)
    X509_NAME* X509_get_subject_name(const X509*)
    int X509_NAME_print_ex(BIO*, const X509_NAME*, int, unsigned long)
    int X509_NAME_get_text_by_NID(X509_NAME*, int, char*, int)
    int X509_NAME_add_entry_by_NID(X509_NAME*, int, int, const unsigned char*, int, int, int)
    int X509_digest(const X509*, const EVP_MD*, unsigned char*, unsigned int*)
    const EVP_MD* EVP_sha256()
    int EVP_Digest(const void*, size_t, unsigned char*, unsigned int*, const EVP_MD*, void*)
    void* X509_get_ext_d2i(const X509*, int, int*, int*)
    int sk_GENERAL_NAME_num(const void*)
    void* sk_GENERAL_NAME_value(const void*, int)
    void GENERAL_NAMES_free(GENERAL_NAMES*)
    void* GENERAL_NAME_get0_value(const void*, int*)
    int ASN1_STRING_length(const ASN1_STRING*)
    const unsigned char* ASN1_STRING_get0_data(const ASN1_STRING*)
    X509* X509_new()
    int X509_set_version(X509*, long)
    ASN1_INTEGER* X509_get_serialNumber(X509*)
    int ASN1_INTEGER_set_uint64(ASN1_INTEGER*, uint64_t)
    int X509_set_issuer_name(X509*, X509_NAME*)
    int X509_set_pubkey(X509*, EVP_PKEY*)
    int X509_sign(X509*, EVP_PKEY*, const EVP_MD*)
    X509_EXTENSION* X509V3_EXT_conf_nid(void*, void*, int, const char*)
    int X509_add_ext(X509*, X509_EXTENSION*, int)
    void X509_EXTENSION_free(X509_EXTENSION*)
    const char* OpenSSL_version(int)
