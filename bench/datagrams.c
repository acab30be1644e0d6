/* A generator of datagrams that checks every answer.
 *
 *     datagrams PORT FLOWS BYTES RATE
 *
 * Each flow has a socket of its own, connected to PORT, so that only answers of that address are
 * heard. RATE 0: each flow sends its next datagram when it has the answer of the one before, which
 * must be the same bytes; without one for LOST_NS it is lost, and an answer that comes after that
 * is late. Another RATE: so many datagrams a second in all, evenly over the flows and over the
 * time, but for what is due in one TICK_NS, which leaves at once. They want no answer:
 * datagram_origin.c counts and checks them.
 * Commands, a byte each on stdin: 'r' starts a new window, 's' prints the window as a line of JSON,
 * 'p' pauses (answers are still taken), 'g' goes on, 'q' ends. Errors count from the start of the
 * program and are never reset.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "command.h"
#include "datagram.h"
#include "histogram.h"

#define EVENTS_PER_TURN 256
#define FLOWS_MAX 1024
#define GIVEN_UP 8             /* numbers of a flow without an answer that are remembered */
#define LOST_NS 200000000ull   /* a thousand times what an answer takes */
#define LOOK_NS 50000000ll     /* how often is looked for lost ones */
#define TICK_NS 500000ll       /* of media: short enough for the kernel's usual buffers */
#define TICKS_MAX 4            /* after a pause of this process no more is made up for */
#define SENT_AT_ONCE 64

enum error { BAD_BYTES, DUPLICATED, MISDELIVERED, SOCKET_ERROR, ERROR_KINDS };
static const char *const error_names[] = {"bytes", "duplicated", "misdelivered", "socket"};

struct flow {
    int fd;
    int waiting; /* for the answer to `number` */
    uint32_t id;
    uint64_t number;
    uint64_t sent_ns;
    uint64_t given_up[GIVEN_UP];
    unsigned n_given_up;
};

static struct flow *flows;
static uint32_t flow_count, datagram_bytes, next_flow;
static uint64_t rate, run, going_since_ns, going_sent, window_started_ns, window_ended_ns;
static uint64_t sent, lost, late, unsent, errors[ERROR_KINDS];
static int epoll_fd, timer_fd, paused;
static struct histogram answers;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void refuse(enum error kind) {
    if (++errors[kind] > 1000) { /* a dead balancer: say so instead of spinning */
        fprintf(stderr, "more than 1000 %s errors\n", error_names[kind]);
        exit(1);
    }
}

static struct datagram head_of(const struct flow *f, uint64_t number, uint64_t now) {
    return (struct datagram){DATAGRAM_MAGIC, rate == 0, f->id, datagram_bytes, run, number, now};
}

static void send_next(struct flow *f) {
    unsigned char whole[DATAGRAM_BYTES_MAX];
    struct datagram d = head_of(f, ++f->number, now_ns());
    memcpy(whole, &d, sizeof d);
    memcpy(whole + sizeof d, datagram_body(&d), datagram_bytes - sizeof d);
    f->sent_ns = d.sent_ns;
    f->waiting = 1;
    if (send(f->fd, whole, datagram_bytes, 0) == (ssize_t)datagram_bytes)
        sent++;
    else if (errno == EAGAIN || errno == ENOBUFS)
        unsent++; /* and soon given up */
    else
        refuse(SOCKET_ERROR);
}

static void give_up(struct flow *f) {
    f->given_up[f->n_given_up++ % GIVEN_UP] = f->number;
    f->waiting = 0;
    lost++;
}

/* An answer to what was not waited for: late, or once too often. */
static void on_old(struct flow *f, uint64_t number) {
    for (int i = 0; i < GIVEN_UP; i++) {
        if (f->given_up[i] == number) {
            f->given_up[i] = 0;
            late++;
            return;
        }
    }
    refuse(DUPLICATED);
}

static void on_answer(struct flow *f, const unsigned char *bytes, size_t length) {
    struct datagram d;
    if (!datagram_read(bytes, length, &d)) {
        refuse(BAD_BYTES);
        return;
    }
    if (d.run != run || d.flow != f->id || d.number == 0 || d.number > f->number) {
        refuse(MISDELIVERED);
        return;
    }
    if (d.bytes != datagram_bytes || d.wants_answer != (rate == 0)) {
        refuse(BAD_BYTES);
        return;
    }
    if (!f->waiting || d.number != f->number) {
        on_old(f, d.number);
        return;
    }
    histogram_add(&answers, now_ns() - f->sent_ns);
    f->waiting = 0;
    if (!paused)
        send_next(f);
}

static void on_readable(struct flow *f) {
    unsigned char bytes[DATAGRAM_BYTES_MAX + 1];
    ssize_t n = recv(f->fd, bytes, sizeof bytes, 0);
    if (n >= 0)
        on_answer(f, bytes, (size_t)n);
    else if (errno != EAGAIN)
        refuse(SOCKET_ERROR);
}

static void look_for_lost(void) {
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < flow_count; i++) {
        struct flow *f = &flows[i];
        if (f->waiting && now - f->sent_ns > LOST_NS)
            give_up(f);
        if (!f->waiting && !paused)
            send_next(f);
    }
}

