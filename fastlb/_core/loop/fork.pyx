# What a forked child closes: its copies of our descriptors. It touches nothing that they stand for.
from libc.stdlib cimport free

from fastlb._core.base.enums cimport LAYER_TLS, STAGE_FREE
from fastlb._core.base.limits cimport SLAB_EXCHANGES
from fastlb._core.base.mem cimport give_pending
from fastlb._core.base.net cimport net_close
from fastlb._core.base.pipe cimport give_pipe
from fastlb._core.base.tls cimport tls_close
from fastlb._core.base.types cimport Acceptor, Core, Slab, Stream, Upstream


cdef void _abandon(Core* core, Stream* s) noexcept nogil:
    if s.pending != NULL:
        give_pending(core, s)
    if s.pipe != NULL:
        give_pipe(core, s.pipe)
        s.pipe = NULL
    if s.layer == LAYER_TLS:
        tls_close(core, s, True)
    if s.fd >= 0:
        net_close(s.fd)
        s.fd = -1


cdef void abandon_streams(Core* core) noexcept nogil:
    cdef Slab* slab = core.slabs
    cdef Upstream* idle = core.http.idle
    cdef Acceptor* acceptor
    cdef int i
    while slab != NULL:
        for i in range(SLAB_EXCHANGES):
            if slab.exchanges[i].stage != STAGE_FREE:
                _abandon(core, &slab.exchanges[i].client)
                _abandon(core, &slab.exchanges[i].server)
                if slab.exchanges[i].attempt.upstream != NULL:
                    _abandon(core, &slab.exchanges[i].attempt.upstream.stream)
        slab = slab.next
    while idle != NULL:
        _abandon(core, &idle.stream)
        idle = idle.older
    core.http.idle = NULL
    while core.dropped != NULL:
        acceptor = core.dropped
        core.dropped = acceptor.next
        if acceptor.stream.fd >= 0:
            net_close(acceptor.stream.fd)
        free(acceptor)
