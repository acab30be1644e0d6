# Coders of content: one interface to zstd, brotli and gzip.
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t

from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core
from fastlb._core.ext.coding cimport BrotliEncoderState, ZSTD_CCtx, z_stream

cdef enum CoderStep:            # what is done with what it has been given
    CODE_MORE = 0               # it may keep some of it back
    CODE_FLUSH = 1              # all of it comes out
    CODE_END = 2                # and nothing follows

cdef enum:
    BROTLI_BLOCKS = 32          # of memory that an encoder takes: 12 to 20 as measured

cdef struct Block:              # of memory, of a brotli encoder; it rests with its coder
    void* at
    size_t size
    uint8_t is_taken

cdef struct Coder:
    uint8_t coding              # Coding
    int32_t level
    z_stream* gzip
    ZSTD_CCtx* zstd
    BrotliEncoderState* brotli
    Block[BROTLI_BLOCKS] blocks
    Coder* next


cdef Coder* take_coder(Core* core, int coding, int level, uint64_t size) noexcept nogil
cdef bint code(Coder* coder, const uint8_t* data, uint32_t size, int step,
               Writer* w) noexcept nogil
cdef void give_coder(Core* core, Coder* coder) noexcept nogil
cdef void free_coders(Core* core) noexcept nogil
