/* The bodies that origin.c sends and load.c compares: a pattern whose period (251, a prime) never
 * lines up with a buffer or a page, so that a lost, doubled or moved piece shows. */
#ifndef BENCH_BODY_H
#define BENCH_BODY_H

#include <stddef.h>

#define SMALL_BYTES 101
#define BIG_BYTES (1024 * 1024)
#define BODY_PERIOD 251

static inline void body_fill(unsigned char *to, size_t length) {
    for (size_t i = 0; i < length; i++)
        to[i] = (unsigned char)(i % BODY_PERIOD);
}

#endif
