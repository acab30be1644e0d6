# Carry bytes both ways between two connected streams until both have ended.
# Reads and writes the streams' readiness and pending chunks; counts bytes at the server.
# Ends: AGAIN (EXCHANGE_HAS_MORE: stopped by its budget), END, FAIL (a reset, or no memory).
from fastlb._core.base.duplex cimport end_ways, hear_urgent, pump
from fastlb._core.base.enums cimport AGAIN, FAIL
from fastlb._core.base.limits cimport PUMP_BYTES_MAX
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport likely, unlikely


cdef int relay_step(Core* core, Exchange* x) noexcept nogil:
    cdef int to_server, to_client
    hear_urgent(x)
    to_server = pump(core, x, &x.client, &x.server, PUMP_BYTES_MAX)
    if unlikely(to_server == FAIL):
        return FAIL
    to_client = pump(core, x, &x.server, &x.client, PUMP_BYTES_MAX)
    if unlikely(to_client == FAIL):
        return FAIL
    if likely(to_server == AGAIN and to_client == AGAIN):
        return AGAIN
    return end_ways(x, to_server, to_client)
