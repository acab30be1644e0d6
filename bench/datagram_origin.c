/* A server of datagrams for the benchmarks: one thread, any number of ports on 127.0.0.1.
 *
 *     datagram_origin PORT [PORT ...]
 *
 * Sends back what wants an answer (datagram.h), and "ready?", as it is. Of the rest it checks
 * that each is as it was sent, that none comes twice, and that a flow keeps its port here and its
 * source. Prints "ready" once it listens. Commands, a byte each on stdin: 'r' starts a new window,
 * 's' prints the window as a line of JSON, 'q' ends.
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
#include <unistd.h>

#include "command.h"
#include "datagram.h"
#include "histogram.h"

#define BATCH 64
#define BATCHES_PER_TURN 4
#define EVENTS_PER_TURN 64
#define FLOWS_MAX 1024
#define PORTS_MAX 64
#define SEEN_BITS 65536 /* numbers of a flow that are remembered: 0.5 s and more of it */
#define RECEIVE_BYTES (8 << 20) /* so that what is lost was lost on the way here */

enum error { BAD_BYTES, DUPLICATED, MOVED, STRANGE, UNSENT, ERROR_KINDS };
static const char *const error_names[] = {"bytes", "duplicated", "moved", "strange", "unsent"};

struct flow {
    int port; /* counted from 1; 0: nothing has come */
    struct sockaddr_in from;
    uint64_t highest;
    uint64_t seen[SEEN_BITS / 64];
};

static struct flow *flows[FLOWS_MAX];
static int sockets[PORTS_MAX];
static unsigned char buffers[BATCH][DATAGRAM_BYTES_MAX];
static struct sockaddr_in sources[BATCH];
static struct iovec pieces[BATCH], answer_pieces[BATCH];
static struct mmsghdr messages[BATCH], answers[BATCH];
static struct histogram delays;
static uint64_t run, received, reordered, answered, errors[ERROR_KINDS];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int open_port(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int bytes = RECEIVE_BYTES, fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0)
        fail("socket");
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("bind");
    return fd;
}

/* Notes a number of a flow; 0: it has come before. */
static int note(struct flow *f, uint64_t number) {
    uint64_t mask = 1ull << (number % 64), *word = &f->seen[number % SEEN_BITS / 64];
    if (number > f->highest) {
        if (number - f->highest >= SEEN_BITS) {
            memset(f->seen, 0, sizeof f->seen);
        } else {
            for (uint64_t n = f->highest + 1; n <= number; n++)
                f->seen[n % SEEN_BITS / 64] &= ~(1ull << (n % 64));
        }
        f->highest = number;
    } else {
        reordered++;
        if (f->highest - number >= SEEN_BITS || *word & mask)
            return 0;
    }
    *word |= mask;
    return 1;
}

static void count(int port, const struct sockaddr_in *from, const struct datagram *d,
                  uint64_t now) {
    if (run == 0)
        run = d->run;
    if (d->run != run || d->flow >= FLOWS_MAX) {
        errors[STRANGE]++;
        return;
    }
    struct flow *f = flows[d->flow];
    if (f == NULL)
        f = flows[d->flow] = calloc(1, sizeof *f);
    if (f == NULL)
        fail("calloc");
    if (f->port == 0) {
        f->port = port + 1;
        f->from = *from;
    }
    if (f->port != port + 1 || f->from.sin_port != from->sin_port ||
        f->from.sin_addr.s_addr != from->sin_addr.s_addr)
        errors[MOVED]++;
    if (!note(f, d->number)) {
        errors[DUPLICATED]++;
        return;
    }
    received++;
    histogram_add(&delays, now > d->sent_ns ? now - d->sent_ns : 0);
}

/* Whether it is to be sent back. */
static int take(int port, int i, size_t length, uint64_t now) {
    static const char probe[] = "ready?";
    struct datagram d;
    if (length == sizeof probe - 1 && memcmp(buffers[i], probe, length) == 0)
        return 1;
    if (!datagram_read(buffers[i], length, &d)) {
        errors[BAD_BYTES]++;
        return 0;
    }
    if (d.wants_answer)
        return 1;
    count(port, &sources[i], &d, now);
    return 0;
}

static void send_answers(int fd, int n) {
    for (int sent = 0; sent < n;) {
        int done = sendmmsg(fd, answers + sent, (unsigned)(n - sent), 0);
        if (done <= 0) {
            errors[UNSENT]++;
            done = 1;
        }
        sent += done;
    }
    answered += (uint64_t)n;
}

static void serve(int port) {
    for (int turn = 0; turn < BATCHES_PER_TURN; turn++) {
        for (int i = 0; i < BATCH; i++) {
            pieces[i] = (struct iovec){buffers[i], DATAGRAM_BYTES_MAX};
            messages[i].msg_hdr = (struct msghdr){.msg_name = &sources[i],
                                                  .msg_namelen = sizeof sources[i],
                                                  .msg_iov = &pieces[i],
                                                  .msg_iovlen = 1};
        }
        int got = recvmmsg(sockets[port], messages, BATCH, MSG_DONTWAIT, NULL), back = 0;
        uint64_t now = now_ns();
        for (int i = 0; i < got; i++) {
            size_t length = messages[i].msg_len;
            if (messages[i].msg_hdr.msg_flags & MSG_TRUNC)
                length = DATAGRAM_BYTES_MAX + 1;
            if (!take(port, i, length, now))
                continue;
            answer_pieces[back] = (struct iovec){buffers[i], length};
            answers[back].msg_hdr = (struct msghdr){.msg_name = &sources[i],
                                                    .msg_namelen = sizeof sources[i],
                                                    .msg_iov = &answer_pieces[back],
                                                    .msg_iovlen = 1};
            back++;
        }
        send_answers(sockets[port], back);
        if (got < BATCH)
            return;
    }
}

static void start_window(void) {
    for (int i = 0; i < FLOWS_MAX; i++) {
        free(flows[i]);
        flows[i] = NULL;
    }
    memset(&delays, 0, sizeof delays);
    memset(errors, 0, sizeof errors);
    run = received = reordered = answered = 0;
}

static void print_window(void) {
    printf("{\"received\": %llu, \"reordered\": %llu, \"answered\": %llu, \"p50_us\": %.3f,"
           " \"p99_us\": %.3f",
           (unsigned long long)received, (unsigned long long)reordered,
           (unsigned long long)answered, histogram_at(&delays, 0.5) / 1e3,
           histogram_at(&delays, 0.99) / 1e3);
    for (int i = 0; i < ERROR_KINDS; i++)
        printf(", \"error_%s\": %llu", error_names[i], (unsigned long long)errors[i]);
    puts("}");
    fflush(stdout);
}

static void on_command(void) {
    char command = next_command();
    if (command == 's')
        print_window();
    if (command == 'r')
        start_window();
}

int main(int argc, char **argv) {
    struct epoll_event events[EVENTS_PER_TURN], event = {.events = EPOLLIN, .data.fd = -1};
    int epoll_fd = epoll_create1(0);
    if (argc < 2 || argc - 1 > PORTS_MAX) {
        fputs("usage: datagram_origin PORT [PORT ...]\n", stderr);
        return 2;
    }
    datagram_prepare();
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event) < 0)
        fail("stdin");
    for (int i = 0; i < argc - 1; i++) {
        sockets[i] = open_port(atoi(argv[i + 1]));
        event.data.fd = i;
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, sockets[i], &event);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(epoll_fd, events, EVENTS_PER_TURN, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd < 0)
                on_command();
            else
                serve(events[i].data.fd);
        }
    }
}
