/* A bare TCP relay with one knob for each idea of how bulk could be cheap. bulk_relay.py runs the
 * variants beside each other and beside HAProxy; this program only relays.
 *
 *     bulk_relay LISTEN_PORT SERVER_PORT [KEY=VALUE ...]
 *
 * copy=BYTES      recv/send through one buffer of that size (default 64K)
 * splice=BYTES    splice(2) through a pipe of that size instead, one pipe for each relay
 * reads=N         at most N recv (or splice) calls a wake-up, then the other relays have their turn
 * in_rcvbuf=B  out_sndbuf=B    SO_RCVBUF towards the server, SO_SNDBUF towards the client
 * lowat=B         SO_RCVLOWAT towards the server (a probe only: it would stall a short tail)
 * notsent=B       TCP_NOTSENT_LOWAT towards the client
 * gather_us=T     once a flow has relayed 256 KiB, let it gather: read it at most each T us
 * peek=B          read only when FIONREAD says that B bytes have gathered or T us have passed
 * more=1          MSG_MORE / SPLICE_F_MORE while a read came back full
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FD_MAX 256
#define EVENTS_PER_TURN 256
#define BULK_AFTER_BYTES (256 * 1024)

struct side {
    int fd;
    int readable, writable;
    int from_server;
    int parked;         /* waiting for its gathering time */
    struct side *other;
    char *held;         /* what a short send left over */
    size_t held_from, held_to;
    int pipe[2];
    size_t in_pipe;
    uint64_t relayed, read_at_us;
};

static struct side *sides[FD_MAX];
static char *buffer;
static size_t copy_bytes = 65536, splice_bytes;
static int reads_max = 1 << 30, in_rcvbuf, out_sndbuf, lowat, notsent, gather_us, peek_bytes, more, hugebuf;
static int epoll_fd, parked_count, unfinished;
static struct sockaddr_in server;
static uint64_t turns, reads, writes, now_us;

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
    if (in_rcvbuf) set(up, SOL_SOCKET, SO_RCVBUF, in_rcvbuf);
    if (out_sndbuf) set(client, SOL_SOCKET, SO_SNDBUF, out_sndbuf);
    if (lowat) set(up, SOL_SOCKET, SO_RCVLOWAT, lowat);
    if (notsent) set(client, IPPROTO_TCP, TCP_NOTSENT_LOWAT, notsent);
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
        writes++;
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
        ssize_t n = recv(s->fd, buffer, copy_bytes, 0);
        reads++;
        if (n <= 0) {
            s->readable = 0;
            return n < 0 && errno == EAGAIN ? 1 : -1;
        }
        s->relayed += (uint64_t)n;
        int full = (size_t)n == copy_bytes;
        ssize_t sent = send(to->fd, buffer, (size_t)n, MSG_NOSIGNAL | (more && full ? MSG_MORE : 0));
        writes++;
        if (sent < n) {
            if (sent < 0)
                sent = 0;
            if (s->held == NULL)
                s->held = malloc(copy_bytes);
            memcpy(s->held, buffer + sent, (size_t)(n - sent));
            s->held_from = 0;
            s->held_to = (size_t)(n - sent);
            to->writable = 0;
        }
        if (!full) {
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
            ssize_t n = splice(s->fd, NULL, s->pipe[1], NULL, splice_bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            reads++;
            if (n <= 0) {
                s->readable = 0;
                return n < 0 && errno == EAGAIN ? 1 : -1;
            }
            s->in_pipe = (size_t)n;
            s->relayed += (uint64_t)n;
        }
        while (s->in_pipe > 0) {
            ssize_t n = splice(s->pipe[0], NULL, to->fd, NULL, s->in_pipe,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0));
            writes++;
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
        if (peek_bytes && (ioctl(s->fd, FIONREAD, &have) < 0 || have >= peek_bytes))
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

static void report(int signal_number) {
    struct rusage usage;
    (void)signal_number;
    getrusage(RUSAGE_SELF, &usage);
    fprintf(stderr, "turns %lu reads %lu writes %lu user_ms %ld sys_ms %ld switches %ld\n", turns, reads, writes,
            usage.ru_utime.tv_sec * 1000 + usage.ru_utime.tv_usec / 1000,
            usage.ru_stime.tv_sec * 1000 + usage.ru_stime.tv_usec / 1000, usage.ru_nvcsw);
    _exit(0);
}

static void take_option(const char *option) {
    struct { const char *key; int *to; } ints[] = {
        {"reads", &reads_max}, {"in_rcvbuf", &in_rcvbuf}, {"out_sndbuf", &out_sndbuf}, {"lowat", &lowat},
        {"notsent", &notsent}, {"gather_us", &gather_us}, {"peek", &peek_bytes}, {"more", &more}, {"huge", &hugebuf}};
    const char *equals = strchr(option, '=');
    if (equals == NULL)
        fail(option);
    if (strncmp(option, "copy=", 5) == 0)
        copy_bytes = (size_t)atol(equals + 1);
    else if (strncmp(option, "splice=", 7) == 0)
        splice_bytes = (size_t)atol(equals + 1);
    else
        for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
            if (strncmp(option, ints[i].key, (size_t)(equals - option)) == 0)
                *ints[i].to = atoi(equals + 1);
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS_PER_TURN];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server = here;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    for (int i = 3; i < argc; i++)
        take_option(argv[i]);
    signal(SIGTERM, report);
    buffer = aligned_alloc(2 << 20, 2 << 20);
    if (hugebuf)
        madvise(buffer, 2 << 20, MADV_HUGEPAGE);
    memset(buffer, 0, 2 << 20);
    epoll_fd = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    set(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 1024) < 0)
        fail("bind");
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct timespec wait = {0, unfinished ? 0 : gather_us * 1000L};
        int timed = unfinished || parked_count;
        int count = epoll_pwait2(epoll_fd, events, EVENTS_PER_TURN, timed ? &wait : NULL, NULL);
        turns++;
        if (gather_us)
            now_us = clock_us();
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_one(listener);
            else if (sides[fd] != NULL)
                on_event(sides[fd], events[i].events);
        }
        int left = parked_count || reads_max < 1 << 30 ? FD_MAX : 0;
        unfinished = 0;
        for (int fd = 0; fd < left; fd++) {
            struct side *s = sides[fd];
            if (s != NULL && (s->parked || (s->readable && s->other->writable)))
                step(s);
            s = sides[fd];
            if (s != NULL && !s->parked && s->readable && s->other->writable)
                unfinished = 1;
        }
    }
}
