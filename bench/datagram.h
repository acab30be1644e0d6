/* The datagrams of the benchmarks: a head, and bytes that follow from it, so that a datagram that
 * was cut, mixed with another one, or given to somebody else shows. */
#ifndef BENCH_DATAGRAM_H
#define BENCH_DATAGRAM_H

#include <stdint.h>
#include <string.h>
#include <time.h>

#include "body.h"

#define DATAGRAM_BYTES_MAX 2048
#define DATAGRAM_MAGIC 0x64677261u

struct datagram { /* in the machine's own order: both ends are here */
    uint32_t magic;
    uint32_t wants_answer;
    uint32_t flow;
    uint32_t bytes;  /* of the whole */
    uint64_t run;    /* of the generator */
    uint64_t number; /* within the flow, from 1 */
    uint64_t sent_ns;
};

static unsigned char datagram_pattern[BODY_PERIOD + DATAGRAM_BYTES_MAX];

static inline void datagram_prepare(void) {
    body_fill(datagram_pattern, sizeof datagram_pattern);
}

/* What follows the head. */
static inline unsigned char *datagram_body(const struct datagram *d) {
    return datagram_pattern + (d->flow * 31 + d->number) % BODY_PERIOD;
}

/* Reads the head. 0: it is no datagram of ours, or not as it was sent. */
static inline int datagram_read(const unsigned char *bytes, size_t length, struct datagram *d) {
    if (length < sizeof *d || length > DATAGRAM_BYTES_MAX)
        return 0;
    memcpy(d, bytes, sizeof *d);
    return d->magic == DATAGRAM_MAGIC && d->bytes == length &&
           memcmp(bytes + sizeof *d, datagram_body(d), length - sizeof *d) == 0;
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

#endif
