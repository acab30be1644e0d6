# A try that failed, and whether another server is tried: what the client has not noticed yet.
# Reads x.reason; writes x.stage (back to balance), or takes over the hedge. False: no other try.
from fastlb._core.base.enums cimport (
    HTTP_HEAD_DONE, REASON_BAD_RESPONSE, REASON_LARGE_RESPONSE, REASON_NO_DESCRIPTOR,
    REASON_NO_MEMORY, REASON_SERVER_CLOSED, REASON_SERVER_RESET, REASON_TIMEOUT, STAGE_CONNECT,
    TRY_ANSWERING, TRY_RETRIED, TRY_SENT,
)
from fastlb._core.base.routing cimport RETRY_CONNECT, RETRY_INVALID, RETRY_RESET, RETRY_TIMEOUT
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.exchange.hedge cimport take_over
from fastlb._core.exchange.lifecycle cimport leave_server
from fastlb._core.ext.atomic cimport fl_assert, fl_count, unlikely
from fastlb._core.failing.outliers cimport server_failed
from fastlb._core.failing.retry cimport has_another, may_retry, note_tried, was_refused
from fastlb._core.http.upstream cimport end_upstream


cdef bint try_another(Core* core, Exchange* x) noexcept nogil:
    """A connect failed: go back to balancing, which knows whether there is another server."""
    if x.reason == REASON_NO_DESCRIPTOR or x.reason == REASON_NO_MEMORY:
        return False
    if unlikely(x.hedge != NULL):
        return take_over(core, x)
    note_tried(x)
    if has_another(x) and not may_retry(core, x, RETRY_CONNECT, 0):
        return False
    leave_server(core, x, x.reason)
    return True


cdef bint ask_another(Core* core, Exchange* x) noexcept nogil:
    """There was no answer, or none worth passing on."""
    cdef int cause = 0
    if unlikely(was_refused(x)) and not x.attempt.flags & TRY_ANSWERING:
        cause = RETRY_CONNECT           # (which is as safe)
    elif x.reason == REASON_SERVER_CLOSED or x.reason == REASON_SERVER_RESET:
        cause = RETRY_RESET
    elif x.reason == REASON_TIMEOUT and x.http.request.done:
        cause = RETRY_TIMEOUT
    elif x.reason == REASON_BAD_RESPONSE or x.reason == REASON_LARGE_RESPONSE:
        cause = RETRY_INVALID
    if cause == 0:
        return False
    server_failed(core, x.pool, x.attempt.target)
    if unlikely(x.hedge != NULL) and not x.http.flags & HTTP_HEAD_DONE:
        return take_over(core, x)
    if x.http.flags & HTTP_HEAD_DONE or not may_retry(core, x, cause, 0):
        return False
    leave_server(core, x, x.reason)
    return True


cdef void ask_elsewhere(Core* core, Exchange* x) noexcept nogil:
    """The answer's status is one that another server may do better than."""
    if x.hedge == NULL or not take_over(core, x):
        leave_server(core, x, core.http.head.status)


cdef void connect_again(Core* core, Exchange* x) noexcept nogil:
    """The server had closed a connection that we thought was idle: use a new one."""
    end_upstream(core, x, True)
    x.to_server = &x.server
    x.attempt.flags &= <unsigned char> ~TRY_SENT
    x.attempt.flags |= TRY_RETRIED
    fl_assert(x.attempt.head != NULL)
    x.attempt.head.start = 0
    fl_count(&core.counters.retries, 1)
    x.stage = STAGE_CONNECT
