/* What Cython can't say: branch hints, atomics, assertions. Nothing else belongs here. */
#ifndef FASTLB_H
#define FASTLB_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_epoll_pwait2
#define SYS_epoll_pwait2 441 /* unknown to headers before Linux 5.11; the same everywhere */
#endif

#define fl_likely(x) (__builtin_expect(!!(x), 1))
#define fl_unlikely(x) (__builtin_expect(!!(x), 0))

#define fl_prefetch(x) __builtin_prefetch(x)

/* A broken promise of our own code: abort where someone looks (debug, asan and gcov builds). */
#ifdef FASTLB_ASSERTIONS
#define fl_assert(x) \
    do { \
        if (fl_unlikely(!(x))) { \
            fprintf(stderr, "fastlb: assertion failed: %s (%s:%d)\n", #x, __FILE__, __LINE__); \
            abort(); \
        } \
    } while (0)
#else
#define fl_assert(x) ((void)0)
#endif

#ifndef FASTLB_BUILD_MODE
#define FASTLB_BUILD_MODE "unknown"
#endif

/* A system call as it is: the result, or -errno. glibc's recv, send, accept4, connect, close,
 * splice and epoll_wait are cancellation points, which costs each call about 100 ns in a process
 * with threads (recv of nothing: 385 ns through glibc, 260 ns so); we never cancel a thread. */
static inline long fl_syscall(long n, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__) && !defined(__ILP32__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
    long result = syscall(n, a, b, c, d, e, f);
    return result < 0 ? -errno : result;
#endif
}

/* Shared between threads and exact: gates, server state, the published snapshot. */
static inline int32_t fl_load32(const int32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void fl_store32(int32_t *p, int32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline int32_t fl_add32(int32_t *p, int32_t v) {
    return __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL);
}
static inline int32_t fl_or32(int32_t *p, int32_t v) {
    return __atomic_fetch_or(p, v, __ATOMIC_ACQ_REL);
}
static inline int32_t fl_and32(int32_t *p, int32_t v) {
    return __atomic_fetch_and(p, v, __ATOMIC_ACQ_REL);
}
static inline int32_t fl_exchange32(int32_t *p, int32_t v) {
    return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST);
}
static inline int fl_cas32(int32_t *p, int32_t old, int32_t v) {
    return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
static inline uint64_t fl_load64(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static inline void fl_store64(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
static inline uint64_t fl_add64(uint64_t *p, uint64_t v) {
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
static inline int fl_cas64(uint64_t *p, uint64_t old, uint64_t v) {
    return __atomic_compare_exchange_n(p, &old, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
/* Two words that lie beside each other, at a multiple of 16 bytes: a key and its value, say. GCC
 * would call libatomic for it. */
static inline int fl_cas_pair(uint64_t *p, uint64_t old0, uint64_t old1, uint64_t v0, uint64_t v1) {
#if defined(__x86_64__) && !defined(__ILP32__)
    unsigned char done;
    __asm__ volatile("lock cmpxchg16b %1"
                     : "=@ccz"(done), "+m"(*(unsigned __int128 *)p), "+a"(old0), "+d"(old1)
                     : "b"(v0), "c"(v1)
                     : "memory");
    return done;
#else
    unsigned __int128 old = (unsigned __int128)old1 << 64 | old0; /* (little endian) */
    return __sync_bool_compare_and_swap((unsigned __int128 *)p, old,
                                        (unsigned __int128)v1 << 64 | v0);
#endif
}
static inline double fl_load_double(const double *p) {
    double v;
    __atomic_load(p, &v, __ATOMIC_ACQUIRE);
    return v;
}
static inline void fl_store_double(double *p, double v) { __atomic_store(p, &v, __ATOMIC_RELEASE); }
static inline void *fl_load_pointer(void *const *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
static inline void fl_store_pointer(void **p, void *v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
static inline void fl_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* A counter with one writer and any number of readers: no lock prefix, no torn value. */
static inline void fl_count(uint64_t *p, uint64_t n) {
    __atomic_store_n(p, __atomic_load_n(p, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline uint64_t fl_read(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }

#endif
