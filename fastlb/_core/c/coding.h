/* zlib, brotli and zstd, or what stands for each in a build without. */
#ifndef FASTLB_CODING_H
#define FASTLB_CODING_H

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#ifdef FASTLB_ZLIB
#include <zlib.h>
#define FASTLB_HAS_ZLIB 1
#else
#define FASTLB_HAS_ZLIB 0
typedef struct z_stream_s {
    const unsigned char *next_in;
    unsigned char *next_out;
    unsigned avail_in, avail_out;
} z_stream;
enum { Z_OK, Z_STREAM_END, Z_BUF_ERROR = -5, Z_NO_FLUSH = 0, Z_SYNC_FLUSH = 2, Z_FINISH = 4,
       Z_DEFLATED = 8, Z_DEFAULT_STRATEGY = 0 };
static inline int deflateInit2(z_stream *s, int a, int b, int c, int d, int e) { return -1; }
static inline int deflate(z_stream *s, int flush) { return -1; }
static inline int deflateReset(z_stream *s) { return -1; }
static inline int deflateParams(z_stream *s, int level, int strategy) { return -1; }
static inline int deflateEnd(z_stream *s) { return -1; }
static inline const char *zlibVersion(void) { return ""; }
#endif

#ifdef FASTLB_BROTLI
#include <brotli/encode.h>
#define FASTLB_HAS_BROTLI 1
#else
#define FASTLB_HAS_BROTLI 0
typedef struct BrotliEncoderState BrotliEncoderState;
typedef int BrotliEncoderOperation;
enum { BROTLI_OPERATION_PROCESS, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_FINISH };
enum { BROTLI_PARAM_QUALITY, BROTLI_PARAM_LGWIN, BROTLI_PARAM_LGBLOCK };
static inline BrotliEncoderState *BrotliEncoderCreateInstance(
    void *(*take)(void *, size_t), void (*give)(void *, void *), void *opaque) { return NULL; }
static inline int BrotliEncoderSetParameter(BrotliEncoderState *s, int name, uint32_t value)
{ return 0; }
static inline int BrotliEncoderCompressStream(
    BrotliEncoderState *s, BrotliEncoderOperation op, size_t *in, const uint8_t **next_in,
    size_t *out, uint8_t **next_out, size_t *total) { return 0; }
static inline int BrotliEncoderHasMoreOutput(BrotliEncoderState *s) { return 0; }
static inline void BrotliEncoderDestroyInstance(BrotliEncoderState *s) {}
static inline uint32_t BrotliEncoderVersion(void) { return 0; }
#endif

/* Without memory libbrotlienc ends the whole process (BROTLI_ENCODER_EXIT_ON_OOM, the default up to
 * 1.0.9). So what takes memory for it never returns without: it leaves the library at once, by
 * fl_brotli_leave(). The encoder is not to be used again then, or even destroyed; its memory is its
 * caller's, who gave it. */
static __thread jmp_buf fl_brotli_left __attribute__((unused));
static inline void fl_brotli_leave(void) { longjmp(fl_brotli_left, 1); }
static inline BrotliEncoderState *fl_brotli_create(
    void *(*take)(void *, size_t), void (*give)(void *, void *), void *opaque)
{
    return setjmp(fl_brotli_left) ? NULL : BrotliEncoderCreateInstance(take, give, opaque);
}
static inline int fl_brotli_compress(
    BrotliEncoderState *s, BrotliEncoderOperation op, size_t *in, const uint8_t **next_in,
    size_t *out, uint8_t **next_out)
{
    return setjmp(fl_brotli_left)
        ? 0 : BrotliEncoderCompressStream(s, op, in, next_in, out, next_out, NULL);
}

#ifdef FASTLB_ZSTD
#include <zstd.h>
#define FASTLB_HAS_ZSTD 1
#else
#define FASTLB_HAS_ZSTD 0
typedef struct ZSTD_CCtx_s ZSTD_CCtx;
typedef struct { const void *src; size_t size, pos; } ZSTD_inBuffer;
typedef struct { void *dst; size_t size, pos; } ZSTD_outBuffer;
enum { ZSTD_e_continue, ZSTD_e_flush, ZSTD_e_end };
enum { ZSTD_reset_session_only };
enum { ZSTD_c_compressionLevel, ZSTD_c_windowLog };
static inline ZSTD_CCtx *ZSTD_createCCtx(void) { return NULL; }
static inline size_t ZSTD_freeCCtx(ZSTD_CCtx *c) { return 0; }
static inline size_t ZSTD_CCtx_reset(ZSTD_CCtx *c, int what) { return 0; }
static inline size_t ZSTD_CCtx_setParameter(ZSTD_CCtx *c, int name, int value) { return 0; }
static inline size_t ZSTD_CCtx_setPledgedSrcSize(ZSTD_CCtx *c, unsigned long long n) { return 0; }
static inline size_t ZSTD_compressStream2(
    ZSTD_CCtx *c, ZSTD_outBuffer *out, ZSTD_inBuffer *in, int op) { return 1; }
static inline unsigned ZSTD_isError(size_t code) { return 1; }
static inline const char *ZSTD_versionString(void) { return ""; }
#endif

#endif
