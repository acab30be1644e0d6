/* A light HTTP/1.1 origin for the benchmarks: one thread, edge-triggered epoll, any number of
 * listening ports on 127.0.0.1.
 *
 *     origin PORT [PORT ...]
 *
 * GET /small answers 101 bytes, /page as many with the header fields of a web application, /big
 * 1 MiB, /head the request's own head. GET /echo upgrades to a WebSocket that echoes short text
 * frames. Anything else is a 404. Keep-alive, pipelining and "Connection: close" work. Bodies are a
 * pattern that load.c knows, so that it can compare bytes. Prints "ready" once it listens.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "body.h"
#include "websocket.h"

#define FD_MAX 20480
#define REQUEST_BYTES_MAX 4096
#define HEAD_BYTES_MAX 1024
#define ACCEPTS_PER_WAKE 64
#define EVENTS_PER_TURN 256

struct response {
    char *bytes;
    size_t length;
};

struct connection {
    const struct response *sending;
    size_t sent;
    size_t have;
    int listener;
    int closing;
    int upgraded;
    struct response own; /* an answer that is made for this request alone, in `answer` */
    char request[REQUEST_BYTES_MAX];
    char answer[REQUEST_BYTES_MAX + HEAD_BYTES_MAX];
};

/* With Content-Type and Content-Length: 12 fields, as a web application sends them. */
static const char page_fields[] =
    "Date: Mon, 23 Nov 2026 12:00:00 GMT\r\n"
    "Server: origin/1.0\r\n"
    "Cache-Control: private, max-age=0, must-revalidate\r\n"
    "ETag: W/\"5e15153d-1f40\"\r\n"
    "Last-Modified: Mon, 23 Nov 2026 11:30:00 GMT\r\n"
    "Vary: Accept-Encoding, Cookie\r\n"
    "Set-Cookie: session=0f8fad5bd9cb469fa16570867728950e; Path=/; HttpOnly; SameSite=Lax\r\n"
    "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n";

static struct connection *connections[FD_MAX];
static char listening[FD_MAX];
static struct response small_keep, small_close, page_keep, page_close, big_keep, big_close, missing;
static int epoll_fd;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int make_head(char *head, const char *status, const char *fields, size_t body_bytes,
                     int closing) {
    return snprintf(head, HEAD_BYTES_MAX,
                    "HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\n"
                    "Content-Length: %zu\r\n%s%s\r\n",
                    status, body_bytes, fields, closing ? "Connection: close\r\n" : "");
}

static struct response make_response(const char *status, const char *fields, size_t body_bytes,
                                     int closing) {
    struct response made;
    char head[HEAD_BYTES_MAX];
    int head_bytes = make_head(head, status, fields, body_bytes, closing);
    made.length = (size_t)head_bytes + body_bytes;
    made.bytes = malloc(made.length);
    if (made.bytes == NULL)
        fail("malloc");
    memcpy(made.bytes, head, (size_t)head_bytes);
    body_fill((unsigned char *)made.bytes + head_bytes, body_bytes);
    return made;
}

static void watch(int fd, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static void listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || fd >= FD_MAX)
        fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        fail("bind");
    listening[fd] = 1;
    watch(fd, EPOLLIN);
}

static void accept_some(int listener) {
    for (int i = 0; i < ACCEPTS_PER_WAKE; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0)
            return;
        if (fd >= FD_MAX) {
            close(fd);
            continue;
        }
        connections[fd] = malloc(sizeof *connections[fd]);
        if (connections[fd] == NULL)
            fail("malloc");
        memset(connections[fd], 0, offsetof(struct connection, request));
        watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
    }
}

static void end(int fd) {
    free(connections[fd]);
    connections[fd] = NULL;
    close(fd);
}

/* Answers with the request's own head, which ends at `stop`. */
static const struct response *answer_with_head(struct connection *c, const char *stop) {
    size_t body_bytes = (size_t)(stop - c->request);
    int head_bytes = make_head(c->answer, "200 OK", "", body_bytes, c->closing);
    memcpy(c->answer + head_bytes, c->request, body_bytes);
    c->own = (struct response){c->answer, (size_t)head_bytes + body_bytes};
    return &c->own;
}

