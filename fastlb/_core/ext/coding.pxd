# What is used of zlib, brotli and zstd, by way of c/coding.h.
from libc.stdint cimport uint8_t, uint32_t

cdef extern from "coding.h" nogil:
    int FASTLB_HAS_ZLIB, FASTLB_HAS_BROTLI, FASTLB_HAS_ZSTD

    ctypedef struct z_stream:
        uint8_t* next_in            # (which is only read)
        uint8_t* next_out
        unsigned int avail_in, avail_out
    enum:
        Z_OK, Z_STREAM_END, Z_BUF_ERROR, Z_NO_FLUSH, Z_SYNC_FLUSH, Z_FINISH, Z_DEFLATED
        Z_DEFAULT_STRATEGY
    int deflateInit2(z_stream*, int level, int method, int window_bits, int memory, int strategy)
    int deflate(z_stream*, int flush)
    int deflateReset(z_stream*)
    int deflateParams(z_stream*, int level, int strategy)
    int deflateEnd(z_stream*)
    const char* zlibVersion()

    ctypedef struct BrotliEncoderState:
        pass
    ctypedef int BrotliEncoderOperation
    enum:
        BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH
        BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_LGBLOCK
    BrotliEncoderState* fl_brotli_create(
        void* (*take)(void*, size_t) noexcept, void (*give)(void*, void*) noexcept, void* opaque)
    void fl_brotli_leave()
    int BrotliEncoderSetParameter(BrotliEncoderState*, int name, uint32_t value)
    int fl_brotli_compress(
        BrotliEncoderState*, BrotliEncoderOperation, size_t* left_in, const uint8_t** next_in,
        size_t* left_out, uint8_t** next_out)
    int BrotliEncoderHasMoreOutput(BrotliEncoderState*)
    void BrotliEncoderDestroyInstance(BrotliEncoderState*)
    uint32_t BrotliEncoderVersion()

    ctypedef struct ZSTD_CCtx:
        pass
    ctypedef struct ZSTD_inBuffer:
        const void* src
        size_t size, pos
    ctypedef struct ZSTD_outBuffer:
        void* dst
        size_t size, pos
    enum:
        ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end, ZSTD_reset_session_only
        ZSTD_c_compressionLevel, ZSTD_c_windowLog
    ZSTD_CCtx* ZSTD_createCCtx()
    size_t ZSTD_freeCCtx(ZSTD_CCtx*)
    size_t ZSTD_CCtx_reset(ZSTD_CCtx*, int what)
    size_t ZSTD_CCtx_setParameter(ZSTD_CCtx*, int name, int value)
    size_t ZSTD_CCtx_setPledgedSrcSize(ZSTD_CCtx*, unsigned long long size)
    size_t ZSTD_compressStream2(ZSTD_CCtx*, ZSTD_outBuffer*, ZSTD_inBuffer*, int operation)
    unsigned int ZSTD_isError(size_t code)
    const char* ZSTD_versionString()
