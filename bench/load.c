/* A load generator that checks every answer: status, length, and (always for small bodies, for each
 * CHECK_EVERYth big one) every byte.
 *
 *     load PORT CONNECTIONS PATH BODY_BYTES keep|close|idle
 *
 * keep: each connection sends its next request as soon as an answer is whole. close: a connection
 * for each request, "Connection: close", done when the peer has closed after a whole answer. idle:
 * one exchange on each connection, which then stays open.
 * Commands, a byte each on stdin: 'r' starts a new window, 's' prints the window as a line of JSON,
 * 'p' pauses (what is under way is finished, nothing new is asked), 'g' goes on, 'q' ends. Errors
 * count from the start of the program and are never reset.
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
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "body.h"

#define HEAD_BYTES_MAX 4096
#define READ_BYTES (256 * 1024)
#define EVENTS_PER_TURN 256
#define ANSWER_TIMEOUT_NS 5000000000ull
#define CHECK_EVERY 16
#define OPENING_MAX 64 /* idle: so many handshakes at a time, well below any backlog */
/* Histogram: 256 buckets for each power of two of nanoseconds, so 0.4 % wide at most. */
#define SUB_BITS 8
#define BUCKETS ((40 - SUB_BITS) << SUB_BITS)

enum mode { KEEP, CLOSE, IDLE };
enum state { CONNECTING, HEAD, BODY, WAIT_CLOSE, RESTING };
enum error { BAD_STATUS, BAD_LENGTH, BAD_BYTES, SOCKET_ERROR, TIMED_OUT, ERROR_KINDS };
static const char *const error_names[] = {"status", "length", "bytes", "socket", "timeout"};

struct connection {
    int fd;
    enum state state;
    uint64_t started_ns;
    size_t head_have;
    size_t body_left;
    unsigned answers;
    char head[HEAD_BYTES_MAX + 1];
};

static enum mode mode;
static struct sockaddr_in target;
static char request[512];
static size_t request_bytes, body_bytes;
static unsigned char *expected, reading[READ_BYTES];
static struct connection *connections;
static int connection_count, opened_count, epoll_fd, timer_fd, paused;
static uint64_t completed, window_started_ns, errors[ERROR_KINDS], histogram[BUCKETS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void record(uint64_t ns) {
    uint64_t value = ns | (1u << SUB_BITS);
    int shift = 63 - __builtin_clzll(value) - SUB_BITS;
    uint64_t bucket = ((uint64_t)shift << SUB_BITS) + (value >> shift) - (1u << SUB_BITS);
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    completed++;
}

/* The middle of the bucket that holds the given share of the answers. */
static double percentile_ns(double share) {
    uint64_t wanted = (uint64_t)(share * (double)completed), seen = 0;
    for (uint64_t i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen > wanted) {
            uint64_t low = ((i & ((1u << SUB_BITS) - 1)) + (1u << SUB_BITS)) << (i >> SUB_BITS);
            return (double)low + (double)(1ull << (i >> SUB_BITS)) / 2;
        }
    }
    return 0;
}

static void open_connection(struct connection *c) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->head_have = 0;
    c->started_ns = now_ns();
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
        fail("connect");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
        fail("epoll_ctl");
}

static void reopen(struct connection *c) {
    close(c->fd);
    open_connection(c);
}

static void refuse(struct connection *c, enum error kind) {
    errors[kind]++;
    if (errors[kind] > 1000) /* a dead balancer: say so instead of spinning */
        fail(error_names[kind]);
    reopen(c);
}

static int send_request(struct connection *c) {
    if (send(c->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes) {
        refuse(c, SOCKET_ERROR);
        return 0;
    }
    c->state = HEAD;
    c->head_have = 0;
    return 1;
}

/* A whole answer is in. 1: go on reading this connection. */
static int answered(struct connection *c) {
    c->answers++;
    if (mode == CLOSE) {
        c->state = WAIT_CLOSE;
        return 1;
    }
    uint64_t now = now_ns();
    record(now - c->started_ns);
    c->started_ns = now;
    if (mode == KEEP && !paused)
        return send_request(c);
    c->state = RESTING;
    if (mode == IDLE && opened_count < connection_count)
        open_connection(&connections[opened_count++]);
    return 1;
}

static int take_body(struct connection *c, const unsigned char *bytes, size_t length) {
    size_t offset = body_bytes - c->body_left;
    if (length > c->body_left) {
        refuse(c, BAD_LENGTH);
        return 0;
    }
    if ((body_bytes <= READ_BYTES || c->answers % CHECK_EVERY == 0) &&
        memcmp(bytes, expected + offset, length) != 0) {
        refuse(c, BAD_BYTES);
        return 0;
    }
    c->body_left -= length;
    return c->body_left > 0 || answered(c);
}

static int take_head(struct connection *c, const unsigned char *bytes, size_t length) {
    size_t room = HEAD_BYTES_MAX - c->head_have, before = c->head_have;
    size_t taken = length < room ? length : room;
    memcpy(c->head + before, bytes, taken);
    c->head_have += taken;
    c->head[c->head_have] = 0;
    char *stop = memmem(c->head, c->head_have, "\r\n\r\n", 4);
    if (stop == NULL) {
        if (c->head_have < HEAD_BYTES_MAX)
            return 1;
        refuse(c, BAD_STATUS);
        return 0;
    }
    *stop = 0;
    char *given = strcasestr(c->head, "\r\ncontent-length:");
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) {
        refuse(c, BAD_STATUS);
        return 0;
    }
    if (given == NULL || strtoull(given + 17, NULL, 10) != body_bytes) {
        refuse(c, BAD_LENGTH);
        return 0;
    }
    size_t used = (size_t)(stop + 4 - c->head) - before;
    c->state = BODY;
    c->body_left = body_bytes;
    return take_body(c, bytes + used, length - used);
}