static const struct response *upgrade(struct connection *c) {
    static const char field[] = "\r\nsec-websocket-key: ";
    char *key = strcasestr(c->request, field), accept[WS_ACCEPT_BYTES + 1];
    if (key == NULL || strcasestr(c->request, "\r\nupgrade: websocket\r\n") == NULL ||
        strcspn(key + sizeof field - 1, "\r") != WS_KEY_BYTES)
        return &missing;
    ws_accept(key + sizeof field - 1, accept);
    int length = snprintf(c->answer, sizeof c->answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                          "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                          accept);
    c->own = (struct response){c->answer, (size_t)length};
    c->upgraded = 1;
    return &c->own;
}

static void forget(struct connection *c, size_t used) {
    c->sent = 0;
    c->have -= used;
    memmove(c->request, c->request + used, c->have);
}

/* Takes the first whole request out of the buffer and starts its response. 0: there is none. */
static int take_request(struct connection *c) {
    char *stop = memmem(c->request, c->have, "\r\n\r\n", 4);
    if (stop == NULL)
        return 0;
    stop[2] = 0; /* the last field keeps its end of line */
    c->closing = strcasestr(c->request, "\r\nconnection: close") != NULL;
    if (strncmp(c->request, "GET /small ", 11) == 0)
        c->sending = c->closing ? &small_close : &small_keep;
    else if (strncmp(c->request, "GET /page ", 10) == 0)
        c->sending = c->closing ? &page_close : &page_keep;
    else if (strncmp(c->request, "GET /big ", 9) == 0)
        c->sending = c->closing ? &big_close : &big_keep;
    else if (strncmp(c->request, "GET /head ", 10) == 0)
        c->sending = answer_with_head(c, stop + 2);
    else if (strncmp(c->request, "GET /echo ", 10) == 0)
        c->sending = upgrade(c);
    else
        c->sending = &missing;
    forget(c, (size_t)(stop + 4 - c->request));
    return 1;
}

/* Takes the first whole frame and starts its echo. 0: there is none; -1: it isn't a short text. */
static int take_frame(struct connection *c) {
    unsigned char *frame = (unsigned char *)c->request, *echo = (unsigned char *)c->answer;
    size_t before = WS_HEAD_BYTES + WS_MASK_BYTES;
    if (c->have < before)
        return 0;
    size_t length = frame[1] & ~WS_MASKED;
    if (frame[0] != WS_FINAL_TEXT || !(frame[1] & WS_MASKED) || length > WS_TEXT_MAX)
        return -1;
    if (c->have < before + length)
        return 0;
    echo[0] = WS_FINAL_TEXT;
    echo[1] = (unsigned char)length;
    memcpy(echo + WS_HEAD_BYTES, frame + before, length);
    ws_mask(echo + WS_HEAD_BYTES, length, frame + WS_HEAD_BYTES);
    c->own = (struct response){c->answer, WS_HEAD_BYTES + length};
    c->sending = &c->own;
    forget(c, before + length);
    return 1;
}

/* Sends what is left of the response: 1 all sent, 0 wait until writable, -1 the peer is gone. */
static int send_rest(int fd, struct connection *c) {
    while (c->sent < c->sending->length) {
        const char *rest = c->sending->bytes + c->sent;
        ssize_t n = send(fd, rest, c->sending->length - c->sent, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        c->sent += (size_t)n;
    }
    c->sending = NULL;
    return 1;
}

static void serve(int fd) {
    struct connection *c = connections[fd];
    for (;;) {
        int taken = c->sending != NULL ? 1 : c->upgraded ? take_frame(c) : take_request(c);
        if (taken < 0) {
            end(fd);
            return;
        }
        if (taken) {
            int sent = send_rest(fd, c);
            if (sent == 0)
                return;
            if (sent < 0 || c->closing) {
                end(fd);
                return;
            }
            if (c->have > 0)
                continue;
        }
        size_t room = REQUEST_BYTES_MAX - 1 - c->have;
        ssize_t n = room > 0 ? recv(fd, c->request + c->have, room, 0) : 0;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(fd);
            return;
        }
        c->have += (size_t)n;
        c->request[c->have] = 0;
    }
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS_PER_TURN];
    signal(SIGPIPE, SIG_IGN);
    small_keep = make_response("200 OK", "", SMALL_BYTES, 0);
    small_close = make_response("200 OK", "", SMALL_BYTES, 1);
    page_keep = make_response("200 OK", page_fields, SMALL_BYTES, 0);
    page_close = make_response("200 OK", page_fields, SMALL_BYTES, 1);
    big_keep = make_response("200 OK", "", BIG_BYTES, 0);
    big_close = make_response("200 OK", "", BIG_BYTES, 1);
    missing = make_response("404 Not Found", "", 0, 0);
    epoll_fd = epoll_create1(0);
    for (int i = 1; i < argc; i++)
        listen_on(atoi(argv[i]));
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (listening[fd])
                accept_some(fd);
            else if (connections[fd] != NULL)
                serve(fd);
        }
    }
}
