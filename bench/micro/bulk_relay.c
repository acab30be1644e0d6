/* A bare TCP relay with a knob for each idea of how bulk could be cheap. bulk_relay.py runs its
 * variants beside each other and beside HAProxy; this program only relays, on 127.0.0.1.
 *
 *     bulk_relay LISTEN_PORT SERVER_PORT [KEY=VALUE ...]
 *
 * copy=BYTES       recv and send through one buffer of that size (65536 if nothing is said)
 * splice=BYTES     answers by splice(2) through a pipe of that size instead, a pipe for each relay
 * reads=N          at most N reads of a stream in a turn, then the other streams
 * rcvbuf=BYTES     SO_RCVBUF towards the server
 * sndbuf=BYTES     SO_SNDBUF towards the client
 * notsent=BYTES    TCP_NOTSENT_LOWAT towards the client
 * gather_us=US     once an answer is bulk, read it at most each US microseconds ...
 * gather=BYTES     ... unless so much has gathered
 * more=1           MSG_MORE or SPLICE_F_MORE while reads come back full
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK)
#define FD_MAX 256
#define EVENTS_PER_TURN 256
#define READS_UNLIMITED (1 << 30)
#define BULK_AFTER_BYTES (256 * 1024)

struct side {
    int fd;
    int readable, writable;
    int from_server;
    int ending; /* an end was announced: only a read of 0 has drained it */
    int parked; /* waits for its gathering time */
    struct side *other;
    char *held; /* what a short send left over */
    size_t held_from, held_to;
    int pipe[2];
    size_t in_pipe;
    uint64_t relayed, read_at_us;
};

static struct side *sides[FD_MAX];
static char *buffer;
static int copy_bytes = 65536, splice_bytes;
static int reads_max = READS_UNLIMITED, rcvbuf, sndbuf, notsent, gather_us, gather_bytes, more;
static int epoll_fd, parked_count, unfinished;
static struct sockaddr_in server;
static uint64_t now_us;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t clock_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void set(int fd, int level, int name, int value) {
    if (setsockopt(fd, level, name, &value, sizeof value) < 0)
        fail("setsockopt");
}

static struct side *add_side(int fd, int from_server) {
    struct side *s = calloc(1, sizeof *s);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    s->fd = fd;
    s->from_server = from_server;
    if (splice_bytes && from_server) {
        if (pipe2(s->pipe, O_NONBLOCK) < 0 || fcntl(s->pipe[1], F_SETPIPE_SZ, splice_bytes) < 0)
            fail("pipe");
    }
    sides[fd] = s;
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
    return s;
}

static void accept_one(int listener) {
    int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (client < 0)
        return;
    int up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    set(up, IPPROTO_TCP, TCP_NODELAY, 1);
    set(client, IPPROTO_TCP, TCP_NODELAY, 1);
    if (rcvbuf)
        set(up, SOL_SOCKET, SO_RCVBUF, rcvbuf);
    if (sndbuf)
        set(client, SOL_SOCKET, SO_SNDBUF, sndbuf);
    if (notsent)
        set(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, notsent);
    if (connect(up, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS)
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
        if (both[i]->pipe[1]) {
            close(both[i]->pipe[0]);
            close(both[i]->pipe[1]);
        }
        if (both[i]->parked)
            parked_count--;
        free(both[i]->held);
    }
    free(both[0]);
    free(both[1]);
}

static int flush_held(struct side *s) {
    struct side *to = s->other;
    while (s->held_from < s->held_to) {
        ssize_t n = send(to->fd, s->held + s->held_from, s->held_to - s->held_from, MSG_NOSIGNAL);
        if (n < 0) {
            to->writable = 0;
            return 0;
        }
        s->held_from += (size_t)n;
    }
    return 1;
}

/* 1: drained or over the budget, 0: blocked on the other side, -1: ended */
static int relay_copy(struct side *s) {
    struct side *to = s->other;
    for (int i = 0; i < reads_max; i++) {
        if (!to->writable || !flush_held(s))
            return 0;
        ssize_t n = recv(s->fd, buffer, (size_t)copy_bytes, 0);
        if (n <= 0) {
            s->readable = 0;
            return n < 0 && errno == EAGAIN ? 1 : -1;
        }
        s->relayed += (uint64_t)n;
        int full = n == copy_bytes;
        int flags = MSG_NOSIGNAL | (more && full ? MSG_MORE : 0);
        ssize_t sent = send(to->fd, buffer, (size_t)n, flags);
        if (sent < n) {
            if (sent < 0)
                sent = 0;
            if (s->held == NULL)
                s->held = malloc((size_t)copy_bytes);
            memcpy(s->held, buffer + sent, (size_t)(n - sent));
            s->held_from = 0;
            s->held_to = (size_t)(n - sent);
            to->writable = 0;
        }
        if (!full && !s->ending) {
            s->readable = 0;
            return 1;
        }
    }
    return 1;
}

