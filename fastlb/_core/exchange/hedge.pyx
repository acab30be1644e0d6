# The second try of a request whose answer takes long: the first answer wins. It is an exchange
# without a client. Whichever server answers first is the request's: the two swap what they have of
# their servers, so that the rest goes as ever, and the other try ends.
from libc.errno cimport EAGAIN
from libc.stdint cimport uint8_t, uint64_t

from fastlb._core.balance.load cimport observe_latency
from fastlb._core.base.attempts cimport note_left
from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    EXCHANGE_SHADOW, HTTP_HEDGE, READABLE, REASON_BAD_RESPONSE, REASON_DONE, REASON_SERVER_CLOSED,
    STAGE_FORWARD, TRY_ANSWERING,
)
from fastlb._core.base.queue cimport queue
from fastlb._core.base.stream cimport stream_peek
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Core, Exchange, Http, Stream
from fastlb._core.exchange.lifecycle cimport finish
from fastlb._core.ext.atomic cimport fl_count
from fastlb._core.failing.hedging cimport afford_hedge, observe_delay
from fastlb._core.failing.outliers cimport has_status, server_failed
from fastlb._core.failing.retry cimport note_tried
from fastlb._core.http.copies cimport copy_request

cdef enum:
    STATUS_BYTES = 12               # "HTTP/1.1 200"


cdef void begin_hedge(Core* core, Http* http) noexcept nogil:
    """The delay is over, and nothing has come."""
    cdef Exchange* x = http.exchange
    cdef Exchange* hedge
    cdef int i
    if x.stage != STAGE_FORWARD or x.attempt.flags & TRY_ANSWERING or x.hedge != NULL \
            or core.closing:
        return
    note_tried(x)                   # (another one is wanted, also if this one comes to nothing)
    if not afford_hedge(core, x):
        return
    hedge = copy_request(core, x, x.pool)
    if hedge == NULL:
        return
    fl_count(&core.counters.hedges, 1)
    hedge.http.flags |= HTTP_HEDGE
    hedge.hash = x.hash
    hedge.books.attempts = x.books.attempts
    hedge.n_tried = x.n_tried
    for i in range(x.n_tried):
        hedge.tried[i] = x.tried[i]
    hedge.hedge = x
    x.hedge = hedge
    queue(core, hedge)


cdef void _swap(Exchange* x, Exchange* other) noexcept nogil:
    """All that the two have of their servers."""
    x.attempt, other.attempt = other.attempt, x.attempt
    x.stage, other.stage = other.stage, x.stage
    _hold_upstream(x)
    _hold_upstream(other)


cdef void _hold_upstream(Exchange* x) noexcept nogil:
    x.to_server = &x.server
    if x.attempt.upstream != NULL:
        x.to_server = &x.attempt.upstream.stream
        x.to_server.exchange = x


cdef void _measure(Core* core, Exchange* x) noexcept nogil:
    """The try that came second took longer than this."""
    cdef uint64_t us
    if x.attempt.measured_ns:
        us = (engine_ns(core) - x.attempt.measured_ns) // 1000
        x.attempt.measured_ns = 0
        observe_latency(x.pool, x.attempt.target, core.now_ms, <double> us)
        if x.pool.hedge.percentile:
            observe_delay(core, x.pool, us)


cdef int _status(Stream* s) noexcept nogil:
    """Of the answer that has begun to come; 0: not enough of it, -1: it isn't one."""
    cdef uint8_t[STATUS_BYTES] line
    cdef ssize_t n = stream_peek(s, line, STATUS_BYTES)
    cdef int i
    if n == -EAGAIN:
        s.ready &= <uint8_t> ~READABLE
        return 0
    if n <= 0:
        return -1
    if n < STATUS_BYTES:
        if s.tls != NULL:
            return 200      # (only a record can be looked at: the rest is met when it's read)
        s.ready &= <uint8_t> ~READABLE      # (there is an event when more comes)
        return 0
    for i in range(9, STATUS_BYTES):
        if not c'0' <= line[i] <= c'9':
            return -1
    return (line[9] - 48) * 100 + (line[10] - 48) * 10 + line[11] - 48


cdef Exchange* hear_hedge(Core* core, Exchange* hedge) noexcept nogil:
    """A second try has sent its request: the exchange that goes on with its answer, or NULL."""
    cdef Exchange* x = hedge.hedge
    cdef int status
    if not hedge.to_server.ready & READABLE:
        return NULL
    status = _status(hedge.to_server)
    if status == 0:
        return NULL
    if status < 0 or has_status(&hedge.pool.outliers.statuses, status):
        server_failed(core, hedge.pool, hedge.attempt.target)
        hedge.reason = REASON_SERVER_CLOSED if status < 0 else REASON_BAD_RESPONSE
        finish(core, hedge)             # the first one may do better
        return NULL
    note_left(x, x.attempt.target, REASON_DONE, core.now_ns)
    _swap(x, hedge)
    _measure(core, hedge)
    fl_count(&core.counters.hedges_won, 1)
    timer_start(core, &x.timer, x.http.route.response_timer)
    x.hedge = hedge.hedge = NULL
    hedge.reason = REASON_SERVER_CLOSED
    finish(core, hedge)
    return x


cdef bint take_over(Core* core, Exchange* x) noexcept nogil:
    """The first try failed while there is a second one: go on with that."""
    cdef Exchange* hedge = x.hedge
    if hedge == NULL or x.flags & EXCHANGE_SHADOW:
        return False
    note_left(x, x.attempt.target, x.reason, core.now_ns)
    _swap(x, hedge)
    hedge.attempt.measured_ns = 0
    x.hedge = hedge.hedge = NULL
    hedge.reason = REASON_SERVER_CLOSED
    finish(core, hedge)
    timer_start(core, &x.timer, x.http.route.response_timer if x.stage == STAGE_FORWARD
                else x.pool.keys.connect_timeout_timer)
    x.reason = REASON_DONE
    return True
