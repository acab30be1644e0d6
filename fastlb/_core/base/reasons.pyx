# The table of end reasons, a row each, filled when this module is imported.
# Everything else that depends on a reason reads it: answers, gRPC, records, metrics, explain.
from fastlb._core.base.enums cimport (
    REASON_BAD_REQUEST, REASON_BAD_RESPONSE, REASON_CLIENT_CANCELLED, REASON_CLIENT_GONE,
    REASON_CLIENT_RESET, REASON_CONNECT_REFUSED, REASON_CONNECT_TIMEOUT, REASON_COUNT,
    REASON_DENIED, REASON_DONE, REASON_EVICTED, REASON_HANDED_OVER, REASON_HANDSHAKE,
    REASON_HANDSHAKES_FULL, REASON_IDLE, REASON_LARGE_RESPONSE, REASON_LISTENER_FULL,
    REASON_NO_DESCRIPTOR, REASON_NO_MEMORY, REASON_NO_ROUTE, REASON_NO_SERVER, REASON_PENDING,
    REASON_POLICY, REASON_PROXY_HEADER, REASON_QUEUE_FULL, REASON_RATE_LIMITED, REASON_REMOVED,
    REASON_RESPONDED, REASON_SERVERS_FULL, REASON_SERVER_CLOSED,
    REASON_SERVER_HANDSHAKE, REASON_SERVER_RESET, REASON_SOURCE_FULL, REASON_SOURCE_RATE,
    REASON_STOPPED, REASON_TIMEOUT, REASON_TOO_LARGE, REASON_TOO_SLOW,
)
from fastlb._core.base.text cimport text_of

cdef EndReason[REASON_COUNT] _rows
end_reasons = _rows

# Number, name, the error header's word ("": the client is told of no error), HTTP's status, and the
# rest by name. A status of 0: may_answer never answers for it.
_TABLE = [
    (REASON_DONE, "done", "", 0, {}),
    (REASON_CLIENT_RESET, "client_reset", "", 0, {"grpc": GRPC_CANCELLED, "of_client": True}),
    (REASON_CLIENT_GONE, "client_gone", "", 0, {"grpc": GRPC_CANCELLED, "of_client": True}),
    (REASON_CLIENT_CANCELLED, "client_cancelled", "", 0,
     {"grpc": GRPC_CANCELLED, "of_client": True}),
    (REASON_SERVER_RESET, "server_reset", "server_reset", 502, {}),
    (REASON_SERVER_CLOSED, "server_closed", "server_closed", 502, {}),
    (REASON_SERVER_HANDSHAKE, "server_handshake_failed", "server_handshake_failed", 502, {}),
    (REASON_BAD_RESPONSE, "bad_response", "bad_response", 502, {}),
    (REASON_LARGE_RESPONSE, "response_too_large", "response_too_large", 502, {}),
    (REASON_CONNECT_REFUSED, "connect_refused", "connect_failure", 503, {"nobody": True}),
    (REASON_CONNECT_TIMEOUT, "connect_timeout", "connect_timeout", 504, {"nobody": True}),
    (REASON_NO_SERVER, "no_server", "no_server", 503, {"nobody": True}),
    (REASON_SERVERS_FULL, "servers_full", "servers_full", 503, {"nobody": True}),
    (REASON_QUEUE_FULL, "queue_full", "queue_full", 503, {"nobody": True}),
    (REASON_PENDING, "pending_timeout", "pending_timeout", 503, {"nobody": True}),
    (REASON_NO_MEMORY, "no_memory", "overloaded", 503, {"cut": True}),
    (REASON_NO_DESCRIPTOR, "no_descriptor", "overloaded", 503, {}),
    (REASON_TIMEOUT, "timeout", "timeout", 504, {"grpc": GRPC_DEADLINE_EXCEEDED}),
    (REASON_BAD_REQUEST, "bad_request", "bad_request", 400, {}),
    (REASON_TOO_LARGE, "too_large", "too_large", 413, {}),
    (REASON_NO_ROUTE, "no_route", "no_route", 404, {}),
    (REASON_RESPONDED, "responded", "", 0, {}),
    (REASON_POLICY, "policy_failed", "policy_failed", 503, {}),
    (REASON_IDLE, "idle", "", 0, {"cut": True}),
    (REASON_STOPPED, "stopped", "", 0, {"cut": True}),
    (REASON_REMOVED, "removed", "", 0, {"cut": True}),
    (REASON_HANDSHAKE, "handshake_failed", "", 0, {}),
    (REASON_LISTENER_FULL, "listener_full", "", 0, {}),
    (REASON_HANDED_OVER, "handed_over", "", 0, {}),
    (REASON_PROXY_HEADER, "proxy_header", "", 0, {}),
    (REASON_EVICTED, "evicted", "", 0, {}),
    (REASON_RATE_LIMITED, "rate_limited", "rate_limited", 429, {"grpc": GRPC_RESOURCE_EXHAUSTED}),
    (REASON_DENIED, "denied", "denied", 403, {"grpc": GRPC_PERMISSION_DENIED}),
    (REASON_SOURCE_FULL, "source_full", "", 0, {}),
    (REASON_SOURCE_RATE, "source_rate", "", 0, {}),
    (REASON_HANDSHAKES_FULL, "handshakes_full", "", 0, {}),
    (REASON_TOO_SLOW, "too_slow", "too_slow", 408, {}),
]
_kept = []                      # what the rows' texts point to


cdef Text _text(str word) except *:
    cdef bytes kept = word.encode()
    _kept.append(kept)
    return text_of(<const unsigned char*> <const char*> kept, <unsigned int> len(kept))


def _fill():
    cdef EndReason* row
    assert sorted(one[0] for one in _TABLE) == list(range(1, REASON_COUNT))
    for number, name, error, status, more in [(0, "", "", 502, {}), *_TABLE]:
        row = &_rows[<int> number]
        row.name, row.error, row.status = _text(name), _text(error or "error"), status
        row.grpc = more.get("grpc", 0)
        row.of_client = more.get("of_client", False)
        row.cut = more.get("cut", False)
        row.nobody = more.get("nobody", False)


_fill()
