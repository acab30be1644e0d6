# Count how an exchange ended, and tell those who want to know. Reads it; writes counters, series,
# the engine's ring of records, and the pool's state when nobody answered.
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t
from libc.string cimport memcpy, memset

from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_HTTP, HTTP_GRPC, READER_AWAKE, READER_NAPS,
    REASON_HANDED_OVER, REASON_NO_SERVER, TRY_HOLDS_SERVER,
)
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport (
    RECORDED_OTHER_BYTES, TLS_NAME_BYTES_MAX, TLS_SUBJECT_BYTES_MAX, TRIES_LOGGED,
)
from fastlb._core.base.mem cimport chunk_bytes
from fastlb._core.base.net cimport address_port
from fastlb._core.base.observations cimport (
    RECORD_ANSWERED, RECORD_HTTP, RECORD_TCP, RECORD_TUNNEL, RECORD_UDP, SERIES_CLIENT_LEFT,
    SERIES_GRPC, SERIES_REASON, SERIES_UNANSWERED, TOLD_FACTS, Record, Ring, SeriesSlot,
)
from fastlb._core.base.proxyfacts cimport FACTS_BYTES_MAX
from fastlb._core.base.reasons cimport is_of_client
from fastlb._core.base.ring cimport ring_put
from fastlb._core.base.sys cimport event_set
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport (
    fl_count, fl_exchange32, fl_fence, fl_load32, fl_load64, likely, unlikely,
)
from fastlb._core.ext.linux cimport AF_INET, AF_INET6, inet_ntop
from fastlb._core.facts.registry cimport (
    FACT_OF_CONNECTIONS, fact_find, fact_rows, facts_recorded, recorded_facts,
)
from fastlb._core.http.grpc cimport grpc_status
from fastlb._core.tables.histogram cimport histogram_add
from fastlb._core.tables.live cimport live_notify
from fastlb._core.tables.series cimport series_find


cdef enum:
    TEXTS_BYTES = (TLS_NAME_BYTES_MAX + TLS_SUBJECT_BYTES_MAX + 128 + FACTS_BYTES_MAX
                   + RECORDED_OTHER_BYTES)

cdef struct Session:            # a record with room for facts
    Record record
    uint8_t[TEXTS_BYTES] texts


cdef void record_step(Core* core, Exchange* x) noexcept nogil:
    """The end of a connection."""
    fl_count(&core.counters.ended[x.reason], 1)
    fl_count(&x.listener.counters[core.id].closed, 1)
    if x.flags & EXCHANGE_HTTP:
        if unlikely(x.http == NULL and x.books.bytes_in + x.books.bytes_out != 0):
            _count_bytes(core, x, x.books.bytes_in)
        if unlikely(x.http == NULL and x.books.note != NULL):
            _record_tunnel(core, x)
        return
    if unlikely(x.flags & EXCHANGE_HOLDS_SNAPSHOT):
        # It never got as far as the relay.
        fl_count(&x.listener.counters[core.id].refused, 1)
        note_down(core, x)
        x.books.pool_name = x.pool.live.name if x.pool != NULL else 0
    _count_end(core, x, x.opening.route_name, x.books.pool_name, SERIES_REASON + x.reason,
               engine_ns(core) - x.books.begin_ns)
    _count_bytes(core, x, x.books.bytes_in)
    if unlikely(fl_load32(&core.live.recording) != 0):
        _record_session(core, x)


cdef void record_handed(Core* core, Exchange* x) noexcept nogil:
    """For its listener, a session has ended; what it becomes is counted by the next one."""
    fl_count(&core.counters.ended[<int> REASON_HANDED_OVER], 1)
    fl_count(&x.listener.counters[core.id].closed, 1)
    _count_end(core, x, x.opening.route_name, 0, SERIES_REASON + REASON_HANDED_OVER,
               core.now_ns - x.books.begin_ns)


cdef void note_down(Core* core, Exchange* x) noexcept nogil:
    """Nobody answered: said once, by the control plane."""
    if x.reason == REASON_NO_SERVER and fl_exchange32(&x.pool.live.down, 1) == 0:
        live_notify(core.live)


