# Exchanges and chunks from free lists of one engine; an idle exchange holds no chunk.
# What is taken is counted as alive until it is given back. NULL: memory is gone.
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.enums cimport STAGE_DEAD, STAGE_FREE
from fastlb._core.base.limits cimport CHUNKS_KEPT_BYTES, CHUNK_CLASSES, SLAB_EXCHANGES
from fastlb._core.base.types cimport Chunk, Core, Exchange, Slab, Stream
from fastlb._core.ext.atomic cimport fl_assert, fl_count, likely, unlikely


cdef int chunk_class(uint32_t size) noexcept nogil:
    """The smallest class that holds `size` bytes; the largest there is for more."""
    cdef int klass
    for klass in range(CHUNK_CLASSES):
        if chunk_size(klass) >= size:
            return klass
    return CHUNK_CLASSES - 1


cdef Chunk* take_chunk(Core* core, int klass) noexcept nogil:
    """A chunk with room for chunk_size(klass) bytes, or NULL when memory is gone."""
    cdef Chunk* chunk = core.free_chunks[klass]
    if likely(chunk != NULL):
        core.free_chunks[klass] = chunk.next
        core.n_free_chunks[klass] -= 1
    else:
        chunk = <Chunk*> malloc(sizeof(Chunk) + chunk_size(klass))
        if unlikely(chunk == NULL):
            return NULL
        chunk.klass = klass
    chunk.next = NULL
    chunk.start = 0
    chunk.end = 0
    chunk.scanned = 0
    return chunk


cdef void give_chunk(Core* core, Chunk* chunk) noexcept nogil:
    cdef uint32_t klass = chunk.klass
    if core.n_free_chunks[klass] >= <uint32_t> CHUNKS_KEPT_BYTES // chunk_size(klass):
        free(chunk)
        return
    chunk.next = core.free_chunks[klass]
    core.free_chunks[klass] = chunk
    core.n_free_chunks[klass] += 1


cdef void take_pending(Core* core, Stream* s, Chunk* chunk) noexcept nogil:
    """Let a stream hold a chunk until its peer takes the bytes."""
    fl_assert(s.pending == NULL)
    s.pending = chunk
    fl_count(&core.counters.chunks, 1)
    fl_count(&core.counters.chunk_bytes, chunk_size(chunk.klass))


cdef void give_pending(Core* core, Stream* s) noexcept nogil:
    cdef Chunk* chunk = s.pending
    s.pending = NULL
    fl_count(&core.counters.chunks, <uint64_t> -1)
    fl_count(&core.counters.chunk_bytes, -<uint64_t> chunk_size(chunk.klass))
    give_chunk(core, chunk)


cdef Chunk* take_held(Core* core, int klass) noexcept nogil:
    """A chunk that a request or connection holds; NULL when memory is gone."""
    cdef Chunk* chunk = take_chunk(core, klass)
    if likely(chunk != NULL):
        fl_count(&core.counters.chunks, 1)
    return chunk


cdef void give_held(Core* core, Chunk* chunk) noexcept nogil:
    if chunk != NULL:
        fl_count(&core.counters.chunks, <uint64_t> -1)
        give_chunk(core, chunk)


cdef bint take_input(Core* core, Exchange* x, const uint8_t* data, uint32_t size) noexcept nogil:
    """Keep what the client has sent ahead; False when memory is gone."""
    fl_assert(x.input == NULL)
    x.input = take_held(core, chunk_class(size))
    if x.input == NULL:
        return False
    memcpy(chunk_bytes(x.input), data, size)
    x.input.end = size
    return True


cdef void give_input(Core* core, Exchange* x) noexcept nogil:
    give_held(core, x.input)
    x.input = NULL


cdef void spend_input(Core* core, Exchange* x) noexcept nogil:
    """x.input has been used, and what was found in it is read until the turn's end."""
    give_spent(core)
    core.http.spent = x.input
    x.input = NULL


cdef void give_spent(Core* core) noexcept nogil:
    give_held(core, core.http.spent)
    core.http.spent = NULL


cdef bint _add_slab(Core* core) noexcept nogil:
    cdef Slab* slab = <Slab*> malloc(sizeof(Slab))
    cdef int i
    if slab == NULL:
        return False
    slab.exchanges = <Exchange*> calloc(SLAB_EXCHANGES, sizeof(Exchange))
    if slab.exchanges == NULL:
        free(slab)
        return False
    slab.next = core.slabs
    core.slabs = slab
    for i in range(SLAB_EXCHANGES):
        slab.exchanges[i].next_free = core.free
        core.free = &slab.exchanges[i]
    return True


cdef Exchange* take_exchange(Core* core) noexcept nogil:
    """A zeroed exchange without sockets, or NULL when memory is gone."""
    cdef Exchange* x
    cdef uint16_t client_generation, server_generation
    if unlikely(core.free == NULL) and not _add_slab(core):
        return NULL
    x = core.free
    core.free = x.next_free
    client_generation = x.client.generation
    server_generation = x.server.generation
    memset(x, 0, sizeof(Exchange))
    x.client.generation = client_generation
    x.server.generation = server_generation
    x.client.fd = x.server.fd = -1
    x.client.exchange = x.server.exchange = x
    x.to_server = &x.server
    x.timer.owner = x
    fl_count(&core.counters.exchanges, 1)
    return x


cdef void give_exchange(Core* core, Exchange* x) noexcept nogil:
    fl_assert(x.stage == STAGE_DEAD and x.client.fd < 0 and x.server.fd < 0)
    fl_assert(x.client.pending == NULL and x.server.pending == NULL)
    x.stage = STAGE_FREE
    x.next_free = core.free
    core.free = x
    fl_count(&core.counters.exchanges, <uint64_t> -1)


cdef void free_all(Core* core) noexcept nogil:
    """Everything that this engine ever allocated; no exchange may be alive."""
    cdef Slab* slab
    cdef Chunk* chunk
    cdef int klass
    while core.slabs != NULL:
        slab = core.slabs
        core.slabs = slab.next
        free(slab.exchanges)
        free(slab)
    core.free = NULL
    for klass in range(CHUNK_CLASSES):
        free(core.scratch[klass])
        core.scratch[klass] = NULL
        while core.free_chunks[klass] != NULL:
            chunk = core.free_chunks[klass]
            core.free_chunks[klass] = chunk.next
            free(chunk)
