# Both directions of two connected streams: what the stages that carry bytes share.
from fastlb._core.base.enums cimport (
    AGAIN, END, NEXT, REASON_DONE, STREAM_BULK, STREAM_CAUTIOUS, STREAM_SHUT, URGENT,
)
from fastlb._core.base.limits cimport BULK_HELD_BYTES_MAX
from fastlb._core.base.net cimport net_urgent
from fastlb._core.base.stream cimport stream_shut
from fastlb._core.base.types cimport Core, Exchange, Stream
from fastlb._core.ext.atomic cimport likely, unlikely


cdef inline int read_class(Core* core, Exchange* x, Stream* source) noexcept nogil:
    """The small buffer stays in the cache and holds any message; large flows pay fewer calls with
    the large one (bench/micro/bulk_relay.md), unless slow readers hold too many of them."""
    if likely(not source.flags & STREAM_BULK):
        return x.chunk_class
    if core.counters.chunk_bytes >= BULK_HELD_BYTES_MAX:
        return x.chunk_class
    return x.bulk_class


cdef inline void hear_urgent(Exchange* x) noexcept nogil:
    if unlikely((x.client.ready | x.server.ready) & URGENT):
        _be_cautious(&x.client)
        _be_cautious(&x.server)


cdef inline void _be_cautious(Stream* s) noexcept nogil:
    if s.ready & URGENT and not s.flags & STREAM_CAUTIOUS:
        net_urgent(s)


cdef inline int end_ways(Exchange* x, int to_server, int to_client) noexcept nogil:
    """The verdict of both ways; one that has ended is shut for the side that it goes to."""
    if to_server == NEXT and to_client == NEXT:
        x.reason = REASON_DONE      # both close now, which sends the FINs that are still owed
        return END
    if to_server == NEXT and not x.server.flags & STREAM_SHUT:
        x.server.flags |= STREAM_SHUT
        stream_shut(&x.server)
    if to_client == NEXT and not x.client.flags & STREAM_SHUT:
        x.client.flags |= STREAM_SHUT
        stream_shut(&x.client)
    return AGAIN
