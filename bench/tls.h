/* The client's side of TLS for load.c, by OpenSSL. It offers TLS 1.3, TLS_AES_128_GCM_SHA256,
 * X25519 and http/1.1 and nothing else, so that every balancer does the same work whatever it would
 * choose by itself; and it takes no handshake for another one than was asked for. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define TLS_NAME "bench.test"
#define TLS_SUITE "TLS_AES_128_GCM_SHA256"
#define TLS_GROUP "X25519"
#define TLS_SIGNATURE "ECDSA+SHA256"
#define TLS_ALPN "http/1.1"

/* None; a full handshake each; each with the ticket of the one before on the same connection. */
enum tls_kind { TLS_NONE, TLS_FULL, TLS_RESUMED };
enum tls_result { TLS_WAIT, TLS_DONE, TLS_FAILED, TLS_OTHER_TERMS, TLS_OTHER_RESUMPTION };

struct tls {
    SSL *ssl;
    SSL_SESSION *ticket;
    unsigned handshakes, tickets; /* tickets: of this handshake */
};

static enum tls_kind tls_kind;
static SSL_CTX *tls_context;

static void tls_fail(const char *what) {
    fprintf(stderr, "%s: ", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int tls_on_ticket(SSL *ssl, SSL_SESSION *ticket) {
    struct tls *t = SSL_get_app_data(ssl);
    t->tickets++;
    if (tls_kind != TLS_RESUMED)
        return 0;
    SSL_SESSION_free(t->ticket);
    t->ticket = ticket;
    return 1;
}

/* `certificate` is the file with the one certificate that balancers must have. */
static void tls_prepare(enum tls_kind kind, const char *certificate) {
    static const unsigned char alpn[] = "\x08" TLS_ALPN;
    tls_kind = kind;
    tls_context = SSL_CTX_new(TLS_client_method());
    if (tls_context == NULL || !SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(tls_context, TLS_SUITE) ||
        !SSL_CTX_set1_groups_list(tls_context, TLS_GROUP) ||
        !SSL_CTX_set1_sigalgs_list(tls_context, TLS_SIGNATURE) ||
        SSL_CTX_set_alpn_protos(tls_context, alpn, sizeof alpn - 1) != 0 ||
        !SSL_CTX_load_verify_locations(tls_context, certificate, NULL))
        tls_fail(certificate);
    SSL_CTX_set_verify(tls_context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls_context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls_context, 1);
    SSL_CTX_set_default_read_buffer_len(tls_context, 64 * 1024);
    SSL_CTX_set_session_cache_mode(tls_context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls_context, tls_on_ticket);
}

static void tls_begin(struct tls *t, int fd) {
    t->ssl = SSL_new(tls_context);
    t->tickets = 0;
    if (t->ssl == NULL || !SSL_set_fd(t->ssl, fd) ||
        !SSL_set_tlsext_host_name(t->ssl, TLS_NAME) || !SSL_set1_host(t->ssl, TLS_NAME) ||
        (t->ticket != NULL && !SSL_set_session(t->ssl, t->ticket)))
        tls_fail("a new connection");
    SSL_set_app_data(t->ssl, t);
    SSL_set_connect_state(t->ssl);
}

static void tls_end(struct tls *t) {
    if (t->ssl == NULL)
        return;
    /* Or else OpenSSL would hold the ticket for a broken connection's, and not offer it again. */
    SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    t->ssl = NULL;
}

static int tls_must_wait(struct tls *t, int returned) {
    int error = SSL_get_error(t->ssl, returned);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

static enum tls_result tls_handshake(struct tls *t) {
    const unsigned char *protocol;
    unsigned length;
    ERR_clear_error();
    int returned = SSL_do_handshake(t->ssl);
    if (returned != 1 && tls_must_wait(t, returned))
        return TLS_WAIT;
    if (returned != 1) {
        ERR_print_errors_fp(stderr);
        return TLS_FAILED;
    }
    SSL_get0_alpn_selected(t->ssl, &protocol, &length);
    if (SSL_version(t->ssl) != TLS1_3_VERSION ||
        strcmp(SSL_get_cipher_name(t->ssl), TLS_SUITE) != 0 ||
        length != sizeof TLS_ALPN - 1 || memcmp(protocol, TLS_ALPN, length) != 0)
        return TLS_OTHER_TERMS;
    /* The first on a connection has no ticket yet. */
    int wanted = tls_kind == TLS_RESUMED && t->handshakes > 0;
    t->handshakes++;
    return SSL_session_reused(t->ssl) == wanted ? TLS_DONE : TLS_OTHER_RESUMPTION;
}

/* As recv: 0 is the end of the stream below, which only counts after a close_notify. */
static ssize_t tls_receive(struct tls *t, void *to, size_t length) {
    ERR_clear_error();
    int n = SSL_read(t->ssl, to, (int)length);
    if (n > 0)
        return n;
    int waits = tls_must_wait(t, n);
    if (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN)
        return recv(SSL_get_fd(t->ssl), to, length, 0);
    errno = waits ? EAGAIN : EPROTO;
    return -1;
}

static ssize_t tls_send(struct tls *t, const void *bytes, size_t length) {
    ERR_clear_error();
    return SSL_write(t->ssl, bytes, (int)length);
}

#endif
