# A Core of its own, on copies of all that requests change, in which a request is tried. What an
# engine would do with a request is found out by doing it. The functions that run are those of the
# stages.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastlb._core.base.enums cimport (
    EXCHANGE_HTTP, REASON_BAD_REQUEST, REASON_TOO_LARGE, REHEARSES, STAGE_BALANCE, STAGE_DEAD,
    STAGE_REQUEST,
)
from fastlb._core.base.httpmem cimport free_http
from fastlb._core.base.limits cimport ENGINES_MAX, HTTP_OUTPUT_CLASS, TIMER_SLOTS_MAX
from fastlb._core.base.mem cimport free_all, give_exchange, give_input, take_chunk, take_exchange
from fastlb._core.base.proxyfacts cimport drop_proxied
from fastlb._core.base.routing cimport HttpEntry
from fastlb._core.base.timers cimport timer_cancel
from fastlb._core.base.types cimport (
    BindEntry, Core, Exchange, Group, PoolEntry, PoolLive, ServerEntry, ServerLive,
)
from fastlb._core.exchange.lifecycle cimport end_request, let_server_go
from fastlb._core.failing.queue cimport stop_waiting
from fastlb._core.http.admit cimport admit, refuse, refuse_head
from fastlb._core.http.decision cimport drop_decision
from fastlb._core.http.sources cimport is_on_list
from fastlb._core.proto.http1 cimport parse_request
from fastlb._core.stages.balance cimport balance_step
from fastlb._core.tables.snapshot cimport Snapshot


cdef void* room(size_t n, size_t size) except NULL:
    cdef void* block = calloc(n if n else 1, size)
    if block == NULL:
        raise MemoryError
    return block


