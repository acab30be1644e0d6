# What is used of c/fastlb.h: atomics, hints and the build's mode.
from libc.stdint cimport int32_t, uint64_t

cdef extern from "fastlb.h" nogil:
    bint likely "fl_likely"(bint)
    bint unlikely "fl_unlikely"(bint)
    void fl_assert(bint)
    void fl_prefetch(const void*)
    long fl_syscall(long, long, long, long, long, long, long)
    int32_t fl_load32(const int32_t*)
    void fl_store32(int32_t*, int32_t)
    int32_t fl_add32(int32_t*, int32_t)
    int32_t fl_exchange32(int32_t*, int32_t)
    int32_t fl_or32(int32_t*, int32_t)
    int32_t fl_and32(int32_t*, int32_t)
    bint fl_cas32(int32_t*, int32_t, int32_t)
    uint64_t fl_load64(const uint64_t*)
    void fl_store64(uint64_t*, uint64_t)
    uint64_t fl_add64(uint64_t*, uint64_t)
    bint fl_cas64(uint64_t*, uint64_t, uint64_t)
    bint fl_cas_pair(uint64_t*, uint64_t, uint64_t, uint64_t, uint64_t)
    double fl_load_double(const double*)
    void fl_store_double(double*, double)
    void* fl_load_pointer(void**)
    void fl_store_pointer(void**, void*)
    void fl_fence()
    void fl_count(uint64_t*, uint64_t)
    uint64_t fl_read(const uint64_t*)
    const char* FASTLB_BUILD_MODE
