# Idle connections to HTTP servers: the latest used is taken first. Those that are too many grow old
# and go. Each engine keeps its own: one that another engine's epoll watches would have to be moved,
# which costs two system calls, and a lock. A connection that has taken on something of its client
# (the PROXY protocol named the client, or the server has authenticated it) is private: it is in no
# server's list, and only its client, which has one at most, finds it.
from libc.errno cimport EAGAIN, EMFILE, ENFILE
from libc.stdint cimport uint64_t, uint8_t

from fastlb._core.base.enums cimport (
    ERROR, EXCHANGE_SHADOW, HANGUP, LAYER_H2, PEER_SHUT, READABLE, ROLE_IDLE, ROLE_SERVER,
    TRY_SENT,
)
from fastlb._core.base.httpmem cimport give_upstream
from fastlb._core.base.stream cimport close_stream, stream_read
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Core, Exchange, IdleList, ServerLive, Stream, Upstream
from fastlb._core.ext.atomic cimport fl_add32, fl_count, likely, unlikely


cdef inline bint _is_private(const Upstream* upstream) noexcept nogil:
    return unlikely(upstream.is_introduced or upstream.is_bound)


cdef void _leave_list(Core* core, Upstream* upstream) noexcept nogil:
    cdef IdleList* idle = &upstream.target.idle_lists[core.id]
    if upstream.prev != NULL:
        upstream.prev.next = upstream.next
    else:
        idle.first = upstream.next
    if upstream.next != NULL:
        upstream.next.prev = upstream.prev
    upstream.prev = upstream.next = NULL


cdef void _join_list(Core* core, Upstream* upstream) noexcept nogil:
    cdef IdleList* idle = &upstream.target.idle_lists[core.id]
    upstream.prev = NULL
    upstream.next = idle.first
    if idle.first != NULL:
        idle.first.prev = upstream
    idle.first = upstream


cdef void _unlink(Core* core, Upstream* upstream) noexcept nogil:
    if not _is_private(upstream):
        _leave_list(core, upstream)
    if upstream.newer != NULL:
        upstream.newer.older = upstream.older
    else:
        core.http.idle = upstream.older
    if upstream.older != NULL:
        upstream.older.newer = upstream.newer
    upstream.newer = upstream.older = NULL
    if unlikely(upstream.owner != NULL):
        upstream.owner.kept = NULL
        upstream.owner = NULL
    if likely(not upstream.is_bound):
        upstream.target.idle_lists[core.id].count -= 1
    timer_cancel(&upstream.timer)
    fl_add32(&upstream.target.idle, -1)
    fl_count(&core.counters.idle, <uint64_t> -1)
    fl_count(&core.counters.descriptors, 1)
    fl_count(&core.counters.upstreams, 1)
    if unlikely(upstream.stream.tls != NULL):
        fl_count(&core.counters.secured, 1)
    upstream.stream.role = ROLE_SERVER


cdef void drop_idle(Core* core, Upstream* upstream) noexcept nogil:
    """Close one that waits: it is old, nobody's any more, or something came of it unasked."""
    _unlink(core, upstream)
    close_stream(core, &upstream.stream, False)
    give_upstream(core, upstream)


cdef bint make_room(Core* core, int error) noexcept nogil:
    """Whether -errno says that descriptors are used up, and a connection that only waits for a
    request has given its own up."""
    if (error != -EMFILE and error != -ENFILE) or core.http.idle == NULL:
        return False
    drop_idle(core, core.http.idle)
    return True


cdef inline bint _is_spent(const Core* core, const Upstream* upstream) noexcept nogil:
    return upstream.stream.ready & (READABLE | ERROR | HANGUP | PEER_SHUT) != 0 or (
        upstream.expires_ms != 0 and upstream.expires_ms <= core.now_ms and not upstream.is_bound)


cdef Upstream* take_idle(Core* core, ServerLive* target) noexcept nogil:
    cdef IdleList* idle = &target.idle_lists[core.id]
    cdef Upstream* upstream
    while idle.first != NULL:
        upstream = idle.first
        if _is_spent(core, upstream):
            drop_idle(core, upstream)
            continue
        _unlink(core, upstream)
        return upstream
    return NULL


