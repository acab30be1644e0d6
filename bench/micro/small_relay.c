/* A bare TCP relay of small messages: what does the order of reads and writes in a turn cost?
 *
 *     small_relay LISTEN_PORT SERVER_PORT at-once|server-first|deferred
 *
 * at-once: each read is followed by its write. server-first: streams of clients are served before
 * streams of servers. deferred: all reads of a turn come before all its writes, so that the other
 * processes are woken once by many messages.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FD_MAX 4096
#define MESSAGE_BYTES_MAX 4096
#define EVENTS_PER_TURN 256

struct side {
    int fd;
    int from_server;
    struct side *other;
    size_t have;
    char bytes[MESSAGE_BYTES_MAX];
};

static struct side *sides[FD_MAX];
static int epoll_fd;
static struct sockaddr_in server;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct side *add_side(int fd, int from_server) {
    struct side *s = calloc(1, sizeof *s);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    int one = 1;
    if (s == NULL || fd >= FD_MAX)
        fail("too many connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    s->fd = fd;
    s->from_server = from_server;
    sides[fd] = s;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
    return s;
}

static void accept_one(int listener) {
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (client < 0)
        return;
    int up = socket(AF_INET, SOCK_STREAM, 0);
    if (up < 0 || connect(up, (struct sockaddr *)&server, sizeof server) < 0)
        fail("connect");
    struct side *a = add_side(client, 0), *b = add_side(up, 1);
    a->other = b;
    b->other = a;
}

static void end(struct side *s) {
    struct side *both[2] = {s, s->other};
    for (int i = 0; i < 2; i++) {
        sides[both[i]->fd] = NULL;
        close(both[i]->fd);
        free(both[i]);
    }
}

static int take(struct side *s) {
    ssize_t n = recv(s->fd, s->bytes, sizeof s->bytes, MSG_DONTWAIT);
    if (n > 0)
        s->have = (size_t)n;
    return n > 0 ? 1 : n < 0 && errno == EAGAIN ? 0 : -1;
}

static void give(struct side *s) {
    if (send(s->other->fd, s->bytes, s->have, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)s->have)
        end(s); /* a benchmark of small messages never fills a socket's buffer */
    else
        s->have = 0;
}

static void relay(int fd) {
    struct side *s = sides[fd];
    if (s == NULL)
        return;
    int taken = take(s);
    if (taken < 0)
        end(s);
    else if (taken > 0)
        give(s);
}

static void take_turn(int listener, char order) {
    struct epoll_event events[EVENTS_PER_TURN];
    int count = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
    for (int pass = 0; pass < (order == 'a' ? 1 : 2); pass++) {
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            struct side *s = sides[fd];
            if (fd == listener) {
                if (pass == 0)
                    accept_one(listener);
            } else if (s == NULL) {
                continue;
            } else if (order == 'd') {
                if (pass == 0 && take(s) < 0)
                    end(s);
                else if (pass == 1 && s->have > 0)
                    give(s);
            } else if (order == 'a' || s->from_server == pass) {
                relay(fd);
            }
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fputs("usage: small_relay LISTEN_PORT SERVER_PORT at-once|server-first|deferred\n", stderr);
        return 2;
    }
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = here;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    epoll_fd = epoll_create1(0);
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 1024) < 0)
        fail("bind");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;)
        take_turn(listener, argv[3][0]);
}
