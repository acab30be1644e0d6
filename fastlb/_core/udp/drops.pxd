# Counts datagrams that go nowhere.
from libc.stdint cimport uint64_t

from fastlb._core.base.types cimport Acceptor, Core
from fastlb._core.ext.atomic cimport fl_count


cdef inline void drop(Core* core, Acceptor* acceptor, int why, uint64_t n) noexcept nogil:
    """Count `n` datagrams as dropped; `why` is a Drop of base/sessions."""
    fl_count(&core.counters.dropped[why], n)
    fl_count(&acceptor.listener.counters[core.id].dropped, n)
