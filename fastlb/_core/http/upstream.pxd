from libc.stdint cimport uint8_t

from fastlb._core.base.types cimport Core, Exchange, Http, ServerLive, Stream, Upstream


cdef inline Exchange* client_of(Exchange* x) noexcept nogil:
    """Of a request of HTTP/2, its connection."""
    return x.carrier if x.carrier != NULL else x


cdef Upstream* take_idle(Core* core, ServerLive* target) noexcept nogil
cdef Upstream* take_kept(Core* core, Exchange* x, bint introduced) noexcept nogil
cdef void keep_idle(Core* core, Upstream* upstream) noexcept nogil
cdef void drop_idle(Core* core, Upstream* upstream) noexcept nogil
cdef bint make_room(Core* core, int error) noexcept nogil
cdef void drop_all_idle(Core* core, bint gone_only) noexcept nogil
cdef void end_upstream(Core* core, Http* http, bint reset) noexcept nogil
cdef void hear_idle(Core* core, Stream* s, uint8_t ready) noexcept nogil
