# Servers that fail too often in a row are ejected for a time, and tried again. Nobody is sent to
# such a server for a time, which grows with each ejection that follows soon on another. Then one
# connection or request finds out whether the server is back.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.enums cimport CONDITION_OUT, SERVER_EJECTED, SERVER_UP
from fastlb._core.base.live cimport LiveTable
from fastlb._core.base.types cimport Core, PoolEntry, ServerEntry, ServerLive
from fastlb._core.ext.atomic cimport fl_add32, fl_load32, fl_load64, fl_store32, fl_store64
from fastlb._core.tables.live cimport live_notify
from fastlb._core.tables.states cimport live_warm


cdef bint _may_be_without(const PoolEntry* pool) noexcept nogil:
    """Whether as many are ejected now as may be, and somebody is left."""
    cdef const ServerEntry* entry
    cdef uint32_t i, n = 0, ejected = 0, usable = 0, most
    for i in range(pool.n_servers):
        entry = &pool.servers[i]
        if entry.weight == 0:
            continue
        n += 1
        if fl_load32(&entry.live.state) == SERVER_EJECTED:
            ejected += 1
        elif fl_load32(&entry.live.conditions) & CONDITION_OUT == 0:
            usable += 1
    most = n * pool.outliers.share_max // 1000
    if most == 0 and pool.outliers.share_max:
        most = 1                        # a share of few servers is still somebody
    return usable > 0 and ejected <= most


cdef bint eject(LiveTable* table, uint64_t now_ms, const PoolEntry* pool,
                ServerLive* live) noexcept nogil:
    """Leave it out from now on, if somebody is left then."""
    cdef uint64_t until_ms = fl_load64(&live.ejected_until_ms)
    cdef uint64_t length_ms = pool.outliers.ejection_ms
    cdef int before = fl_load32(&live.state)
    # The state first: of two engines that eject at once, neither may go by the old count.
    fl_store32(&live.state, SERVER_EJECTED)
    if before != SERVER_EJECTED and not _may_be_without(pool):
        fl_store32(&live.state, before)
        return False
    if until_ms and now_ms < until_ms + live.ejected_ms:
        length_ms += live.ejected_ms    # it was well for less long than it had been out
    if length_ms > pool.outliers.ejection_max_ms:
        length_ms = pool.outliers.ejection_max_ms
    live.ejected_ms = <uint32_t> length_ms
    fl_store64(&live.ejected_until_ms, now_ms + length_ms)
    fl_store64(&live.retry_at_ms, now_ms + length_ms)
    fl_store32(&live.failures, 0)
    live_notify(table)
    return True


cdef void server_failed(Core* core, const PoolEntry* pool, ServerLive* live) noexcept nogil:
    """It refused, broke off, said nothing in time, or what the pool calls a failure."""
    cdef int row = fl_add32(&live.failures, 1) + 1
    if pool.outliers.failures == 0:
        return
    if fl_load32(&live.state) == SERVER_EJECTED:
        # (what was under way before says nothing new)
        if core.now_ms >= fl_load64(&live.ejected_until_ms):
            eject(core.live, core.now_ms, pool, live)
    elif row >= <int> pool.outliers.failures:
        eject(core.live, core.now_ms, pool, live)


cdef void server_did_well(Core* core, ServerLive* live) noexcept nogil:
    """It answered, or of tcp: took the connection."""
    if fl_load32(&live.failures) != 0:
        fl_store32(&live.failures, 0)
    if fl_load32(&live.state) == SERVER_UP:
        return
    if fl_load32(&live.state) == SERVER_EJECTED \
            and core.now_ms < fl_load64(&live.ejected_until_ms):
        return
    fl_store32(&live.state, SERVER_UP)
    live_warm(live, core.now_ms)
    live_notify(core.live)
