/* A light HTTP/1.1 origin for the benchmarks: one thread, edge-triggered epoll, any number of
 * listening ports on 127.0.0.1.
 *
 *     origin PORT [PORT ...]
 *
 * GET /small answers 101 bytes, GET /big 1 MiB; anything else is a 404. Keep-alive, pipelining and
 * "Connection: close" work. Bodies are a pattern that load.c knows, so that it can compare bytes.
 * Prints "ready" once it listens.
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

#define FD_MAX 20480
#define REQUEST_BYTES_MAX 4096
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
    char request[REQUEST_BYTES_MAX];
};

static struct connection *connections[FD_MAX];
static char listening[FD_MAX];
static struct response small_keep, small_close, big_keep, big_close, missing;
static int epoll_fd;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct response make_response(const char *status, size_t body_bytes, int closing) {
    struct response made;
    char head[256];
    int head_bytes = snprintf(head, sizeof head,
                              "HTTP/1.1 %s\r\nContent-Type: application/octet-stream\r\n"
                              "Content-Length: %zu\r\n%s\r\n",
                              status, body_bytes, closing ? "Connection: close\r\n" : "");
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

/* Takes the first whole request out of the buffer and starts its response. 0: there is none. */
static int take_request(struct connection *c) {
    char *stop = memmem(c->request, c->have, "\r\n\r\n", 4);
    if (stop == NULL)
        return 0;
    size_t used = (size_t)(stop + 4 - c->request);
    *stop = 0;
    c->closing = strcasestr(c->request, "\r\nconnection: close") != NULL;
    if (strncmp(c->request, "GET /small ", 11) == 0)
        c->sending = c->closing ? &small_close : &small_keep;
    else if (strncmp(c->request, "GET /big ", 9) == 0)
        c->sending = c->closing ? &big_close : &big_keep;
    else
        c->sending = &missing;
    c->sent = 0;
    c->have -= used;
    memmove(c->request, c->request + used, c->have);
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
        if (c->sending != NULL || take_request(c)) {
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
    small_keep = make_response("200 OK", SMALL_BYTES, 0);
    small_close = make_response("200 OK", SMALL_BYTES, 1);
    big_keep = make_response("200 OK", BIG_BYTES, 0);
    big_close = make_response("200 OK", BIG_BYTES, 1);
    missing = make_response("404 Not Found", 0, 0);
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
