# Coders of content: contexts of zstd, brotli and gzip, kept by one engine for the next response.
# A context is large (gzip 0.3 MB, zstd 1.9 MB, brotli 1 MB) and is made once: a coder that is given
# back rests in a list of its coding. NULL: too many are at work, memory is gone, or the build is
# without the coding's library.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc

from fastlb._core.base.limits cimport CODED_CLASS, CODERS_KEPT, CODERS_MAX
from fastlb._core.base.mem cimport take_chunk
from fastlb._core.base.text cimport Writer
from fastlb._core.base.types cimport Core
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.ext.coding cimport (
    BROTLI_OPERATION_FINISH, BROTLI_OPERATION_FLUSH, BROTLI_OPERATION_PROCESS,
    BROTLI_PARAM_LGBLOCK, BROTLI_PARAM_LGWIN, BROTLI_PARAM_QUALITY, Z_BUF_ERROR,
    Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_FINISH, Z_NO_FLUSH, Z_OK, Z_STREAM_END, Z_SYNC_FLUSH,
    ZSTD_c_compressionLevel, ZSTD_c_windowLog, ZSTD_e_continue, ZSTD_e_end, ZSTD_e_flush,
    ZSTD_reset_session_only, BrotliEncoderDestroyInstance, BrotliEncoderHasMoreOutput,
    BrotliEncoderOperation, BrotliEncoderSetParameter, ZSTD_CCtx_reset, ZSTD_CCtx_setParameter,
    ZSTD_CCtx_setPledgedSrcSize, ZSTD_compressStream2, ZSTD_createCCtx, ZSTD_freeCCtx,
    ZSTD_inBuffer, ZSTD_isError, ZSTD_outBuffer, deflate, deflateEnd, deflateInit2, deflateParams,
    deflateReset, fl_brotli_compress, fl_brotli_create, fl_brotli_leave, z_stream,
)
from fastlb._core.tables.compression cimport CODING_GZIP, CODING_ZSTD, CODINGS

cdef enum:
    GZIP_WINDOW_BITS = 31       # 15, and 16 for gzip's framing
    GZIP_MEMORY = 8             # zlib's own: 256 KiB with the window
    ZSTD_WINDOW_LOG = 20        # 1 MiB; RFC 9659 allows 8 MiB, which each response would hold
    BROTLI_WINDOW_LOG = 18      # 256 KiB; gzip has 32 KiB
    BROTLI_BLOCK_LOG = 16       # 64 KiB: what is kept back at most

cdef struct Coders:
    Coder* free[CODINGS]
    uint32_t[CODINGS] n_free


cdef void* _take_block(void* opaque, size_t size) noexcept nogil:
    """Memory for a brotli encoder: a block of that size that rests, or a new one. Without memory,
    the encoder is left (see c/coding.h), and its blocks rest."""
    cdef Coder* coder = <Coder*> opaque
    cdef Block* place = NULL
    cdef int i
    for i in range(BROTLI_BLOCKS):
        if not coder.blocks[i].is_taken:
            if coder.blocks[i].at != NULL and coder.blocks[i].size == size:
                coder.blocks[i].is_taken = True
                return coder.blocks[i].at
            if place == NULL or coder.blocks[i].at == NULL:
                place = &coder.blocks[i]
    if likely(place != NULL):
        free(place.at)
        place.at = malloc(size)
        if likely(place.at != NULL):
            place.size = size
            place.is_taken = True
            return place.at
    for i in range(BROTLI_BLOCKS):
        coder.blocks[i].is_taken = False
    coder.brotli = NULL
    fl_brotli_leave()
    return NULL


cdef void _give_block(void* opaque, void* at) noexcept nogil:
    cdef Coder* coder = <Coder*> opaque
    cdef int i
    for i in range(BROTLI_BLOCKS):
        if coder.blocks[i].at == at:
            coder.blocks[i].is_taken = False