cdef class Rehearsal:
    """Requests and connections on a snapshot as it is, with the states of its servers as they were
    copied last. Nothing is connected to or changed."""

    def __cinit__(self, Snapshot snapshot, unsigned long long seed=1):
        cdef int i
        self._snapshot = snapshot
        self._take()
        self._lay_out()
        self.core.live = &self._live
        self.core.random = seed | 1
        self.core.rehearses = REHEARSES
        for i in range(TIMER_SLOTS_MAX):
            self.core.timers[i].head.next = self.core.timers[i].head.prev = (
                &self.core.timers[i].head)
        self.core.http.output = take_chunk(self.core, HTTP_OUTPUT_CLASS)
        if self.core.http.output == NULL:
            raise MemoryError
        self.refresh()

    cdef void _take(self) except *:
        cdef SnapshotTable* original = &self._snapshot.table
        cdef uint32_t i, n_groups = 0
        for i in range(original.n_pools):
            self.n_servers += original.pools[i].n_servers
            n_groups += original.pools[i].n_groups
        self.core = <Core*> room(1, sizeof(Core))
        self.table.pools = <PoolEntry*> room(original.n_pools, sizeof(PoolEntry))
        self.table.binds = <BindEntry*> room(original.n_binds, sizeof(BindEntry))
        self._pools = <PoolLive*> room(original.n_pools, sizeof(PoolLive))
        self._owns = <Own*> room(original.n_pools, sizeof(Own))
        self._servers = <ServerEntry*> room(self.n_servers, sizeof(ServerEntry))
        self._lives = <ServerLive*> room(self.n_servers, sizeof(ServerLive))
        self._before = <ServerLive*> room(self.n_servers, sizeof(ServerLive))
        self._groups = <Group*> room(n_groups, sizeof(Group))

    cdef void _lay_out(self) noexcept:
        """The same tables, with pointers to what is ours."""
        cdef SnapshotTable* original = &self._snapshot.table
        cdef PoolEntry* pool
        cdef PoolEntry* theirs
        cdef ServerEntry* servers = self._servers
        cdef Group* groups = self._groups
        cdef uint32_t i, k
        self.table.n_pools, self.table.n_binds = original.n_pools, original.n_binds
        for i in range(original.n_pools):
            pool, theirs = &self.table.pools[i], &original.pools[i]
            pool[0] = theirs[0]
            pool.live = &self._pools[i]
            if theirs.fallback != NULL:
                pool.fallback = &self.table.pools[theirs.fallback - original.pools]
            pool.servers, pool.groups = servers, groups
            for k in range(pool.n_servers):
                servers[k] = theirs.servers[k]
                servers[k].live = &self._lives[servers + k - self._servers]
            for k in range(pool.n_groups):
                groups[k] = theirs.groups[k]
                groups[k].servers = servers + (theirs.groups[k].servers - theirs.servers)
            servers += pool.n_servers
            groups += pool.n_groups
        self._listener.counters = &self._listener_counters
        for i in range(original.n_binds):
            self.table.binds[i] = original.binds[i]
            self.table.binds[i].listener = &self._listener
            if original.binds[i].pool != NULL:
                self.table.binds[i].pool = &self.table.pools[
                    original.binds[i].pool - original.pools]

    def __dealloc__(self):
        if self.core != NULL:
            self.end()
            free_all(self.core)
            free_http(self.core)
        free(self.core)
        free(self.table.pools)
        free(self.table.binds)
        free(self._pools)
        free(self._owns)
        free(self._servers)
        free(self._lives)
        free(self._before)
        free(self._groups)

    def refresh(self) -> None:
        """Copy the states of servers and pools as they are now."""
        cdef SnapshotTable* original = &self._snapshot.table
        cdef uint32_t i, k, n = 0
        self.end()
        self._live = self._snapshot.live.table
        self._geography = self._snapshot.live.geography     # (held, as it may be replaced)
        self._live.geo = &self._geography.table if self._geography is not None else NULL
        self._live.published = NULL
        self._live.questions = 0
        self._live.notify_fd = -1
        for i in range(<uint32_t> ENGINES_MAX):
            self._live.wake_fds[i] = -1
        for i in range(<uint32_t> TIMER_SLOTS_MAX):
            self.core.timers[i].length_ms = self._live.timer_ms[i]
        self.core.n_timers = self._live.n_timers
        self.core.now_ns = self._snapshot.live.clock.now_ns()
        self.core.now_ms = self.core.now_ns // 1000000
        for i in range(original.n_pools):
            self._copy_pool(i)
            for k in range(original.pools[i].n_servers):
                self._before[n] = original.pools[i].servers[k].live[0]
                self._before[n].counters = &self._server_counters
                self._before[n].idle_lists = NULL
                self._before[n].connections.waiting = 0
                n += 1
        self.restore()

    cdef void _copy_pool(self, uint32_t i) noexcept nogil:
        cdef const PoolLive* theirs = self._snapshot.table.pools[i].live
        cdef PoolLive* live = &self._pools[i]
        cdef Own* own = &self._owns[i]
        live[0] = theirs[0]
        own.budget = theirs.budgets[0]
        own.hedge_budget = theirs.hedge_budgets[0]
        own.delays = theirs.delays[0]
        own.probes = theirs.probes[0]
        memset(&own.queue, 0, sizeof(own.queue))
        live.budgets, live.hedge_budgets = &own.budget, &own.hedge_budget
        live.delays, live.probes = &own.delays, &own.probes
        live.queues = &own.queue

    cdef void restore(self) noexcept nogil:
        """The servers as they were copied."""
        memcpy(self._lives, self._before, self.n_servers * sizeof(ServerLive))

    cdef uint32_t server_at(self, const ServerEntry* entry) noexcept nogil:
        return <uint32_t> (entry - self._servers)

    # --- one request or connection at a time ---

    cdef Exchange* begin(self, uint32_t bind) noexcept nogil:
        """One that has just been accepted; NULL when memory is gone."""
        cdef Exchange* x
        self.end()
        x = self.x = take_exchange(self.core)
        if x == NULL:
            return NULL
        x.bind = &self.table.binds[bind]
        x.pool = x.bind.pool
        x.listener = x.bind.listener
        x.snapshot = &self.table
        x.stage = STAGE_BALANCE
        if x.bind.http != NULL:
            x.stage = STAGE_REQUEST
            x.flags = EXCHANGE_HTTP
        return x

    cdef void end(self) noexcept nogil:
        cdef Exchange* x = self.x
        if x == NULL:
            return
        self.x = NULL
        stop_waiting(x)
        timer_cancel(&x.timer)
        end_request(self.core, x, True)
        drop_decision(x)
        if x.input != NULL:
            give_input(self.core, x)
        let_server_go(self.core, x)
        x.client.tls = NULL             # (what it was told of, and no connection)
        drop_proxied(self.core, x)
        x.stage = STAGE_DEAD
        give_exchange(self.core, x)

    cdef int receive(self, const uint8_t* data, uint32_t size) noexcept nogil:
        """Admit a request whose head is whole, as stages/request does. After ASK it is admitted a
        second time, with x.decision."""
        cdef Exchange* x = self.x
        cdef HttpEntry* entry = x.bind.http
        cdef int used
        if x.input != NULL:
            give_input(self.core, x)
        used = parse_request(
            &self.core.http.head, data, size, entry.fields_max, entry.uri_bytes_max)
        if used > 0:
            return admit(self.core, x, <uint8_t*> data, <uint32_t> used, size)
        if used == 0:
            return refuse(x, 431, REASON_TOO_LARGE) if size > entry.header_bytes_max \
                else refuse(x, 400, REASON_BAD_REQUEST)
        return refuse_head(x, -used)

    cdef bint denies(self) noexcept nogil:
        """Whether its listener doesn't serve the client, as far as a log knows who is connected:
        not behind proxies that tell of others."""
        cdef BindEntry* bind = self.x.bind
        if self.x.peer.family == 0 or (bind.http != NULL and bind.http.trusted.n):
            return False
        return bind.access != NULL and is_on_list(self.core, bind, bind.access, &self.x.peer)

    cdef int pick(self) noexcept nogil:
        self.x.books.attempts = 0
        self.x.n_tried = 0
        return balance_step(self.core, self.x)

    cdef void put_back(self) noexcept nogil:
        """Let go of the server, or of the place among those who wait."""
        stop_waiting(self.x)
        timer_cancel(&self.x.timer)
        let_server_go(self.core, self.x)
