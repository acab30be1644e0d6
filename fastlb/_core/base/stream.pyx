# The end of a stream: its socket, and what still waits to be written.
from libc.stdint cimport uint64_t

from fastlb._core.base.enums cimport LAYER_H2, LAYER_NONE
from fastlb._core.base.h2stream cimport h2_close
from fastlb._core.base.mem cimport give_pending
from fastlb._core.base.net cimport net_close, net_reset_on_close, net_shut_both
from fastlb._core.base.pipe cimport give_pipe
from fastlb._core.base.poller cimport poller_forget, poller_remove
from fastlb._core.base.tls cimport tls_close
from fastlb._core.base.types cimport Core, Stream
from fastlb._core.ext.atomic cimport fl_count, unlikely


cdef void drop_pending(Core* core, Stream* s) noexcept nogil:
    """What waits to be written to it is for nobody."""
    if s.pending != NULL:
        give_pending(core, s)
    if s.pipe != NULL:
        give_pipe(core, s.pipe)
        s.pipe = NULL
        fl_count(&core.counters.pipes, <uint64_t> -1)


cdef void close_stream(Core* core, Stream* s, bint reset) noexcept nogil:
    drop_pending(core, s)
    if unlikely(s.layer != LAYER_NONE):
        if s.layer == LAYER_H2:
            h2_close(s)
            return
        tls_close(core, s, reset)
    if s.fd < 0:
        return
    if reset:
        net_reset_on_close(s.fd)
    if unlikely(core.forked):
        # A child may hold a copy of the socket, so that closing ours would end nothing.
        poller_remove(&core.poller, s)
        if not reset:
            net_shut_both(s.fd)
    else:
        poller_forget(&core.poller, s)
    net_close(s.fd)
    s.fd = -1
    s.generation += 1
    fl_count(&core.counters.descriptors, <uint64_t> -1)