cdef bint _begin_gzip(Coder* coder, int level) noexcept nogil:
    if coder.gzip == NULL:
        coder.gzip = <z_stream*> calloc(1, sizeof(z_stream))
        if coder.gzip == NULL:
            return False
        if deflateInit2(coder.gzip, level, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY,
                        Z_DEFAULT_STRATEGY) != Z_OK:
            free(coder.gzip)
            coder.gzip = NULL
            return False
        return True
    if deflateReset(coder.gzip) != Z_OK:
        return False
    # (right after a reset nothing has to be flushed for it)
    return coder.level == level or deflateParams(coder.gzip, level, Z_DEFAULT_STRATEGY) == Z_OK


cdef bint _begin_zstd(Coder* coder, int level, uint64_t size) noexcept nogil:
    if coder.zstd == NULL:
        coder.zstd = ZSTD_createCCtx()
        if coder.zstd == NULL:
            return False
        if ZSTD_isError(ZSTD_CCtx_setParameter(coder.zstd, ZSTD_c_windowLog, ZSTD_WINDOW_LOG)):
            return False
    if ZSTD_isError(ZSTD_CCtx_reset(coder.zstd, ZSTD_reset_session_only)):
        return False
    if size and ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(coder.zstd, size)):
        return False
    return not ZSTD_isError(ZSTD_CCtx_setParameter(coder.zstd, ZSTD_c_compressionLevel, level))


cdef bint _begin_brotli(Coder* coder, int level) noexcept nogil:
    """An encoder can't be used again, but its memory can."""
    coder.brotli = fl_brotli_create(_take_block, _give_block, coder)
    return (coder.brotli != NULL
            and BrotliEncoderSetParameter(coder.brotli, BROTLI_PARAM_QUALITY, level)
            and BrotliEncoderSetParameter(coder.brotli, BROTLI_PARAM_LGWIN, BROTLI_WINDOW_LOG)
            and BrotliEncoderSetParameter(coder.brotli, BROTLI_PARAM_LGBLOCK, BROTLI_BLOCK_LOG))


cdef bint _begin(Coder* coder, int level, uint64_t size) noexcept nogil:
    cdef bint fine
    if coder.coding == CODING_GZIP:
        fine = _begin_gzip(coder, level)
    elif coder.coding == CODING_ZSTD:
        fine = _begin_zstd(coder, level, size)
    else:
        fine = _begin_brotli(coder, level)
    coder.level = level
    return fine


cdef void _free_coder(Coder* coder) noexcept nogil:
    cdef int i
    if coder.gzip != NULL:
        deflateEnd(coder.gzip)
        free(coder.gzip)
    if coder.zstd != NULL:
        ZSTD_freeCCtx(coder.zstd)
    if coder.brotli != NULL:
        BrotliEncoderDestroyInstance(coder.brotli)
    for i in range(BROTLI_BLOCKS):
        free(coder.blocks[i].at)
    free(coder)


cdef Coders* _coders(Core* core) noexcept nogil:
    """An engine's, made with the first: its coders, and the chunk that they write to."""
    if likely(core.http.filtering.coders != NULL):
        return <Coders*> core.http.filtering.coders
    if core.http.filtering.coded == NULL:
        core.http.filtering.coded = take_chunk(core, CODED_CLASS)
        if core.http.filtering.coded == NULL:
            return NULL
    core.http.filtering.coders = calloc(1, sizeof(Coders))
    return <Coders*> core.http.filtering.coders


cdef Coder* take_coder(Core* core, int coding, int level, uint64_t size) noexcept nogil:
    """A coder for a body of `size` bytes (0: not known), or NULL."""
    cdef Coders* coders = _coders(core)
    cdef Coder* coder
    if unlikely(coders == NULL or core.counters.coders >= CODERS_MAX):
        return NULL
    coder = coders.free[coding]
    if coder != NULL:
        coders.free[coding] = coder.next
        coders.n_free[coding] -= 1
    else:
        coder = <Coder*> calloc(1, sizeof(Coder))
        if coder == NULL:
            return NULL
        coder.coding = <uint8_t> coding
    if unlikely(not _begin(coder, level, size)):
        _free_coder(coder)
        return NULL
    fl_count(&core.counters.coders, 1)
    return coder