/* The next ones of a flow, SENT_AT_ONCE at most; how many the kernel took. */
static uint64_t send_several(struct flow *f, uint64_t n) {
    static struct datagram heads[SENT_AT_ONCE];
    static struct iovec pieces[SENT_AT_ONCE][2];
    static struct mmsghdr messages[SENT_AT_ONCE];
    uint64_t now = now_ns();
    unsigned count = n < SENT_AT_ONCE ? (unsigned)n : SENT_AT_ONCE;
    for (unsigned i = 0; i < count; i++) {
        heads[i] = head_of(f, f->number + 1 + i, now);
        pieces[i][0] = (struct iovec){&heads[i], sizeof heads[i]};
        pieces[i][1] = (struct iovec){datagram_body(&heads[i]), datagram_bytes - sizeof heads[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = pieces[i], .msg_iovlen = 2};
    }
    int done = sendmmsg(f->fd, messages, count, 0);
    if (done < 0 && errno != EAGAIN && errno != ENOBUFS)
        refuse(SOCKET_ERROR);
    if (done < 0)
        done = 0;
    f->number += (uint64_t)done;
    sent += (uint64_t)done;
    return (uint64_t)done;
}

static void send_due(void) {
    uint64_t now = now_ns(), most = rate * TICK_NS * TICKS_MAX / 1000000000ull + 1;
    if (paused)
        return;
    uint64_t due = (now - going_since_ns) * rate / 1000000000ull - going_sent;
    going_sent += due;
    if (due > most)
        due = most;
    uint64_t each = due / flow_count, more = due % flow_count;
    for (uint32_t i = 0; i < flow_count; i++) {
        uint64_t n = each + ((i + flow_count - next_flow) % flow_count < more);
        for (uint64_t done; n > 0; n -= done) {
            done = send_several(&flows[i], n);
            if (done == 0) {
                unsent += n;
                break;
            }
        }
    }
    next_flow = (uint32_t)((next_flow + more) % flow_count);
}

static void go_on(void) {
    paused = 0;
    going_since_ns = now_ns();
    going_sent = 0;
    window_ended_ns = 0;
    for (uint32_t i = 0; i < flow_count && rate == 0; i++)
        if (!flows[i].waiting)
            send_next(&flows[i]);
}

static void print_window(void) {
    uint64_t end_ns = window_ended_ns ? window_ended_ns : now_ns();
    printf("{\"seconds\": %.6f, \"requests\": %llu, \"p50_us\": %.3f, \"p99_us\": %.3f,"
           " \"sent\": %llu, \"lost\": %llu, \"late\": %llu, \"unsent\": %llu",
           (double)(end_ns - window_started_ns) / 1e9, (unsigned long long)answers.count,
           histogram_at(&answers, 0.5) / 1e3, histogram_at(&answers, 0.99) / 1e3,
           (unsigned long long)sent, (unsigned long long)lost, (unsigned long long)late,
           (unsigned long long)unsent);
    for (int i = 0; i < ERROR_KINDS; i++)
        printf(", \"error_%s\": %llu", error_names[i], (unsigned long long)errors[i]);
    puts("}");
    fflush(stdout);
}

static void on_command(void) {
    char command = next_command();
    if (command == 's')
        print_window();
    if (command == 'p') {
        paused = 1;
        window_ended_ns = now_ns();
    }
    if (command == 'g')
        go_on();
    if (command == 'r') {
        memset(&answers, 0, sizeof answers);
        sent = lost = late = unsent = 0;
        window_started_ns = now_ns();
    }
}

static void on_timer(void) {
    uint64_t ticks;
    if (read(timer_fd, &ticks, sizeof ticks) < 0)
        return;
    if (rate > 0)
        send_due();
    else
        look_for_lost();
}

static void watch(int fd, void *what) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static void open_flow(struct flow *f, int port) {
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    f->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (f->fd < 0 || connect(f->fd, (struct sockaddr *)&target, sizeof target) < 0)
        fail("socket");
    f->id = (uint32_t)(f - flows);
    watch(f->fd, f);
}

static void prepare(char **argv) {
    rate = strtoull(argv[4], NULL, 10);
    long long period = rate > 0 ? TICK_NS : LOOK_NS;
    struct itimerspec often = {{0, period}, {0, period}};
    datagram_prepare();
    run = now_ns();
    flows = calloc(flow_count, sizeof *flows);
    epoll_fd = epoll_create1(0);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, 0);
    if (flows == NULL || timerfd_settime(timer_fd, 0, &often, NULL) < 0)
        fail("timerfd");
    watch(0, &epoll_fd);
    watch(timer_fd, &timer_fd);
    for (uint32_t i = 0; i < flow_count; i++)
        open_flow(&flows[i], atoi(argv[1]));
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS_PER_TURN];
    if (argc == 5) {
        flow_count = (uint32_t)atoi(argv[2]);
        datagram_bytes = (uint32_t)atoi(argv[3]);
    }
    if (flow_count == 0 || flow_count > FLOWS_MAX || datagram_bytes > DATAGRAM_BYTES_MAX ||
        datagram_bytes <= sizeof(struct datagram)) {
        fputs("usage: datagrams PORT FLOWS BYTES RATE\n", stderr);
        return 2;
    }
    prepare(argv);
    window_started_ns = now_ns();
    go_on();
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.ptr == &epoll_fd)
                on_command();
            else if (events[i].data.ptr == &timer_fd)
                on_timer();
            else
                on_readable(events[i].data.ptr);
        }
    }
}
