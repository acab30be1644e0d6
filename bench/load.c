/* A load generator that checks every answer: status, length, and (always for small bodies, for each
 * CHECK_EVERYth big one) every byte.
 *
 *     load [-f CERT | -r CERT] PORT CONNECTIONS PATH BODY_BYTES MODE [FIELD ...]
 *
 * -f, -r: over TLS, to a balancer that must have the certificate CERT; every handshake must be a
 * full one (-f), or with the ticket of the one before, but for each connection's first (-r). MODE:
 * keep: each connection sends its next request as soon as an answer is whole. close: a connection
 * for each request, "Connection: close", done when the peer has closed after a whole answer. idle:
 * one exchange on each connection, which then stays open. websocket: each connection upgrades (the
 * accept is checked, and not counted) and sends its next masked text as soon as the last one has
 * come back. Each FIELD is a header field of the requests, such as "Accept: text/html".
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
#include "command.h"
#include "histogram.h"
#include "request.h"
#include "tls.h"
#include "websocket.h"

#define HEAD_BYTES_MAX 4096
#define READ_BYTES (256 * 1024)
#define EVENTS_PER_TURN 256
#define ANSWER_TIMEOUT_NS 5000000000ull
#define CHECK_EVERY 16
#define OPENING_MAX 64 /* idle: so many handshakes at a time, well below any backlog */

enum mode { KEEP, CLOSE, IDLE, WEBSOCKET, MODES };
static const char *const mode_names[] = {"keep", "close", "idle", "websocket"};
enum state { CONNECTING, SHAKING, HEAD, BODY, WAIT_CLOSE, RESTING };
enum error { BAD_STATUS, BAD_LENGTH, BAD_BYTES, SOCKET_ERROR, TIMED_OUT, BAD_HANDSHAKE, BAD_TERMS,
             BAD_RESUMPTION, NO_TICKET, ERROR_KINDS };
static const char *const error_names[] = {"status", "length", "bytes", "socket", "timeout",
                                          "handshake", "terms", "resumption", "ticket"};

struct connection {
    int fd;
    enum state state;
    uint64_t started_ns;
    size_t head_have;
    size_t body_left;
    unsigned answers;
    int upgraded;
    struct tls tls;
    char key[WS_KEY_BYTES + 1];
    unsigned char echo[WS_ECHO_BYTES];
    char head[HEAD_BYTES_MAX + 1];
};

static enum mode mode;
static struct sockaddr_in target;
static struct request request;
static size_t body_bytes; /* of a websocket: of an echo, its head included */
static uint64_t random_state = 88172645463325252ull;
static unsigned char *expected, reading[READ_BYTES];
static struct connection *connections;
static int connection_count, opened_count, epoll_fd, timer_fd, paused;
static struct histogram answers;
static uint64_t window_started_ns, errors[ERROR_KINDS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void open_connection(struct connection *c) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    c->upgraded = 0;
    c->head_have = 0;
    c->started_ns = now_ns();
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
        fail("connect");
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
        fail("epoll_ctl");
}

static void shut(struct connection *c) {
    if (tls_kind != TLS_NONE)
        tls_end(&c->tls);
    close(c->fd);
}

static void reopen(struct connection *c) {
    shut(c);
    open_connection(c);
}

static void refuse(struct connection *c, enum error kind) {
    errors[kind]++;
    if (errors[kind] > 1000) { /* a dead balancer: say so instead of spinning */
        fprintf(stderr, "more than 1000 %s errors\n", error_names[kind]);
        exit(1);
    }
    reopen(c);
}