cdef Upstream* take_kept(Core* core, Exchange* x, bint introduced) noexcept nogil:
    """The client's own connection to its server, if it waits, and has begun as the pool wants it:
    with a header of the PROXY protocol or without."""
    cdef Upstream* upstream = client_of(x).kept
    if upstream == NULL or upstream.target != x.attempt.target \
            or upstream.is_introduced != introduced:
        return NULL
    if _is_spent(core, upstream):
        drop_idle(core, upstream)
        return NULL
    _unlink(core, upstream)
    return upstream


cdef void keep_idle(Core* core, Upstream* upstream) noexcept nogil:
    upstream.stream.role = ROLE_IDLE
    upstream.stream.exchange = NULL
    if not _is_private(upstream):
        _join_list(core, upstream)
    if likely(not upstream.is_bound):
        upstream.target.idle_lists[core.id].count += 1
    upstream.newer = NULL
    upstream.older = core.http.idle
    if core.http.idle != NULL:
        core.http.idle.newer = upstream
    core.http.idle = upstream
    fl_add32(&upstream.target.idle, 1)
    fl_count(&core.counters.idle, 1)
    fl_count(&core.counters.descriptors, <uint64_t> -1)
    fl_count(&core.counters.upstreams, <uint64_t> -1)
    if unlikely(upstream.stream.tls != NULL):
        fl_count(&core.counters.secured, <uint64_t> -1)
    if likely(not upstream.is_bound):       # (or the client would have to authenticate again)
        timer_start(core, &upstream.timer, upstream.idle_timer)


cdef void drop_all_idle(Core* core, bint gone_only) noexcept nogil:
    """Those to servers that the latest snapshot doesn't name, or all."""
    cdef Upstream* upstream = core.http.idle
    cdef Upstream* following
    while upstream != NULL:
        following = upstream.older
        if not gone_only or upstream.target.idle_lists[core.id].epoch != core.http.epoch:
            drop_idle(core, upstream)
        upstream = following


cdef bint _may_wait(Core* core, Exchange* x, Upstream* upstream) noexcept nogil:
    """Any may, but of a client's private ones only the latest."""
    cdef Exchange* client = client_of(x)
    if not _is_private(upstream):
        return True
    if x.flags & EXCHANGE_SHADOW:
        return False
    if client.kept != NULL:
        drop_idle(core, client.kept)
    client.kept = upstream
    upstream.owner = client
    return True


cdef bint _is_drained(Stream* s) noexcept nogil:
    """Whether nothing follows the response. A body that was read to its length and not until the
    socket had no more leaves that open."""
    cdef uint8_t byte
    if not s.ready & READABLE:
        return True
    if stream_read(s, &byte, 1) != -EAGAIN:
        return False
    s.ready &= <uint8_t> ~READABLE
    return True


cdef inline bint _is_within_limits(const Core* core, const Upstream* upstream) noexcept nogil:
    return upstream.target.idle_lists[core.id].count < upstream.idle_max \
        and (upstream.requests_max == 0 or upstream.requests < upstream.requests_max)


cdef void end_upstream(Core* core, Exchange* x, bint reset) noexcept nogil:
    """A request lets go of its connection: keep it if it can serve another one."""
    cdef Upstream* upstream = x.attempt.upstream
    if upstream == NULL:
        return
    x.attempt.upstream = NULL
    if unlikely(upstream.stream.layer == LAYER_H2):
        close_stream(core, &upstream.stream, reset)
        give_upstream(core, upstream)
        return
    if upstream.keep and not reset and not core.closing \
            and x.http.request.done and x.attempt.flags & TRY_SENT \
            and upstream.stream.pending == NULL and upstream.stream.pipe == NULL \
            and not upstream.stream.ready & (ERROR | HANGUP | PEER_SHUT) \
            and (_is_within_limits(core, upstream) or upstream.is_bound) \
            and _is_drained(&upstream.stream) and _may_wait(core, x, upstream):
        keep_idle(core, upstream)
        return
    close_stream(core, &upstream.stream, reset)
    give_upstream(core, upstream)


cdef void hear_idle(Core* core, Stream* s, uint8_t ready) noexcept nogil:
    """Something came of a connection that waits: nothing can be right."""
    s.ready |= ready
    if unlikely(s.tls != NULL) and not ready & (ERROR | HANGUP | PEER_SHUT) and _is_drained(s):
        return                          # (a ticket of its TLS)
    if ready & (READABLE | ERROR | HANGUP | PEER_SHUT):
        drop_idle(core, <Upstream*> s)
