# HTTP/2 connections to servers, which the requests of one engine share.
# Finds, adds and gives up connections, and joins requests to them.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.enums cimport (
    EXCHANGE_CLOSE, EXCHANGE_HOLDS_SNAPSHOT, H2_IN_CHUNKS, H2_NO_BODY, H2_TUNNEL, HTTP_NO_BODY,
    HTTP_UPGRADE, HTTP_WEBSOCKET, LAYER_H2, REASON_DONE, REASON_SERVER_CLOSED, ROLE_CLIENT,
    ROLE_SERVER, STAGE_CONNECT, STAGE_DEAD, STREAM_CAUTIOUS, STREAM_TUNED, TRY_REUSED, WRITABLE,
)
from fastlb._core.base.h2stream cimport take_h2_stream
from fastlb._core.base.head cimport BODY_CHUNKED
from fastlb._core.base.httpmem cimport give_upstream, take_upstream
from fastlb._core.base.limits cimport H2_STREAMS_MAX
from fastlb._core.base.mem cimport give_exchange, take_exchange
from fastlb._core.base.queue cimport queue
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport H2, Core, Exchange, H2Stream, PoolEntry, Upstream
from fastlb._core.ext.atomic cimport fl_add32, fl_count, likely, unlikely
from fastlb._core.h2.session cimport h2_end, h2_take
from fastlb._core.http.upstream cimport expires_at


cdef inline uint32_t _tls_id(const PoolEntry* pool) noexcept nogil:
    return pool.tls.id if pool.tls != NULL else 0


cdef bint _is_spent(Core* core, const H2* h2) noexcept nogil:
    """Whether it takes no more requests, though those that it has go on."""
    return (h2.leaving or core.closing or h2.carrier.flags & EXCHANGE_CLOSE
            or (h2.requests_max and h2.requests >= h2.requests_max)
            or (h2.expires_ms and h2.expires_ms <= core.now_ms))


cdef H2* find_h2(Core* core, Exchange* x) noexcept nogil:
    """A connection to the server that was picked, with room for a request; NULL: there is none."""
    cdef H2* h2 = x.attempt.target.idle_lists[core.id].h2
    while h2 != NULL:
        if unlikely(h2.is_idle and _is_spent(core, h2)):
            queue(core, h2.carrier)         # its age came while it rested: it ends
        elif likely(h2.tls_id == _tls_id(x.pool) and h2.n_streams < h2.streams_max) \
                and not _is_spent(core, h2):
            return h2
        h2 = h2.next
    return NULL


cdef H2* add_h2(Core* core, Exchange* x) noexcept nogil:
    """A connection that is to be made, by an exchange of its own; NULL when memory is gone."""
    cdef Exchange* carrier = take_exchange(core)
    cdef PoolEntry* pool = x.pool
    cdef H2** first = &x.attempt.target.idle_lists[core.id].h2
    cdef H2* h2 = NULL
    if carrier == NULL:
        return NULL
    carrier.stage = STAGE_CONNECT
    h2 = h2_take(core, carrier, &carrier.server)
    if h2 == NULL:
        carrier.stage = STAGE_DEAD
        give_exchange(core, carrier)
        return NULL
    carrier.client.role = ROLE_CLIENT
    carrier.server.role = ROLE_SERVER
    carrier.flags = EXCHANGE_HOLDS_SNAPSHOT
    carrier.snapshot = x.snapshot
    fl_add32(&x.snapshot.users[core.id], 1)
    carrier.bind = x.bind
    carrier.pool = pool
    carrier.attempt.entry = x.attempt.entry
    carrier.attempt.target = x.attempt.target
    carrier.attempt.counters = x.attempt.counters
    carrier.listener = x.listener
    carrier.chunk_class = x.chunk_class
    carrier.bulk_class = x.bulk_class
    carrier.idle_timer = pool.keys.idle_connection_timeout_timer
    h2.target = x.attempt.target
    h2.tls_id = _tls_id(pool)
    h2.streams_max = first[0].streams_max if first[0] != NULL and first[0].streams_max \
        else <uint32_t> H2_STREAMS_MAX      # until it says so itself
    h2.requests_max = pool.keys.max_connection_requests
    h2.window_max = pool.keys.max_h2_window_bytes
    h2.expires_ms = expires_at(core, pool)
    h2.next = first[0]
    if h2.next != NULL:
        h2.next.prev = h2
    first[0] = h2
    queue(core, carrier)
    return h2


cdef void _count_idle(Core* core, H2* h2, int n) noexcept nogil:
    """One more, or less, that waits: what waits counts for nothing else."""
    h2.is_idle = n > 0
    fl_add32(&h2.target.idle, n)
    fl_count(&core.counters.idle, <uint64_t> n)
    fl_count(&core.counters.descriptors, <uint64_t> -n)
    fl_count(&core.counters.exchanges, <uint64_t> -n)
    if h2.socket.tls != NULL:
        fl_count(&core.counters.secured, <uint64_t> -n)


cdef bint join_h2(Core* core, Exchange* x, H2* h2) noexcept nogil:
    """Give a request a stream of it; False when memory is gone."""
    cdef Upstream* upstream = take_upstream(core)
    cdef H2Stream* st = NULL
    if upstream != NULL:
        st = take_h2_stream(core, h2)
    if unlikely(st == NULL):
        if upstream != NULL:
            give_upstream(core, upstream)
        return False
    if h2.is_idle:
        _count_idle(core, h2, -1)
        timer_cancel(&h2.carrier.timer)
    if x.http.request.kind == BODY_CHUNKED:
        st.flags |= H2_IN_CHUNKS
    if x.http.flags & HTTP_NO_BODY:
        st.flags |= H2_NO_BODY
    if unlikely(x.http.flags & HTTP_UPGRADE and x.http.flags & HTTP_WEBSOCKET):
        st.flags |= H2_TUNNEL
    st.stream = &upstream.stream
    upstream.target = x.attempt.target
    upstream.stream.exchange = x
    upstream.stream.layer = LAYER_H2
    upstream.stream.h2 = st
    upstream.stream.flags = STREAM_CAUTIOUS | STREAM_TUNED
    upstream.stream.ready = WRITABLE
    x.attempt.upstream = upstream
    x.to_server = &upstream.stream
    h2.n_exchanges += 1
    h2.requests += 1
    if h2.is_ready:
        x.attempt.flags |= TRY_REUSED
        fl_count(&x.attempt.counters.reused, 1)
    return True


cdef bint rest_or_work(Core* core, H2* h2) noexcept nogil:
    """What it is after a step; False: it has nothing to do any more."""
    if h2.n_streams:
        timer_cancel(&h2.carrier.timer)
        return True
    if _is_spent(core, h2) or h2.target.idle_lists[core.id].epoch != core.http.epoch:
        h2.carrier.reason = REASON_DONE
        return False
    if not h2.is_idle:
        _count_idle(core, h2, 1)
        timer_start(core, &h2.carrier.timer, h2.carrier.idle_timer)
    return True


cdef void leave_h2(Core* core, Exchange* x) noexcept nogil:
    """A connection ends: requests that are not over learn it."""
    cdef H2* h2 = x.h2
    if h2.is_idle:
        _count_idle(core, h2, -1)
    if h2.prev != NULL:
        h2.prev.next = h2.next
    else:
        h2.target.idle_lists[core.id].h2 = h2.next
    if h2.next != NULL:
        h2.next.prev = h2.prev
    h2_end(x, x.reason != REASON_DONE and x.reason != REASON_SERVER_CLOSED)