static uint64_t next_random(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

static int send_all(struct connection *c, const void *bytes, size_t length) {
    ssize_t sent = tls_kind == TLS_NONE ? send(c->fd, bytes, length, MSG_NOSIGNAL)
                                        : tls_send(&c->tls, bytes, length);
    if (sent == (ssize_t)length)
        return 1;
    refuse(c, SOCKET_ERROR);
    return 0;
}

/* The next text of a websocket: what has to come back is kept in `echo`. */
static int send_text(struct connection *c) {
    unsigned char frame[WS_FRAME_BYTES];
    ws_make_text(frame, c->echo, next_random());
    c->state = BODY;
    c->body_left = body_bytes;
    return send_all(c, frame, sizeof frame);
}

static int send_upgrade(struct connection *c) {
    char whole[REQUEST_BYTES_MAX + 64];
    uint64_t nonce[2] = {next_random(), next_random()};
    ws_base64((unsigned char *)nonce, sizeof nonce, c->key);
    int length = snprintf(whole, sizeof whole, "%.*sSec-WebSocket-Key: %s\r\n\r\n",
                          (int)request.length - 2, request.bytes, c->key);
    return send_all(c, whole, (size_t)length);
}

static int send_request(struct connection *c) {
    if (c->upgraded)
        return send_text(c);
    c->state = HEAD;
    c->head_have = 0;
    return mode == WEBSOCKET ? send_upgrade(c) : send_all(c, request.bytes, request.length);
}

/* A whole answer is in. 1: go on reading this connection. */
static int answered(struct connection *c) {
    c->answers++;
    if (mode == CLOSE) {
        c->state = WAIT_CLOSE;
        return 1;
    }
    uint64_t now = now_ns();
    histogram_add(&answers, now - c->started_ns);
    c->started_ns = now;
    if (mode != IDLE && !paused)
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
    const unsigned char *wanted = c->upgraded ? c->echo : expected;
    if ((body_bytes <= READ_BYTES || c->answers % CHECK_EVERY == 0) &&
        memcmp(bytes, wanted + offset, length) != 0) {
        refuse(c, BAD_BYTES);
        return 0;
    }
    c->body_left -= length;
    return c->body_left > 0 || answered(c);
}

/* The head of an answer to an upgrade is in, and nothing may follow it. */
static int take_upgrade(struct connection *c, size_t more) {
    static const char field[] = "\r\nsec-websocket-accept: ";
    char *given = strcasestr(c->head, field), accept[WS_ACCEPT_BYTES + 1];
    ws_accept(c->key, accept);
    if (strncmp(c->head, "HTTP/1.1 101", 12) != 0 || given == NULL ||
        strncmp(given + sizeof field - 1, accept, WS_ACCEPT_BYTES) != 0 ||
        given[sizeof field - 1 + WS_ACCEPT_BYTES] > ' ') {
        refuse(c, BAD_STATUS);
        return 0;
    }
    if (more > 0) {
        refuse(c, BAD_LENGTH);
        return 0;
    }
    c->upgraded = 1;
    c->state = RESTING;
    c->started_ns = now_ns();
    return paused || send_text(c);
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
    size_t used = (size_t)(stop + 4 - c->head) - before;
    if (mode == WEBSOCKET)
        return take_upgrade(c, length - used);
    char *given = strcasestr(c->head, "\r\ncontent-length:");
    if (strncmp(c->head, "HTTP/1.1 200", 12) != 0) {
        refuse(c, BAD_STATUS);
        return 0;
    }
    if (given == NULL || strtoull(given + 17, NULL, 10) != body_bytes) {
        refuse(c, BAD_LENGTH);
        return 0;
    }
    c->state = BODY;
    c->body_left = body_bytes;
    return take_body(c, bytes + used, length - used);
}

static void at_end(struct connection *c) {
    if (c->state != WAIT_CLOSE) {
        refuse(c, SOCKET_ERROR);
        return;
    }
    if (tls_kind != TLS_NONE && c->tls.tickets == 0) { /* they are part of a handshake's cost */
        refuse(c, NO_TICKET);
        return;
    }
    histogram_add(&answers, now_ns() - c->started_ns);
    if (!paused) {
        reopen(c);
        return;
    }
    shut(c);
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

/* 1: go on with the connection; 0: wait for an event, or it is another connection by now. */
static int shake(struct connection *c) {
    static const enum error kinds[] = {[TLS_FAILED] = BAD_HANDSHAKE,
                                       [TLS_OTHER_TERMS] = BAD_TERMS,
                                       [TLS_OTHER_RESUMPTION] = BAD_RESUMPTION};
    if (c->state == CONNECTING)
        tls_begin(&c->tls, c->fd);
    c->state = SHAKING;
    enum tls_result result = tls_handshake(&c->tls);
    if (result == TLS_DONE)
        return send_request(c);
    if (result != TLS_WAIT)
        refuse(c, kinds[result]);
    return 0;
}

static void on_event(struct connection *c, uint32_t events) {
    int tls = tls_kind != TLS_NONE;
    if (c->state == CONNECTING) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            refuse(c, SOCKET_ERROR);
            return;
        }
        if (!(events & EPOLLOUT) || !(tls ? shake(c) : send_request(c)))
            return;
    } else if (c->state == SHAKING && !shake(c)) {
        return;
    }
    if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)))
        return;
    for (;;) {
        ssize_t n = tls ? tls_receive(&c->tls, reading, sizeof reading)
                        : recv(c->fd, reading, sizeof reading, 0);
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
        if (!going || (!tls && (size_t)n < sizeof reading && !(events & EPOLLRDHUP)))
            return;
    }
}

static void print_window(void) {
    printf("{\"seconds\": %.6f, \"requests\": %llu, \"p50_us\": %.3f, \"p99_us\": %.3f,"
           " \"open\": %d",
           (double)(now_ns() - window_started_ns) / 1e9, (unsigned long long)answers.count,
           histogram_at(&answers, 0.5) / 1e3, histogram_at(&answers, 0.99) / 1e3, opened_count);
    for (int i = 0; i < ERROR_KINDS; i++)
        printf(", \"error_%s\": %llu", error_names[i], (unsigned long long)errors[i]);
    puts("}");
    fflush(stdout);
}

static void on_command(void) {
    char command = next_command();
    if (command == 's')
        print_window();
    if (command == 'p')
        paused = 1;
    if (command == 'g')
        go_on();
    if (command == 'r') {
        memset(&answers, 0, sizeof answers);
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

/* Takes the options away: what is left begins with PORT, but for a place in front. */
static char **take_options(int *argc, char **argv) {
    for (int option; (option = getopt(*argc, argv, "+f:r:")) != -1;) {
        if (option == '?')
            exit(2);
        tls_prepare(option == 'f' ? TLS_FULL : TLS_RESUMED, optarg);
    }
    *argc -= optind - 1;
    return argv + optind - 1;
}

static void prepare(char **argv) {
    struct epoll_event event = {.events = EPOLLIN};
    struct itimerspec second = {{1, 0}, {1, 0}};
    signal(SIGPIPE, SIG_IGN);
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)atoi(argv[1]));
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection_count = atoi(argv[2]);
    request_make(&request, argv[3], argv + 6,
                 mode == CLOSE       ? "Connection: close\r\n"
                 : mode == WEBSOCKET ? "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                       "Sec-WebSocket-Version: 13\r\n"
                                     : "");
    body_bytes = mode == WEBSOCKET ? WS_ECHO_BYTES : (size_t)atoll(argv[4]);
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
    argv = take_options(&argc, argv);
    while (argc >= 6 && mode < MODES && strcmp(argv[5], mode_names[mode]) != 0)
        mode++;
    if (argc < 6 || mode == MODES) {
        fputs("usage: load [-f CERT | -r CERT] PORT CONNECTIONS PATH BODY_BYTES MODE [FIELD ...]\n",
              stderr);
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
