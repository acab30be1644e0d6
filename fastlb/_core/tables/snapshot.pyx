# One immutable, compiled configuration, as engines read it.
# Built by the control plane, and freed when no engine and no connection uses it any more.
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastlb._core.base.access cimport Access
from fastlb._core.base.address cimport address_plain
from fastlb._core.base.enums cimport PASS_BOUNDED, PASS_GENTLE, PASS_HEALTHY
from fastlb._core.base.facts cimport FACT_COOKIE
from fastlb._core.base.limits cimport (
    DELAYS, ENGINES_MAX, GROUPS_MAX, NO_SERVER, RENDEZVOUS_DIRECT_MAX, RENDEZVOUS_PLACES,
)
from fastlb._core.base.mem cimport chunk_class
from fastlb._core.base.parts cimport (
    Address, Hedge, Keepalive, ProxyEntry, RingPoint, ServerAddress, Speeds, Sticky, TlsEntry,
    Token,
)
from fastlb._core.base.routing cimport HttpEntry, Reply, SniffTable
from fastlb._core.base.sessions cimport DatagramEntry, address_key, is_server
from fastlb._core.base.text cimport hash_bytes, hash_seed, mix64
from fastlb._core.base.types cimport BindEntry, Group, PoolEntry, ServerEntry
from fastlb._core.ext.atomic cimport fl_load32, fl_store_pointer
from fastlb._core.ext.linux cimport (
    AF_INET, AF_INET6, AF_UNIX, htons, inet_pton, sockaddr_in, sockaddr_in6, sockaddr_un,
)
from fastlb._core.tables.access cimport access_table
from fastlb._core.tables.room cimport Room
from fastlb._core.tables.contexts cimport TlsContext
from fastlb._core.tables.httptable cimport (
    edit_list, fact_ref, fill_networks, fill_reply, fill_retry, fill_statuses, http_table,
    policy_table,
)
from fastlb._core.tables.live cimport Live, live_wake_engines
from fastlb._core.tables.maglev cimport maglev_fill
from fastlb._core.tables.nearest cimport nearest_table
from fastlb._core.tables.sniffing cimport sniff_table
from fastlb._core.tables.states cimport Listener, Pool, Server
from fastlb._core.tables.sticky cimport sticky_add

import socket

from fastlb._core.base.balancing import BALANCES as _BALANCES

cdef uint32_t pack_address(object address, ServerAddress* into) except 0:
    """A (host, port) pair with a numeric host, or a unix socket's path; returns the size."""
    memset(into, 0, sizeof(ServerAddress))
    if isinstance(address, str):
        path = address.encode()
        if <size_t> len(path) >= sizeof(into.local.sun_path):
            raise ValueError(f"{address}: longer than the {sizeof(into.local.sun_path) - 1} bytes "
                             "that a unix socket's path can have")
        into.local.sun_family = AF_UNIX
        memcpy(into.local.sun_path, <const char*> path, len(path))
        return sizeof(sockaddr_un)
    host, port = address
    host, _, zone = host.partition("%")         # a link's, or ""
    text = host.encode("ascii")
    if inet_pton(AF_INET, text, &into.v4.sin_addr) == 1:
        into.v4.sin_family = AF_INET
        into.v4.sin_port = htons(port)
        return sizeof(sockaddr_in)
    if inet_pton(AF_INET6, text, &into.v6.sin6_addr) == 1:
        into.v6.sin6_family = AF_INET6
        into.v6.sin6_port = htons(port)
        into.v6.sin6_scope_id = _scope_id(zone)
        address_plain(<Address*> into)
        return sizeof(sockaddr_in6) if into.family == AF_INET6 else sizeof(sockaddr_in)
    raise ValueError(f"{host}: not an IP address")


cdef uint32_t _scope_id(str zone) except? 0:
    """The number of a link, by its name or as it is written; 0: none was given."""
    if not zone:
        return 0
    if zone.isascii() and zone.isdigit():
        return <uint32_t> int(zone)
    try:
        return <uint32_t> socket.if_nametoindex(zone)
    except OSError:
        raise ValueError(f"there is no network interface {zone!r} here") from None