static int relay_splice(struct side *s) {
    struct side *to = s->other;
    for (int i = 0; i < reads_max; i++) {
        if (!to->writable)
            return 0;
        if (s->in_pipe == 0) {
            ssize_t n = splice(s->fd, NULL, s->pipe[1], NULL, (size_t)splice_bytes, SPLICE_FLAGS);
                if (n <= 0) {
                s->readable = 0;
                return n < 0 && errno == EAGAIN ? 1 : -1;
            }
            s->in_pipe = (size_t)n;
            s->relayed += (uint64_t)n;
        }
        while (s->in_pipe > 0) {
            ssize_t n = splice(s->pipe[0], NULL, to->fd, NULL, s->in_pipe,
                               SPLICE_FLAGS | (more ? SPLICE_F_MORE : 0));
                if (n <= 0) {
                to->writable = 0;
                return 0;
            }
            s->in_pipe -= (size_t)n;
        }
    }
    return 1;
}

/* Whether a bulk flow should wait for more to gather before it is read. */
static int gathers(struct side *s) {
    if (!gather_us || !s->from_server || s->relayed < BULK_AFTER_BYTES)
        return 0;
    if (now_us - s->read_at_us < (uint64_t)gather_us) {
        int have = 0;
        if (gather_bytes && (ioctl(s->fd, FIONREAD, &have) < 0 || have >= gather_bytes))
            return 0;
        return 1;
    }
    return 0;
}

static void step(struct side *s) {
    if (!s->readable && s->held_from == s->held_to && s->in_pipe == 0)
        return;
    if (gathers(s)) {
        if (!s->parked) {
            s->parked = 1;
            parked_count++;
        }
        return;
    }
    if (s->parked) {
        s->parked = 0;
        parked_count--;
    }
    s->read_at_us = now_us;
    int ended = splice_bytes && s->from_server ? relay_splice(s) : relay_copy(s);
    if (ended < 0)
        end(s);
}

static void on_event(struct side *s, uint32_t events) {
    if (events & EPOLLOUT)
        s->writable = 1;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->readable = 1;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        s->ending = 1;
    int fd = s->fd;
    struct side *other = s->other;
    if (events & EPOLLOUT) {
        int other_fd = other->fd;
        step(other);
        if (sides[fd] != s || sides[other_fd] != other)
            return;
    }
    if (events & ~EPOLLOUT)
        step(s);
}

static void take_option(const char *option) {
    static const struct {
        const char *key;
        int *to;
    } knobs[] = {{"copy", &copy_bytes}, {"splice", &splice_bytes},   {"reads", &reads_max},
                 {"rcvbuf", &rcvbuf},   {"sndbuf", &sndbuf},         {"notsent", &notsent},
                 {"more", &more},       {"gather_us", &gather_us},   {"gather", &gather_bytes}};
    const char *equals = strchr(option, '=');
    for (size_t i = 0; equals != NULL && i < sizeof knobs / sizeof *knobs; i++) {
        size_t length = strlen(knobs[i].key);
        if ((size_t)(equals - option) == length && memcmp(option, knobs[i].key, length) == 0) {
            *knobs[i].to = atoi(equals + 1);
            return;
        }
    }
    fprintf(stderr, "no such knob: %s\n", option);
    exit(2);
}

/* Streams that gather, or that their share of reads left with more to read. */
static void step_waiting(void) {
    unfinished = 0;
    for (int fd = 0; fd < FD_MAX; fd++) {
        struct side *s = sides[fd];
        if (s != NULL && (s->parked || (s->readable && s->other->writable)))
            step(s);
        s = sides[fd];
        if (s != NULL && !s->parked && s->readable && s->other->writable)
            unfinished = 1;
    }
}

static void take_turn(int listener) {
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec wait = {0, unfinished ? 0 : gather_us * 1000L};
    int timed = unfinished || parked_count;
    int count = epoll_pwait2(epoll_fd, events, EVENTS_PER_TURN, timed ? &wait : NULL, NULL);
    if (gather_us)
        now_us = clock_us();
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        if (fd == listener)
            accept_one(listener);
        else if (sides[fd] != NULL)
            on_event(sides[fd], events[i].events);
    }
    if (parked_count || reads_max < READS_UNLIMITED)
        step_waiting();
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fputs("usage: bulk_relay LISTEN_PORT SERVER_PORT [KEY=VALUE ...]\n", stderr);
        return 2;
    }
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = here;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    for (int i = 3; i < argc; i++)
        take_option(argv[i]);
    buffer = malloc((size_t)copy_bytes);
    if (buffer == NULL)
        fail("malloc");
    epoll_fd = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 1024) < 0)
        fail("bind");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;)
        take_turn(listener);
}