cdef SeriesSlot* _count(Core* core, Exchange* x, uint32_t route, uint32_t pool,
                        uint32_t code) noexcept nogil:
    """One more end of this kind; NULL: there is no room for more kinds."""
    cdef SeriesSlot* slot = series_find(
        &core.live.series[core.id], x.listener.name, route, pool, code)
    if likely(slot != NULL):
        fl_count(&slot.count, 1)
    return slot


cdef void _count_end(Core* core, Exchange* x, uint32_t route, uint32_t pool, uint32_t code,
                     uint64_t duration_ns) noexcept nogil:
    cdef SeriesSlot* slot = _count(core, x, route, pool, code)
    if likely(slot != NULL):
        histogram_add(slot.durations, duration_ns)


cdef void _count_bytes(Core* core, Exchange* x, uint64_t bytes_in) noexcept nogil:
    fl_count(&x.listener.counters[core.id].bytes_in, bytes_in)
    fl_count(&x.listener.counters[core.id].bytes_out, x.books.bytes_out)


cdef void record_http(Core* core, Exchange* x, int reason) noexcept nogil:
    """Count one request's answer, or that it got none, and let the record go out. A tunnel counts
    when it is opened; its record waits for its end."""
    cdef int status = x.http.status if x.http != NULL else x.books.answered
    cdef uint32_t route = 0, pool = 0, code
    cdef uint64_t now_ns = core.now_ns
    cdef uint64_t duration_ns = 0
    fl_count(&x.listener.counters[core.id].statuses[status // 100 if status < 600 else 0], 1)
    if x.attempt.flags & TRY_HOLDS_SERVER and (
            status >= 500 or (status == 0 and not is_of_client(reason))):
        fl_count(&x.attempt.counters.errors, 1)
    if x.books.answered_ns == 0 or x.books.answered_ns != now_ns:
        now_ns = core.now_ns = engine_ns(core)   # (else the answer has come and gone just now)
    if likely(x.http != NULL):
        route = x.http.route.id if x.http.route != NULL else 0
        pool = x.pool.live.name if x.pool != NULL else 0
    if likely(x.books.begin_ns != 0):
        duration_ns = now_ns - x.books.begin_ns
    if status:
        code = status
    else:
        code = SERIES_CLIENT_LEFT if is_of_client(reason) else SERIES_UNANSWERED
    _count_end(core, x, route, pool, code, duration_ns)
    if unlikely(x.http != NULL and x.http.flags & HTTP_GRPC):
        _count(core, x, route, pool, SERIES_GRPC + grpc_status(x, reason))
    _count_bytes(core, x, x.http.request.total if x.http != NULL else 0)
    if unlikely(fl_load32(&core.live.recording) != 0):
        _record_request(core, x, reason, status, route, pool, now_ns)
    x.books.bytes_in = x.books.bytes_out = 0    # (what a tunnel moves then counts at its end)


# --- records ---

cdef void _put(Core* core, const Record* record) noexcept nogil:
    cdef Ring* ring = &core.live.rings[core.id]
    if ring_put(ring, record):
        core.recorded = True


cdef void _fill(Core* core, Exchange* x, Record* record, int reason,
                uint64_t now_ns) noexcept nogil:
    """What sessions and requests have in common."""
    record.reason = <uint8_t> reason
    record.begin_ns = x.books.begin_ns if x.books.begin_ns else now_ns
    record.duration_ns = now_ns - record.begin_ns
    record.bytes_out = x.books.bytes_out
    record.connect_ns = x.attempt.connect_ns
    record.listener = x.listener.name
    record.engine = <uint8_t> core.id
    record.n_tried = x.books.n_left if x.books.n_left < TRIES_LOGGED else TRIES_LOGGED
    memcpy(record.tried, x.books.left, sizeof(x.books.left))
    record.server = 0
    record.attempts = x.books.n_left
    if x.attempt.flags & TRY_HOLDS_SERVER:
        record.server = x.attempt.target.name
        record.try_ns = now_ns - x.attempt.picked_ns + 1        # (0 is none)
        record.attempts = x.books.attempts if x.books.attempts > x.books.n_left \
            else x.books.n_left + 1
    else:
        if x.books.attempts > x.books.n_left + 1:
            record.attempts = x.books.attempts - 1            # (the last one found nobody)
        if x.books.n_left:
            record.server = x.books.left[record.n_tried - 1].server


cdef void _record_session(Core* core, Exchange* x) noexcept nogil:
    cdef Session session
    cdef Record* record = &session.record
    _begin_record(core, x, &session, RECORD_UDP if x.session != NULL else RECORD_TCP)
    _fill(core, x, record, x.reason, engine_ns(core))
    record.route = x.opening.route_name
    record.pool = x.books.pool_name
    record.bytes_in = x.books.bytes_in
    _put(core, record)


cdef void _begin_record(Core* core, Exchange* x, Session* session, int kind) noexcept nogil:
    """Start the record of an exchange that has no note. Facts that don't fit are left out."""
    cdef Record* record = &session.record
    cdef uint64_t wanted = fl_load64(&core.live.recorded)
    cdef uint32_t size = 0
    cdef Text text
    cdef int i
    memset(record, 0, sizeof(Record))
    record.kind = <uint8_t> kind
    _name_client(x, record)
    for i in range(facts_recorded() if unlikely(wanted != 0) else 0):
        if wanted >> i & 1 and fact_rows[recorded_facts[i].fact].flags & FACT_OF_CONNECTIONS \
                and fact_find(core, x, &recorded_facts[i], &text) \
                and text.size <= TEXTS_BYTES - size:
            record.sizes[TOLD_FACTS + i] = <uint16_t> text.size
            memcpy(session.texts + size, text.at, text.size)
            size += text.size
    record.size = (sizeof(Record) + size + 7) & ~<uint32_t> 7


cdef void _name_client(const Exchange* x, Record* record) noexcept nogil:
    record.client_port = address_port(&x.peer)
    if x.peer.family == AF_INET:
        inet_ntop(AF_INET, &x.peer.v4.sin_addr, record.client_ip, sizeof(record.client_ip))
    elif x.peer.family == AF_INET6:
        inet_ntop(AF_INET6, &x.peer.v6.sin6_addr, record.client_ip, sizeof(record.client_ip))
    else:
        memcpy(record.client_ip, <const char*> b"unix:", 6)
    while record.client_ip[record.client_ip_size]:
        record.client_ip_size += 1


cdef void _record_request(Core* core, Exchange* x, int reason, int status, uint32_t route,
                          uint32_t pool, uint64_t now_ns) noexcept nogil:
    cdef Session short                  # of what was no request, or came before anybody asked
    cdef Record* record = &short.record
    if likely(x.books.note != NULL):
        record = <Record*> chunk_bytes(x.books.note)
    else:
        _begin_record(core, x, &short, RECORD_HTTP)
    _fill(core, x, record, reason, now_ns)
    record.status = <uint16_t> status
    record.route = route
    record.pool = pool
    if x.http != NULL:
        record.bytes_in = x.http.request.total
        record.body_bytes = x.http.response.total
    else:
        record.body_bytes = x.books.answered_bytes
    if x.books.answered_ns:
        record.flags |= RECORD_ANSWERED
        record.first_byte_ns = x.books.answered_ns - x.attempt.sent_ns
    if unlikely(status == 101 and x.books.note != NULL):
        record.flags |= RECORD_TUNNEL
        return
    _put(core, record)


cdef void _record_tunnel(Core* core, Exchange* x) noexcept nogil:
    cdef Record* record = <Record*> chunk_bytes(x.books.note)
    if not record.flags & RECORD_TUNNEL or not fl_load32(&core.live.recording):
        return
    record.reason = x.reason
    record.duration_ns = engine_ns(core) - record.begin_ns
    record.bytes_in += x.books.bytes_in
    record.bytes_out += x.books.bytes_out
    _put(core, record)


cdef void wake_reader(Core* core) noexcept nogil:
    """Records were put in this turn: wake whoever reads them, if it waits for that."""
    cdef Ring* ring = &core.live.rings[core.id]
    cdef int state
    core.recorded = False
    fl_fence()                          # it looks at the ring once more before it sleeps
    state = fl_load32(&core.live.reader)
    if state == READER_AWAKE or (
            state == READER_NAPS and ring.head - fl_load64(&ring.tail) < ring.size // 2):
        return
    if fl_exchange32(&core.live.reader, READER_AWAKE) != READER_AWAKE:
        event_set(core.live.reader_fd)
