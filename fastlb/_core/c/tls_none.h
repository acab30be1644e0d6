/* In a build without OpenSSL: types that nobody makes one of, and calls that nobody comes to, since
 * tables/certificates refuses before. One line for each that ext/openssl.pxd has. */
typedef struct SSL SSL;
typedef struct SSL_CTX SSL_CTX;
typedef struct SSL_METHOD SSL_METHOD;
typedef struct SSL_CIPHER SSL_CIPHER;
typedef struct SSL_SESSION SSL_SESSION;
typedef struct BIO BIO;
typedef struct BIO_METHOD BIO_METHOD;
typedef struct X509 X509;
typedef struct X509_CRL X509_CRL;
typedef struct X509_NAME X509_NAME;
typedef struct X509_STORE X509_STORE;
typedef struct X509_STORE_CTX X509_STORE_CTX;
typedef struct X509_VERIFY_PARAM X509_VERIFY_PARAM;
typedef struct X509_EXTENSION X509_EXTENSION;
typedef struct ASN1_TIME ASN1_TIME;
typedef struct ASN1_STRING ASN1_STRING;
typedef struct ASN1_INTEGER ASN1_INTEGER;
typedef struct EVP_PKEY EVP_PKEY;
typedef struct EVP_MD EVP_MD;
typedef struct EVP_CIPHER EVP_CIPHER;
typedef struct EVP_CIPHER_CTX EVP_CIPHER_CTX;
typedef struct EVP_MAC_CTX EVP_MAC_CTX;
typedef struct GENERAL_NAMES GENERAL_NAMES;
typedef struct OSSL_PARAM { int none; } OSSL_PARAM;
#define FASTLB_HAS_TLS 0
#define SSL_ERROR_SSL 1
#define SSL_ERROR_WANT_READ 2
#define SSL_ERROR_WANT_WRITE 3
#define SSL_ERROR_SYSCALL 4
#define SSL_ERROR_ZERO_RETURN 5
#define SSL_CLIENT_HELLO_SUCCESS 6
#define SSL_CLIENT_HELLO_ERROR 7
#define SSL_TLSEXT_ERR_OK 8
#define SSL_TLSEXT_ERR_ALERT_FATAL 9
#define SSL_TLSEXT_ERR_NOACK 10
#define SSL_AD_UNRECOGNIZED_NAME 11
#define SSL_AD_INTERNAL_ERROR 12
#define TLSEXT_TYPE_server_name 13
#define TLSEXT_STATUSTYPE_ocsp 14
#define SSL_SENT_SHUTDOWN 15
#define SSL_R_HTTP_REQUEST 16
#define SSL_R_CERTIFICATE_VERIFY_FAILED 18
#define SSL_R_HTTPS_PROXY_REQUEST 17
#define BIO_CTRL_FLUSH 18
#define BIO_TYPE_SOURCE_SINK 19
#define TLS1_2_VERSION 20
#define TLS1_3_VERSION 21
#define X509_V_OK 22
#define SSL_SESS_CACHE_OFF 23
#define SSL_SESS_CACHE_CLIENT 24
#define SSL_SESS_CACHE_NO_INTERNAL 25
#define SSL_VERIFY_NONE 26
#define SSL_VERIFY_PEER 27
#define SSL_VERIFY_FAIL_IF_NO_PEER_CERT 28
#define X509_V_FLAG_CRL_CHECK 29
#define X509_V_FLAG_CRL_CHECK_ALL 30
#define X509_V_FLAG_PARTIAL_CHAIN 31
#define NID_subject_alt_name 32
#define NID_commonName 33
#define NID_basic_constraints 34
#define NID_key_usage 35
#define NID_ext_key_usage 36
#define XN_FLAG_RFC2253 37
#define MBSTRING_UTF8 38
#define GEN_DNS 39
#define GEN_IPADD 40
#define EVP_PKEY_EC 41
#define EVP_PKEY_RSA 42
#define SSL_OP_NO_RENEGOTIATION 43
#define SSL_OP_NO_COMPRESSION 44
#define SSL_OP_CIPHER_SERVER_PREFERENCE 45
#define SSL_OP_PRIORITIZE_CHACHA 46
#define SSL_OP_NO_TICKET 47
#define SSL_MODE_ENABLE_PARTIAL_WRITE 48
#define SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER 49
#define SSL_MODE_RELEASE_BUFFERS 50
#define TLSEXT_NAMETYPE_host_name 51
#define SSL_TICKET_SUCCESS 52
#define SSL_TICKET_SUCCESS_RENEW 53
#define SSL_TICKET_RETURN_IGNORE_RENEW 54
#define SSL_TICKET_RETURN_USE 55
#define SSL_TICKET_RETURN_USE_RENEW 56
#define OSSL_MAC_PARAM_KEY ""
#define OSSL_MAC_PARAM_DIGEST ""
#define SSL_new(...) ((SSL*)0)
#define SSL_free(...) ((void)0)
#define SSL_set_bio(...) ((void)0)
#define SSL_get_rbio(...) ((BIO*)0)
#define SSL_set_accept_state(...) ((void)0)
#define SSL_set_connect_state(...) ((void)0)
#define SSL_do_handshake(...) ((int)0)
#define SSL_read(...) ((int)0)
#define SSL_peek(...) ((int)0)
#define SSL_write(...) ((int)0)
#define SSL_shutdown(...) ((int)0)
#define SSL_get_shutdown(...) ((int)0)
#define SSL_is_init_finished(...) ((int)0)
#define SSL_get_error(...) ((int)0)
#define SSL_has_pending(...) ((int)0)
#define SSL_session_reused(...) ((int)0)
#define SSL_version(...) ((int)0)
#define SSL_get_version(...) ((const char*)0)
#define SSL_get_current_cipher(...) ((const SSL_CIPHER*)0)
#define SSL_CIPHER_get_name(...) ((const char*)0)
#define SSL_get0_alpn_selected(...) ((void)0)
#define SSL_get0_peer_certificate(...) ((X509*)0)
#define SSL_get_certificate(...) ((X509*)0)
#define SSL_get_verify_result(...) ((long)0)
#define SSL_get_verify_mode(...) ((int)0)
#define SSL_get_servername(...) ((const char*)0)
#define SSL_SESSION_set1_hostname(...) ((int)0)
#define SSL_set_SSL_CTX(...) ((SSL_CTX*)0)
#define SSL_get_SSL_CTX(...) ((SSL_CTX*)0)
#define SSL_client_hello_get0_ext(...) ((int)0)
#define SSL_set_session_id_context(...) ((int)0)
#define SSL_set1_host(...) ((int)0)
#define SSL_set_tlsext_host_name(...) ((int)0)
#define SSL_get0_param(...) ((X509_VERIFY_PARAM*)0)
#define X509_VERIFY_PARAM_set1_ip_asc(...) ((int)0)
#define SSL_set_tlsext_status_ocsp_resp(...) ((long)0)
#define SSL_set_ex_data(...) ((int)0)
#define SSL_get_ex_data(...) ((void*)0)
#define SSL_get_ex_new_index(...) ((int)0)
#define BIO_meth_new(...) ((BIO_METHOD*)0)
#define BIO_meth_set_write(...) ((int)0)
#define BIO_meth_set_read(...) ((int)0)
#define BIO_meth_set_ctrl(...) ((int)0)
#define BIO_meth_set_destroy(...) ((int)0)
#define BIO_get_new_index(...) ((int)0)
#define BIO_new(...) ((BIO*)0)
#define BIO_new_mem_buf(...) ((BIO*)0)
#define BIO_s_mem(...) ((const BIO_METHOD*)0)
#define BIO_get_mem_data(...) ((long)0)
#define BIO_free(...) ((int)0)
#define BIO_set_data(...) ((void)0)
#define BIO_get_data(...) ((void*)0)
#define BIO_set_init(...) ((void)0)
#define BIO_set_retry_read(...) ((void)0)
#define BIO_set_retry_write(...) ((void)0)
#define BIO_clear_retry_flags(...) ((void)0)
#define ERR_clear_error(...) ((void)0)
#define ERR_peek_error(...) ((unsigned long)0)
#define ERR_peek_last_error(...) ((unsigned long)0)
#define ERR_GET_REASON(...) ((int)0)
#define ERR_reason_error_string(...) ((const char*)0)
#define ERR_GET_LIB(...) 0
#define ERR_PACK(...) ((unsigned long)0)
#define ERR_LIB_SSL 20
#define X509_verify_cert_error_string(...) ""
#define TLS_method(...) ((const SSL_METHOD*)0)
#define SSL_CTX_new(...) ((SSL_CTX*)0)
#define SSL_CTX_free(...) ((void)0)
#define SSL_CTX_set_options(...) ((uint64_t)0)
#define SSL_CTX_set_mode(...) ((long)0)
#define SSL_CTX_set_min_proto_version(...) ((int)0)
#define SSL_CTX_set_max_proto_version(...) ((int)0)
#define SSL_CTX_set_cipher_list(...) ((int)0)
#define SSL_CTX_set_ciphersuites(...) ((int)0)
#define SSL_CTX_set1_groups_list(...) ((int)0)
#define SSL_CTX_set_read_ahead(...) ((void)0)
#define SSL_CTX_set_default_read_buffer_len(...) ((void)0)
#define SSL_CTX_set_num_tickets(...) ((int)0)
#define SSL_CTX_set_session_cache_mode(...) ((long)0)
#define SSL_CTX_set_session_id_context(...) ((int)0)
#define SSL_CTX_use_certificate(...) ((int)0)
#define SSL_CTX_use_PrivateKey(...) ((int)0)
#define SSL_CTX_add1_chain_cert(...) ((int)0)
#define SSL_CTX_select_current_cert(...) ((int)0)
#define SSL_CTX_check_private_key(...) ((int)0)
#define SSL_CTX_set_verify(...) ((void)0)
#define SSL_CTX_set_verify_depth(...) ((void)0)
#define SSL_CTX_get_cert_store(...) ((X509_STORE*)0)
#define SSL_CTX_add_client_CA(...) ((int)0)
#define SSL_CTX_set_default_verify_paths(...) ((int)0)
#define SSL_CTX_set_alpn_protos(...) ((int)0)
#define SSL_CTX_set_alpn_select_cb(...) ((void)0)
#define SSL_CTX_set_client_hello_cb(...) ((void)0)
#define SSL_CTX_set_keylog_callback(...) ((void)0)
#define SSL_CTX_set_tlsext_status_cb(...) ((int)0)
#define SSL_CTX_set_tlsext_status_arg(...) ((int)0)
#define SSL_CTX_set_tlsext_ticket_key_evp_cb(...) ((int)0)
#define SSL_CTX_set_session_ticket_cb(...) ((int)0)
#define SSL_CTX_set_ex_data(...) ((int)0)
#define SSL_CTX_get_ex_data(...) ((void*)0)
#define SSL_CTX_get_ex_new_index(...) ((int)0)
#define X509_STORE_add_cert(...) ((int)0)
#define X509_STORE_add_crl(...) ((int)0)
#define X509_STORE_set_flags(...) ((int)0)
#define OPENSSL_malloc(...) ((void*)0)
#define EVP_aes_256_cbc(...) ((const EVP_CIPHER*)0)
#define EVP_EncryptInit_ex(...) ((int)0)
#define EVP_DecryptInit_ex(...) ((int)0)
#define EVP_MAC_CTX_set_params(...) ((int)0)
#define OSSL_PARAM_construct_octet_string(...) ((OSSL_PARAM){0})
#define OSSL_PARAM_construct_utf8_string(...) ((OSSL_PARAM){0})
#define OSSL_PARAM_construct_end(...) ((OSSL_PARAM){0})
#define RAND_bytes(...) ((int)0)
#define PEM_read_bio_X509(...) ((X509*)0)
#define PEM_read_bio_PrivateKey(...) ((EVP_PKEY*)0)
#define PEM_read_bio_X509_CRL(...) ((X509_CRL*)0)
#define PEM_write_bio_X509(...) ((int)0)
#define PEM_write_bio_PrivateKey(...) ((int)0)
#define X509_free(...) ((void)0)
#define X509_up_ref(...) ((int)0)
#define X509_CRL_free(...) ((void)0)
#define EVP_PKEY_free(...) ((void)0)
#define EVP_PKEY_up_ref(...) ((int)0)
#define EVP_PKEY_get_base_id(...) ((int)0)
#define EVP_PKEY_get_bits(...) ((int)0)
#define EVP_PKEY_get0_type_name(...) ((const char*)0)
#define EVP_EC_gen(...) ((EVP_PKEY*)0)
#define X509_get0_pubkey(...) ((EVP_PKEY*)0)
#define X509_check_private_key(...) ((int)0)
#define X509_get0_notBefore(...) ((const ASN1_TIME*)0)
#define X509_get0_notAfter(...) ((const ASN1_TIME*)0)
#define ASN1_TIME_set(...) ((ASN1_TIME*)0)
#define ASN1_TIME_diff(...) ((int)0)
#define ASN1_TIME_free(...) ((void)0)
#define X509_gmtime_adj(...) ((ASN1_TIME*)0)
#define X509_getm_notBefore(...) ((ASN1_TIME*)0)
#define X509_getm_notAfter(...) ((ASN1_TIME*)0)
#define X509_get_subject_name(...) ((X509_NAME*)0)
#define X509_NAME_print_ex(...) ((int)0)
#define X509_NAME_get_text_by_NID(...) ((int)0)
#define X509_NAME_add_entry_by_NID(...) ((int)0)
#define X509_digest(...) ((int)0)
#define EVP_sha256(...) ((const EVP_MD*)0)
#define EVP_Digest(...) ((int)0)
#define X509_get_ext_d2i(...) ((void*)0)
#define sk_GENERAL_NAME_num(...) ((int)0)
#define sk_GENERAL_NAME_value(...) ((void*)0)
#define GENERAL_NAMES_free(...) ((void)0)
#define GENERAL_NAME_get0_value(...) ((void*)0)
#define ASN1_STRING_length(...) ((int)0)
#define ASN1_STRING_get0_data(...) ((const unsigned char*)0)
#define X509_new(...) ((X509*)0)
#define X509_set_version(...) ((int)0)
#define X509_get_serialNumber(...) ((ASN1_INTEGER*)0)
#define ASN1_INTEGER_set_uint64(...) ((int)0)
#define X509_set_issuer_name(...) ((int)0)
#define X509_set_pubkey(...) ((int)0)
#define X509_sign(...) ((int)0)
#define X509V3_EXT_conf_nid(...) ((X509_EXTENSION*)0)
#define X509_add_ext(...) ((int)0)
#define X509_EXTENSION_free(...) ((void)0)
#define OpenSSL_version(...) ((const char*)0)