cdef void* _table(size_t n, size_t size) except NULL:
    cdef void* block = calloc(n if n else 1, size)
    if block == NULL:
        raise MemoryError
    return block


cdef Keepalive _keepalive(object spec):
    cdef Keepalive keepalive
    memset(&keepalive, 0, sizeof(keepalive))
    if spec is not None:
        keepalive.idle_s, keepalive.interval_s, keepalive.count = spec
    return keepalive


cdef class Snapshot:
    """Listening sockets, pools and servers, compiled. See fastlb/compile for what goes in."""

    def __cinit__(self, Live live, list pools, list binds, int max_connections=0,
                  int max_sessions=0):
        cdef int i
        self.live = live
        live._slots = set()
        self.slots = frozenset()
        self._room = Room(live, len(pools))
        self._http, self._sniffed, self._accesses = {}, {}, {}
        self._known, self._configured = [], []
        self.servers = self.pools = self.listeners = ()
        self.table.max_connections, self.table.max_sessions = max_connections, max_sessions
        self.table.pools = <PoolEntry*> _table(len(pools), sizeof(PoolEntry))
        self.table.n_pools = len(pools)
        self.table.binds = <BindEntry*> _table(len(binds), sizeof(BindEntry))
        self.table.n_binds = len(binds)
        for i in range(len(pools)):
            self._add_pool(i, pools[i])
        for i in range(len(binds)):
            self._add_bind(i, binds[i])
        self.slots = frozenset(live._slots)
        self.servers, self._known = tuple(self._known), None
        for state, spec, slow_start_ms, is_new in self._configured:
            self._configure(state, spec, slow_start_ms, is_new)
        self._configured = None

    def __dealloc__(self):
        cdef uint32_t i, k
        if self.table.pools != NULL:
            for i in range(self.table.n_pools):
                for k in range(self.table.pools[i].n_groups):
                    free(self.table.pools[i].groups[k].sequence)
                    free(self.table.pools[i].groups[k].ring)
                    free(self.table.pools[i].groups[k].table)
                free(self.table.pools[i].groups)
                free(self.table.pools[i].servers)
        free(self.table.pools)
        free(self.table.binds)

    def publish(self) -> None:
        """Let all engines take it up at their next turn."""
        for limit, unit_ns, has_plans, is_bytes in self._room.rates:
            limit.use(unit_ns, has_plans, is_bytes)
        fl_store_pointer(&self.live.table.published, &self.table)
        live_wake_engines(&self.live.table)

    @property
    def in_use(self) -> bool:
        """Whether a connection is still being made with it. Engines are asked separately."""
        cdef int i
        for i in range(self.live.engines):
            if fl_load32(&self.table.users[i]) > 0:
                return True
        return False

    cdef int _add_pool(self, int index, object spec) except -1:
        cdef PoolEntry* pool = &self.table.pools[index]
        cdef Pool state = self.live.pool(spec.name)
        cdef uint32_t i
        self.pools += (state,)
        balance = _BALANCES[spec.balance]
        pool.live = &state.live
        pool.balance = balance.number
        pool.hash_key = fact_ref(self._room, spec.hash_key)
        pool.keys = {                   # (each member of the struct by its name)
            name: self.live.timer_slot(number) if name.endswith("_timer") else number
            for name, number in spec.keys.items()}
        pool.nodelay = spec.tcp_nodelay
        pool.keepalive = _keepalive(spec.keepalive)
        fill_retry(&pool.retry, spec.retry)
        pool.in_flight_max, pool.pending_max = spec.in_flight_max, spec.pending_max
        pool.retries_max = spec.retries_max
        pool.pending_timer = self.live.timer_slot(spec.pending_timeout_ms)
        pool.retry_after_s = spec.retry_after_s
        pool.is_counted = spec.in_flight_max > 0 or spec.pending_max > 0 or spec.bounded_load > 0
        pool.outliers.failures = spec.outliers.failures
        pool.outliers.ejection_ms = spec.outliers.ejection_ms
        pool.outliers.ejection_max_ms = spec.outliers.ejection_max_ms
        pool.outliers.share_max = spec.outliers.share_max
        fill_statuses(&pool.outliers.statuses, spec.outliers.statuses)
        if spec.hedge is not None:
            self._add_hedge(&pool.hedge, spec.hedge)
        pool.is_measured = (balance.by_latency or pool.hedge.percentile > 0
                            or spec.outliers.latency > 0)
        if spec.fallback >= 0:
            if spec.fallback >= <int> self.table.n_pools:
                raise ValueError("a pool falls back to one that isn't there")
            pool.fallback = &self.table.pools[<int> spec.fallback]
        if spec.unavailable is not None:
            pool.unavailable = <Reply*> self._room.take(1, sizeof(Reply))
            fill_reply(self._room, pool.unavailable, spec.unavailable)
        pool.request_edits = edit_list(self._room, spec.request_edits)
        pool.response_edits = edit_list(self._room, spec.response_edits)
        if spec.tls is not None:
            pool.tls = self._secured(spec.tls)
        pool.speaks_h2 = spec.speaks_h2
        pool.proxy_protocol = spec.proxy_protocol
        pool.servers = <ServerEntry*> _table(len(spec.servers), sizeof(ServerEntry))
        pool.n_servers = len(spec.servers)
        for i in range(pool.n_servers):
            self._add_server(spec.name, &pool.servers[i], spec.servers[i], spec.slow_start_ms)
        if spec.sticky is not None:
            self._add_sticky(pool, spec.sticky)
        pool.is_keyed = balance.by_key
        pool.bounded_load = spec.bounded_load
        pool.first_pass = PASS_BOUNDED if spec.bounded_load \
            else PASS_GENTLE if spec.slow_start_ms else PASS_HEALTHY
        if len(spec.groups) > GROUPS_MAX:
            raise ValueError(f"more than {GROUPS_MAX} groups")
        pool.groups = <Group*> _table(len(spec.groups), sizeof(Group))
        pool.n_groups = len(spec.groups)
        for i in range(pool.n_groups):
            self._add_group(pool, &pool.groups[i], spec, spec.groups[i])
        if spec.nearest is not None:
            pool.nearest = nearest_table(self._room, spec.nearest, pool.n_groups)
        return 0

    cdef TlsEntry* _secured(self, TlsContext context) noexcept:
        self._room.hold(context)
        return &context.entry

    cdef ProxyEntry* _proxied(self, object spec) except NULL:
        cdef ProxyEntry* entry = <ProxyEntry*> self._room.take(1, sizeof(ProxyEntry))
        fill_networks(self._room, &entry.trusted, spec.trusted)
        entry.required = spec.required
        entry.timer = self.live.timer_slot(spec.timeout_ms)
        return entry

    cdef Speeds* _speeds(self, object spec) except NULL:
        cdef Speeds* speeds = <Speeds*> self._room.take(1, sizeof(Speeds))
        speeds.to_server.byte_ns, speeds.to_server.burst_ns = spec.to_server
        speeds.to_client.byte_ns, speeds.to_client.burst_ns = spec.to_client
        speeds.timer = self.live.timer_slot(spec.look_ms)
        return speeds

    cdef int _add_hedge(self, Hedge* hedge, object spec) except -1:
        cdef int i
        hedge.timer = self.live.timer_slot(spec.delay_ms)
        hedge.percentile, hedge.budget = spec.percentile, spec.budget
        if spec.percentile:
            if len(spec.delays_ms) != DELAYS:
                raise ValueError(f"there are {DELAYS} delays")
            for i in range(DELAYS):
                hedge.timers[i] = self.live.timer_slot(spec.delays_ms[i])
        return 0

    cdef int _add_sticky(self, PoolEntry* pool, object spec) except -1:
        cdef Sticky* sticky = <Sticky*> self._room.take(1, sizeof(Sticky))
        cdef uint32_t size = 2, i
        while size < 2 * sum(map(len, spec.tokens)):
            size *= 2
        sticky.mask = size - 1
        sticky.tokens = <Token*> self._room.take(size, sizeof(Token))
        sticky.cookie.fact = FACT_COOKIE
        sticky.cookie.name = self._room.text(spec.cookie)
        if not len(spec.tokens) == len(spec.fields) == pool.n_servers:
            raise ValueError("every server has tokens")
        for i in range(pool.n_servers):
            pool.servers[i].set_cookie = self._room.text(spec.fields[i])
            for token in spec.tokens[i]:
                sticky_add(sticky, self._room.text(token), i + 1)
        pool.sticky = sticky
        return 0

    cdef int _add_group(self, PoolEntry* pool, Group* group, object spec, object part) except -1:
        """What depends on all servers of a group together: turns, shares, and places of keys."""
        cdef uint32_t i, weight, first = 0
        cdef const uint32_t[::1] sequence
        cdef const uint32_t[::1] hashes
        cdef const uint32_t[::1] owners
        if part.first + part.count > pool.n_servers or part.count >= NO_SERVER:
            raise ValueError("a group has servers that aren't there, or too many")
        group.servers = &pool.servers[<uint32_t> part.first]
        group.n_servers = part.count
        group.is_even = True
        for i in range(group.n_servers):
            weight = group.servers[i].weight
            group.total_weight += weight
            if weight and first and weight != first:
                group.is_even = False
            first = first if first else weight
        if part.sequence:
            sequence = part.sequence
            group.sequence = <uint32_t*> _table(sequence.shape[0], sizeof(uint32_t))
            for i in range(<uint32_t> sequence.shape[0]):
                if sequence[i] >= group.n_servers:
                    raise ValueError("a sequence names a server that isn't there")
                group.sequence[i] = sequence[i]
            group.n_sequence = sequence.shape[0]
        if part.ring:
            hashes, owners = part.ring
            group.ring = <RingPoint*> _table(hashes.shape[0], sizeof(RingPoint))
            for i in range(<uint32_t> hashes.shape[0]):
                if owners[i] >= group.n_servers:
                    raise ValueError("a ring names a server that isn't there")
                group.ring[i].hash = hashes[i]
                group.ring[i].server = owners[i]
            group.n_ring = hashes.shape[0]
        if spec.balance == "maglev":
            self._fill_maglev(group, spec.table_size)
        elif spec.balance == "rendezvous" and group.n_servers > RENDEZVOUS_DIRECT_MAX:
            group.n_table = RENDEZVOUS_PLACES
            group.table = <uint16_t*> _table(group.n_table, sizeof(uint16_t))
            memset(group.table, 255, group.n_table * sizeof(uint16_t))
        return 0

    cdef int _fill_maglev(self, Group* group, uint32_t size) except -1:
        cdef uint64_t* hashes = <uint64_t*> _table(group.n_servers, sizeof(uint64_t))
        cdef uint32_t* weights = <uint32_t*> _table(group.n_servers, sizeof(uint32_t))
        cdef uint32_t i
        cdef bint filled
        for i in range(group.n_servers):
            hashes[i], weights[i] = group.servers[i].hash, group.servers[i].weight
        group.n_table = size
        group.table = <uint16_t*> _table(size, sizeof(uint16_t))
        with nogil:
            filled = maglev_fill(group.table, size, hashes, weights, group.n_servers)
        free(hashes)
        free(weights)
        if not filled:
            raise MemoryError
        return 0

    cdef int _add_server(self, str pool, ServerEntry* entry, object spec,
                         uint32_t slow_start_ms) except -1:
        cdef bint is_new = not self.live.knows(pool, spec.name)
        cdef Server state = self.live.server(pool, spec.name)
        self._known.append(state)
        self._configured.append((state, spec, slow_start_ms, is_new))
        name = spec.name.encode()
        entry.hash = mix64(hash_bytes(hash_seed(), <const unsigned char*> <const char*> name,
                                      len(name)))
        entry.live = &state.live
        entry.address_size = pack_address(spec.address, &entry.address)
        if spec.other is not None:
            entry.other = <ServerAddress*> self._room.take(1, sizeof(ServerAddress))
            entry.other_size = pack_address(spec.other, entry.other)
        entry.weight = spec.weight
        entry.max_connections = spec.max_connections
        entry.tls_name = self._room.text(spec.tls_name.encode())
        return 0

    cdef int _configure(self, Server state, object spec, uint32_t slow_start_ms,
                        bint is_new) except -1:
        """Only now, as nothing may change for a snapshot that can't be made."""
        state.configure(spec.state)
        state.live.slow_start_ms = slow_start_ms
        state.weight = spec.weight
        if is_new and self.live.table.published != NULL:
            state.warm()
        return 0

    cdef DatagramEntry* _datagrams(self, object spec) except NULL:
        cdef DatagramEntry* udp = <DatagramEntry*> self._room.take(1, sizeof(DatagramEntry))
        udp.kind = spec.kind
        udp.moves = spec.moves
        udp.source_max = spec.source_max
        udp.receive_buffer = spec.receive_buffer
        udp.coalesce_ns = spec.coalesce_us * 1000
        udp.closing_timer = self.live.timer_slot(spec.closing_timeout_ms)
        if self._of_servers.servers == NULL:        # the same for all listeners
            self._add_of_servers(&self._of_servers)
        udp.servers, udp.mask = self._of_servers.servers, self._of_servers.mask
        return udp

    cdef int _add_of_servers(self, DatagramEntry* udp) except -1:
        """The servers whose datagrams are no client's."""
        cdef uint32_t size = 2, place, i, k
        cdef ServerAddress* address
        while size < 2 * sum([self.table.pools[i].n_servers for i in range(self.table.n_pools)]):
            size *= 2
        udp.mask = size - 1
        udp.servers = <ServerAddress**> self._room.take(size, sizeof(ServerAddress*))
        for i in range(self.table.n_pools):
            for k in range(self.table.pools[i].n_servers):
                address = &self.table.pools[i].servers[k].address
                if address.family == AF_UNIX or is_server(udp, <const Address*> address):
                    continue
                place = <uint32_t> address_key(<const Address*> address, 0) & udp.mask
                while udp.servers[place] != NULL:
                    place = (place + 1) & udp.mask
                udp.servers[place] = address
        return 0

    cdef int _add_bind(self, int index, object spec) except -1:
        cdef BindEntry* bind = &self.table.binds[index]
        cdef Listener state = self.live.listener(spec.listener)
        cdef int i
        if state not in self.listeners:
            self.listeners += (state,)
        bind.listener = &state.live
        if not -1 <= spec.pool < <int> self.table.n_pools:
            raise ValueError("a listener names a pool that isn't there")
        bind.pool = &self.table.pools[<int> spec.pool] if spec.pool >= 0 else NULL
        if spec.http is not None:
            if spec.listener not in self._http:
                self._http[spec.listener] = <size_t> http_table(self._room, spec.http)
            bind.http = <HttpEntry*> <size_t> self._http[spec.listener]
        if spec.policy is not None:
            bind.policy = policy_table(self._room, spec.policy)
        if spec.sniff is not None:
            if spec.listener not in self._sniffed:
                self._sniffed[spec.listener] = <size_t> sniff_table(
                    self._room, spec.sniff, self.table.n_binds)
            bind.sniff = <SniffTable*> <size_t> self._sniffed[spec.listener]
        if spec.tls is not None:
            bind.tls = self._secured(spec.tls)
            bind.handshake_timer = self.live.timer_slot(spec.handshake_timeout_ms)
        if spec.udp is not None:
            bind.udp = self._datagrams(spec.udp)
            state.count_sources()
        if spec.proxy is not None:
            bind.proxy = self._proxied(spec.proxy)
        if spec.access is not None:
            if spec.listener not in self._accesses:
                self._accesses[spec.listener] = <size_t> access_table(
                    self._room, state, spec.access)
            bind.access = <Access*> <size_t> self._accesses[spec.listener]
        if spec.speeds is not None:
            bind.speeds = self._speeds(spec.speeds)
        bind.id = spec.id
        bind.shared = spec.shared
        bind.max_connections = spec.max_connections
        bind.idle_timer = self.live.timer_slot(spec.idle_timeout_ms)
        bind.chunk_class = chunk_class(spec.buffer_size)
        bind.bulk_class = chunk_class(max(spec.bulk_buffer_size, spec.buffer_size))
        for i in range(ENGINES_MAX):
            bind.fds[i] = -1
        for i, fd in enumerate(spec.fds):
            bind.fds[i] = fd
        return 0