cdef void give_coder(Core* core, Coder* coder) noexcept nogil:
    cdef Coders* coders = <Coders*> core.http.filtering.coders
    fl_count(&core.counters.coders, <uint64_t> -1)
    if coder.brotli != NULL:
        BrotliEncoderDestroyInstance(coder.brotli)
        coder.brotli = NULL
    if coders.n_free[coder.coding] >= CODERS_KEPT:
        _free_coder(coder)
        return
    coder.next = coders.free[coder.coding]
    coders.free[coder.coding] = coder
    coders.n_free[coder.coding] += 1


cdef void free_coders(Core* core) noexcept nogil:
    cdef Coders* coders = <Coders*> core.http.filtering.coders
    cdef Coder* coder
    cdef int i
    free(core.http.filtering.coded)
    core.http.filtering.coded = NULL
    if coders == NULL:
        return
    for i in range(<int> CODINGS):
        while coders.free[i] != NULL:
            coder = coders.free[i]
            coders.free[i] = coder.next
            _free_coder(coder)
    free(coders)
    core.http.filtering.coders = NULL


# --- code: False where there is no room, or the library refuses; nothing more is to be expected ---

cdef bint _code_gzip(z_stream* gzip, const uint8_t* data, uint32_t size, int step,
                     Writer* w) noexcept nogil:
    cdef int flush = Z_FINISH if step == CODE_END else Z_SYNC_FLUSH if step == CODE_FLUSH \
        else Z_NO_FLUSH
    cdef int said
    gzip.next_in, gzip.avail_in = <uint8_t*> data, size
    gzip.next_out, gzip.avail_out = w.at, <uint32_t> (w.end - w.at)
    said = deflate(gzip, flush)
    w.at = gzip.next_out
    if step == CODE_END:
        return said == Z_STREAM_END
    # (Z_BUF_ERROR: there was nothing to do)
    return (said == Z_OK or said == Z_BUF_ERROR) and gzip.avail_in == 0 and gzip.avail_out != 0


cdef bint _code_zstd(ZSTD_CCtx* zstd, const uint8_t* data, uint32_t size, int step,
                     Writer* w) noexcept nogil:
    cdef ZSTD_inBuffer given
    cdef ZSTD_outBuffer made
    cdef size_t left
    given.src, given.size, given.pos = data, size, 0
    made.dst, made.size, made.pos = w.at, w.end - w.at, 0
    while True:                         # ends: each call takes or makes something
        left = ZSTD_compressStream2(
            zstd, &made, &given, ZSTD_e_end if step == CODE_END
            else ZSTD_e_flush if step == CODE_FLUSH else ZSTD_e_continue)
        if ZSTD_isError(left) or made.pos == made.size:
            return False
        if given.pos == given.size and (left == 0 or step == CODE_MORE):
            w.at += made.pos
            return True


cdef bint _code_brotli(BrotliEncoderState* brotli, const uint8_t* data, uint32_t size, int step,
                       Writer* w) noexcept nogil:
    cdef size_t left_in = size, left_out = w.end - w.at
    cdef uint8_t* out = w.at
    cdef BrotliEncoderOperation operation = (
        BROTLI_OPERATION_FINISH if step == CODE_END
        else BROTLI_OPERATION_FLUSH if step == CODE_FLUSH else BROTLI_OPERATION_PROCESS)
    while True:                         # ends: each call takes or makes something
        if not fl_brotli_compress(
                brotli, operation, &left_in, &data, &left_out, &out) or left_out == 0:
            return False
        if left_in == 0 and not BrotliEncoderHasMoreOutput(brotli):
            w.at = out
            return True


cdef bint code(Coder* coder, const uint8_t* data, uint32_t size, int step,
               Writer* w) noexcept nogil:
    """Code `size` bytes of content, and append what comes of it."""
    if coder.coding == CODING_GZIP:
        return _code_gzip(coder.gzip, data, size, step, w)
    if coder.coding == CODING_ZSTD:
        return _code_zstd(coder.zstd, data, size, step, w)
    return _code_brotli(coder.brotli, data, size, step, w)