static void at_end(struct connection *c) {
    if (c->state != WAIT_CLOSE) {
        refuse(c, SOCKET_ERROR);
        return;
    }
    record(now_ns() - c->started_ns);
    if (!paused) {
        reopen(c);
        return;
    }
    close(c->fd);
    c->state = RESTING;
}

static void go_on(void) {
    paused = 0;
    for (int i = 0; i < opened_count; i++) {
        struct connection *c = &connections[i];
        if (c->state != RESTING || mode == IDLE)
            continue;
        if (mode == CLOSE) {
            open_connection(c);
        } else {
            c->started_ns = now_ns();
            send_request(c);
        }
    }
}

static void on_event(struct connection *c, uint32_t events) {
    if (c->state == CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            refuse(c, SOCKET_ERROR);
            return;
        }
        if (!(events & EPOLLOUT) || !send_request(c))
            return;
    }
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)))
        return;
    for (;;) {
        ssize_t n = recv(c->fd, reading, sizeof reading, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            refuse(c, SOCKET_ERROR);
            return;
        }
        if (n == 0) {
            at_end(c);
            return;
        }
        int going = c->state == HEAD   ? take_head(c, reading, (size_t)n)
                    : c->state == BODY ? take_body(c, reading, (size_t)n)
                                       : (refuse(c, BAD_LENGTH), 0);
        /* A short read has drained the socket; an end that came with it is in the events. */
        if (!going || ((size_t)n < sizeof reading && !(events & EPOLLRDHUP)))
            return;
    }
}

static void print_window(void) {
    printf("{\"seconds\": %.6f, \"requests\": %llu, \"p50_us\": %.3f, \"p99_us\": %.3f,"
           " \"open\": %d",
           (double)(now_ns() - window_started_ns) / 1e9, (unsigned long long)completed,
           percentile_ns(0.5) / 1e3, percentile_ns(0.99) / 1e3, opened_count);
    for (int i = 0; i < ERROR_KINDS; i++)
        printf(", \"error_%s\": %llu", error_names[i], (unsigned long long)errors[i]);
    puts("}");
    fflush(stdout);
}

static void on_command(void) {
    char command = 'q';
    if (read(0, &command, 1) != 1 || command == 'q')
        exit(0);
    if (command == 's')
        print_window();
    if (command == 'p')
        paused = 1;
    if (command == 'g')
        go_on();
    if (command == 'r') {
        memset(histogram, 0, sizeof histogram);
        completed = 0;
        window_started_ns = now_ns();
    }
}

static void on_timer(void) {
    uint64_t ticks, now = now_ns();
    if (read(timer_fd, &ticks, sizeof ticks) < 0)
        return;
    for (int i = 0; i < opened_count; i++)
        if (connections[i].state != RESTING && now - connections[i].started_ns > ANSWER_TIMEOUT_NS)
            refuse(&connections[i], TIMED_OUT);
}

static void prepare(char **argv) {
    struct epoll_event event = {.events = EPOLLIN};
    struct itimerspec second = {{1, 0}, {1, 0}};
    signal(SIGPIPE, SIG_IGN);
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)atoi(argv[1]));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection_count = atoi(argv[2]);
    body_bytes = (size_t)atoll(argv[4]);
    mode = strcmp(argv[5], "close") == 0 ? CLOSE : strcmp(argv[5], "idle") == 0 ? IDLE : KEEP;
    request_bytes = (size_t)snprintf(request, sizeof request,
                                     "GET %s HTTP/1.1\r\nHost: bench.test\r\n%s\r\n", argv[3],
                                     mode == CLOSE ? "Connection: close\r\n" : "");
    expected = malloc(body_bytes);
    connections = calloc((size_t)connection_count, sizeof *connections);
    if (expected == NULL || connections == NULL)
        fail("malloc");
    body_fill(expected, body_bytes);
    epoll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, 0);
    timerfd_settime(timer_fd, 0, &second, NULL);
    event.data.ptr = &epoll_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event);
    event.data.ptr = &timer_fd;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event);
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS_PER_TURN];
    if (argc != 6) {
        fputs("usage: load PORT CONNECTIONS PATH BODY_BYTES keep|close|idle\n", stderr);
        return 2;
    }
    prepare(argv);
    window_started_ns = now_ns();
    int first = mode == IDLE && connection_count > OPENING_MAX ? OPENING_MAX : connection_count;
    while (opened_count < first)
        open_connection(&connections[opened_count++]);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &epoll_fd)
                on_command();
            else if (events[i].data.ptr == &timer_fd)
                on_timer();
            else
                on_event(events[i].data.ptr, events[i].events);
        }
    }
}
