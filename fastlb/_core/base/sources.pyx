# Sessions and connections counted by source, behind one lock for all engines.
# The table doubles when it is half full; where there is no memory for that, it is used until it is
# full, and then new sources are refused.
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.limits cimport SOURCES_MIN
from fastlb._core.base.parts cimport Address
from fastlb._core.base.source cimport source_of
from fastlb._core.base.text cimport mix64
from fastlb._core.base.sys cimport yield_cpu
from fastlb._core.ext.atomic cimport fl_exchange32, fl_store32


cdef bint sources_open(Sources* sources, uint64_t seed) noexcept nogil:
    """False when memory is gone. free() gives `places` back."""
    sources.lock = 0
    sources.n = 0
    sources.seed = seed
    sources.mask = SOURCES_MIN - 1
    sources.places = <Source*> calloc(SOURCES_MIN, sizeof(Source))
    return sources.places != NULL


cdef void _lock(Sources* sources) noexcept nogil:
    while fl_exchange32(&sources.lock, 1):
        yield_cpu()


cdef uint32_t _find(const Sources* sources, uint64_t source) noexcept nogil:
    """Where it is, or would be."""
    cdef uint32_t at = <uint32_t> mix64(source ^ sources.seed) & sources.mask
    while sources.places[at].count and sources.places[at].address != source:
        at = (at + 1) & sources.mask
    return at


cdef bint _grow(Sources* sources) noexcept nogil:
    cdef Source* old = sources.places
    cdef uint32_t size = sources.mask + 1, i
    cdef Source* places = <Source*> calloc(<size_t> size * 2, sizeof(Source))
    if places == NULL:
        return False
    sources.places = places
    sources.mask = size * 2 - 1
    for i in range(size):
        if old[i].count:
            places[_find(sources, old[i].address)] = old[i]
    free(old)
    return True


cdef bint source_take(Sources* sources, const Address* address, int32_t most) noexcept nogil:
    """One more; False where it has as many as it may."""
    cdef uint64_t source = source_of(address)
    cdef uint32_t at
    cdef bint taken = False
    _lock(sources)
    at = _find(sources, source)
    if sources.places[at].count == 0 and sources.n * 2 > sources.mask and _grow(sources):
        at = _find(sources, source)
    if sources.places[at].count < most and sources.n < sources.mask:
        if sources.places[at].count == 0:
            sources.n += 1
            sources.places[at].address = source
        sources.places[at].count += 1
        taken = True
    fl_store32(&sources.lock, 0)
    return taken


cdef void source_give(Sources* sources, const Address* address) noexcept nogil:
    cdef uint32_t at, hole, home
    _lock(sources)
    at = _find(sources, source_of(address))
    if sources.places[at].count:
        sources.places[at].count -= 1
        if sources.places[at].count == 0:
            # Those behind it move up, so that looking may stop at the first free place.
            sources.n -= 1
            hole = at
            while True:
                at = (at + 1) & sources.mask
                if sources.places[at].count == 0:
                    break
                home = <uint32_t> mix64(sources.places[at].address ^ sources.seed) & sources.mask
                if (at - home & sources.mask) >= (at - hole & sources.mask):
                    sources.places[hole] = sources.places[at]
                    sources.places[at].count = 0
                    hole = at
    fl_store32(&sources.lock, 0)
