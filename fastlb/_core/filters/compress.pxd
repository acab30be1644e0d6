# Compress responses: zstd, brotli, gzip.
from libc.stdint cimport uint8_t

from fastlb._core.base.types cimport Exchange

cdef struct Compressing:        # what a request keeps
    void* coder                 # Coder; NULL: the response is left as it is
    uint8_t coding              # Coding that the client prefers; 0: none
    uint8_t is_whole            # it asked for no part, and doesn't forbid to transform
    uint8_t knows_weak          # it has a weak ETag: it may have been ours
    uint8_t refuses_identity


cdef int coding_of(const Exchange* x) noexcept nogil
