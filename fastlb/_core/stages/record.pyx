# Count how an exchange ended. Reads it; writes counters, and the pool's state when nobody answered.
from fastlb._core.base.enums cimport (
    EXCHANGE_HOLDS_SERVER, EXCHANGE_HOLDS_SNAPSHOT, EXCHANGE_HTTP, REASON_BAD_REQUEST,
    REASON_BAD_RESPONSE, REASON_CLIENT_GONE, REASON_CLIENT_RESET, REASON_CONNECT_REFUSED,
    REASON_CONNECT_TIMEOUT, REASON_DONE, REASON_IDLE, REASON_NO_DESCRIPTOR, REASON_NO_MEMORY,
    REASON_NO_ROUTE, REASON_NO_SERVER, REASON_PENDING, REASON_POLICY, REASON_QUEUE_FULL,
    REASON_REMOVED, REASON_SERVERS_FULL, REASON_SERVER_CLOSED, REASON_SERVER_RESET, REASON_STOPPED,
    REASON_TIMEOUT, REASON_TOO_LARGE,
)
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_exchange32, unlikely
from fastlb._core.tables.live cimport live_notify


# What totals call them.
REASONS = {
    "done": REASON_DONE,
    "client_reset": REASON_CLIENT_RESET,
    "server_reset": REASON_SERVER_RESET,
    "connect_refused": REASON_CONNECT_REFUSED,
    "connect_timeout": REASON_CONNECT_TIMEOUT,
    "no_server": REASON_NO_SERVER,
    "servers_full": REASON_SERVERS_FULL,
    "queue_full": REASON_QUEUE_FULL,
    "pending_timeout": REASON_PENDING,
    "idle": REASON_IDLE,
    "no_memory": REASON_NO_MEMORY,
    "no_descriptor": REASON_NO_DESCRIPTOR,
    "stopped": REASON_STOPPED,
    "client_gone": REASON_CLIENT_GONE,
    "bad_request": REASON_BAD_REQUEST,
    "bad_response": REASON_BAD_RESPONSE,
    "server_closed": REASON_SERVER_CLOSED,
    "timeout": REASON_TIMEOUT,
    "no_route": REASON_NO_ROUTE,
    "too_large": REASON_TOO_LARGE,
    "policy_failed": REASON_POLICY,
    "removed": REASON_REMOVED,
}


cdef void record_step(Core* core, Exchange* x) noexcept nogil:
    fl_count(&core.counters.ended[x.reason], 1)
    fl_count(&x.listener.counters[core.id].closed, 1)
    if x.flags & EXCHANGE_HTTP:
        return
    if unlikely(x.flags & EXCHANGE_HOLDS_SNAPSHOT):
        # It never got as far as the relay.
        fl_count(&x.listener.counters[core.id].refused, 1)
        note_down(core, x)


cdef void note_down(Core* core, Exchange* x) noexcept nogil:
    """Nobody answered: said once, by the control plane."""
    if x.reason == REASON_NO_SERVER and fl_exchange32(&x.pool.live.down, 1) == 0:
        live_notify(core.live)


cdef void record_http(Core* core, Exchange* x) noexcept nogil:
    """Count one request's answer, or that it got none."""
    cdef int status = x.http.status if x.http != NULL else 400
    fl_count(&x.listener.counters[core.id].statuses[status // 100 if status < 600 else 0], 1)
    if x.flags & EXCHANGE_HOLDS_SERVER and (status >= 500 or status == 0):
        fl_count(&x.counters.errors, 1)
