# The table of end reasons: everything that follows from why an exchange ends, in one place.
from libc.stdint cimport uint16_t, uint8_t

from fastlb._core.base.enums cimport REASON_COUNT
from fastlb._core.base.head cimport Text

cdef enum GrpcStatus:           # grpc.io/docs/guides/status-codes
    GRPC_CANCELLED = 1
    GRPC_UNKNOWN = 2
    GRPC_DEADLINE_EXCEEDED = 4
    GRPC_PERMISSION_DENIED = 7
    GRPC_RESOURCE_EXHAUSTED = 8
    GRPC_UNIMPLEMENTED = 12
    GRPC_INTERNAL = 13
    GRPC_UNAVAILABLE = 14
    GRPC_UNAUTHENTICATED = 16

cdef struct EndReason:
    Text name                   # of records, metrics and log lines
    Text error                  # of the error header: what happened, and nothing of where
    uint16_t status             # HTTP's, where the client is told; 0: it can't or needn't be
    uint8_t grpc                # gRPC's; 0: what HTTP's status maps to
    uint8_t of_client           # the client has left: nothing speaks against its server
    uint8_t cut                 # we end it before its time: both sides get a reset
    uint8_t nobody              # no server of the pool could be had

# The table; a number that is no reason has the row of 0, which is empty.
cdef EndReason* end_reasons


cdef inline const EndReason* end_reason(int reason) noexcept nogil:
    return &end_reasons[reason if 0 <= reason < REASON_COUNT else 0]


cdef inline bint is_of_client(int reason) noexcept nogil:
    """Whether the client left, so that nothing speaks against its server."""
    return end_reasons[reason].of_client
