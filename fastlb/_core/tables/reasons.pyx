# The reasons for which exchanges end, as words of logs, metrics and the error header.
from fastlb._core.base.enums cimport (
    REASON_BAD_REQUEST, REASON_BAD_RESPONSE, REASON_CLIENT_CANCELLED, REASON_CLIENT_GONE,
    REASON_CLIENT_RESET, REASON_CONNECT_REFUSED, REASON_CONNECT_TIMEOUT, REASON_COUNT, REASON_DONE,
    REASON_EVICTED, REASON_HANDED_OVER, REASON_LARGE_RESPONSE,
    REASON_HANDSHAKE, REASON_IDLE, REASON_LISTENER_FULL, REASON_NO_DESCRIPTOR, REASON_NO_MEMORY,
    REASON_NO_ROUTE, REASON_NO_SERVER, REASON_PENDING, REASON_POLICY, REASON_PROXY_HEADER,
    REASON_QUEUE_FULL, REASON_REMOVED, REASON_RESPONDED, REASON_SERVERS_FULL,
    REASON_SERVER_CLOSED, REASON_SERVER_HANDSHAKE, REASON_SERVER_RESET, REASON_STOPPED,
    REASON_TIMEOUT, REASON_TOO_LARGE,
)
from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport text_of

# How an exchange can end, as totals, records and metrics call it.
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
    "client_cancelled": REASON_CLIENT_CANCELLED,
    "bad_request": REASON_BAD_REQUEST,
    "bad_response": REASON_BAD_RESPONSE,
    "response_too_large": REASON_LARGE_RESPONSE,
    "server_closed": REASON_SERVER_CLOSED,
    "timeout": REASON_TIMEOUT,
    "no_route": REASON_NO_ROUTE,
    "too_large": REASON_TOO_LARGE,
    "policy_failed": REASON_POLICY,
    "responded": REASON_RESPONDED,
    "removed": REASON_REMOVED,
    "handshake_failed": REASON_HANDSHAKE,
    "server_handshake_failed": REASON_SERVER_HANDSHAKE,
    "listener_full": REASON_LISTENER_FULL,
    "handed_over": REASON_HANDED_OVER,
    "proxy_header": REASON_PROXY_HEADER,
    "evicted": REASON_EVICTED,
}
BY_NUMBER = {number: name for name, number in REASONS.items()}

cdef Text[REASON_COUNT] _texts
_kept = {number: name.encode() for name, number in REASONS.items()}


def _fill():
    for number, name in _kept.items():
        _texts[<int> number] = text_of(<const unsigned char*> <const char*> name, len(name))


_fill()


cdef Text reason_text(int reason) noexcept nogil:
    return _texts[reason if 0 <= reason < REASON_COUNT else 0]
