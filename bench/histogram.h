/* Durations in 256 buckets for each power of two of nanoseconds, so 0.4 % wide at most. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define SUB_BITS 8
#define BUCKETS ((40 - SUB_BITS) << SUB_BITS)

struct histogram {
    uint64_t count;
    uint64_t buckets[BUCKETS];
};

static inline void histogram_add(struct histogram *h, uint64_t ns) {
    uint64_t value = ns | (1u << SUB_BITS);
    int shift = 63 - __builtin_clzll(value) - SUB_BITS;
    uint64_t bucket = ((uint64_t)shift << SUB_BITS) + (value >> shift) - (1u << SUB_BITS);
    h->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    h->count++;
}

/* The middle of the bucket, in nanoseconds, that holds the given share of the durations. */
static inline double histogram_at(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;
    for (uint64_t i = 0; i < BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > wanted) {
            uint64_t low = ((i & ((1u << SUB_BITS) - 1)) + (1u << SUB_BITS)) << (i >> SUB_BITS);
            return (double)low + (double)(1ull << (i >> SUB_BITS)) / 2;
        }
    }
    return 0;
}

#endif
