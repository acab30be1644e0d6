# Doors into the core for tests and benchmarks: its own functions, called as its stages call them.
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastlb._core.balance.load cimport latency_of, observe_latency
from fastlb._core.base.buckets cimport CHARGED, bucket_add, bucket_charge
from fastlb._core.base.enums cimport NEXT, REASON_NO_SERVER, STAGE_DEAD
from fastlb._core.base.gate cimport Gate, gate_give, gate_take, gate_wait
from fastlb._core.base.mem cimport (
    chunk_bytes, chunk_class, chunk_size, free_all, give_chunk, give_exchange, take_chunk,
    take_exchange,
)
from fastlb._core.base.networks cimport network_value
from fastlb._core.base.parts cimport Address, ServerAddress, Timer
from fastlb._core.base.pipe cimport free_pipes, give_pipe, take_pipe
from fastlb._core.base.routing cimport RETRY_CONNECT
from fastlb._core.base.sys cimport clock_ms, clock_ns
from fastlb._core.base.timers cimport (
    timer_cancel, timer_expired, timer_start, timer_touch, timers_next_ms,
)
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http, Pipe, PoolEntry
from fastlb._core.ext.linux cimport AF_INET, ntohl
from fastlb._core.failing.hedging cimport afford_hedge, hedge_timer, observe_delay
from fastlb._core.failing.outliers cimport server_did_well, server_failed
from fastlb._core.failing.retry cimport count_request, may_retry
from fastlb._core.stages.balance cimport balance_step
from fastlb._core.stages.connect cimport connect_failed
from fastlb._core.tables.hashring cimport crc32, hash_client
from fastlb._core.tables.networks cimport NetworkSet
from fastlb._core.tables.rates cimport RateLimit
from fastlb._core.tables.snapshot cimport Snapshot, pack_address
from fastlb._core.tables.states cimport live_warm


def crc(bytes data):
    return crc32(data, len(data))


cdef Address _address(object where):
    """A client's address: (host, port), or None for a unix socket's."""
    cdef ServerAddress packed
    cdef Address address
    memset(&address, 0, sizeof(address))
    if where is not None:
        pack_address(where, &packed)
        if packed.family == 2:
            address.v4 = packed.v4
        else:
            address.v6 = packed.v6
    return address


def hash_of(object where, bint with_port):
    """What the ring is searched for, for client.ip or (with the port) client.address."""
    cdef Address address = _address(where)
    return hash_client(&address, with_port)


cdef class Picker:
    """The balance stage on the first listener of a snapshot."""

    cdef Core* core
    cdef Exchange* x
    cdef Http http
    cdef Snapshot snapshot

    def __cinit__(self, Snapshot snapshot, seed=1):
        self.snapshot = snapshot
        self.core = <Core*> calloc(1, sizeof(Core))
        self.core.live = &snapshot.live.table
        self.core.now_ms = 1000
        self.core.random = seed
        self.x = take_exchange(self.core)
        self.x.bind = &snapshot.table.binds[0]
        self.x.pool = self.x.bind.pool

    def __dealloc__(self):
        self.x.stage = STAGE_DEAD
        give_exchange(self.core, self.x)
        free_all(self.core)
        free(self.core)

    def client(self, where):
        self.x.peer = _address(where)

    def clock(self):
        """What the control plane calls now, as engines do."""
        self.core.now_ms = clock_ms()

    def advance_ms(self, int ms):
        self.core.now_ms += ms

    def pick(self):
        """The picked server's index, whose place is kept; -1: none, -2: all are full."""
        self.x.flags = 0
        self.x.attempt.flags = 0
        self.x.books.attempts = 0
        if balance_step(self.core, self.x) == NEXT:
            return self.x.attempt.entry - self.x.bind.pool.servers
        return -1 if self.x.reason == REASON_NO_SERVER else -2

    def give(self, int server):
        cdef PoolEntry* pool = self.x.bind.pool
        gate_give(&pool.servers[server].live.connections)
        if pool.is_counted:
            gate_give(&pool.live.in_flight)

    def key(self, bytes key):
        """Pick by this key from now on, as http does."""
        memset(&self.http, 0, sizeof(Http))
        self.x.http = &self.http
        self.x.hash = crc32(key, len(key))

    def pick_keys(self, list keys):
        """The server of each key; no place is kept."""
        picked = []
        for key in keys:
            self.key(key)
            server = self.pick()
            picked.append(server)
            if server >= 0:
                self.give(server)
        return picked

    def observe(self, int server, double us):
        """One more measurement of a server's latency."""
        cdef PoolEntry* pool = self.x.bind.pool
        observe_latency(pool, pool.servers[server].live, self.core.now_ms, us)

    def latency(self, int server):
        return latency_of(self.x.bind.pool.servers[server].live, self.core.now_ms)

    def observe_delay(self, double us):
        """An answer took so long, for a percentile of hedges."""
        observe_delay(self.core, self.x.bind.pool, <unsigned long long> us)

    def hedge_after_ms(self):
        """How long a request waits before a second server is asked; 0: for ever."""
        return self.core.live.timer_ms[hedge_timer(self.core, self.x.bind.pool)]

    def hedge(self, int server):
        """The second server of a request that waits for one; -1: none, or beyond the budget."""
        self.x.pool = self.x.bind.pool
        self.x.n_tried = 1
        self.x.tried[0] = server
        second = -1
        if afford_hedge(self.core, self.x):
            self.x.books.attempts = 1
            if balance_step(self.core, self.x) == NEXT:
                second = self.x.attempt.entry - self.x.pool.servers
        self.x.n_tried = 0
        return second

    def report(self, int server, int in_flight, double latency_ms):
        self.snapshot.servers[server].report(in_flight, latency_ms)

    def places(self):
        """How many places of its table each server has."""
        cdef PoolEntry* pool = self.x.bind.pool
        counts = [0] * pool.n_servers
        for i in range(pool.groups[0].n_table):
            counts[pool.groups[0].table[i]] += 1
        return counts

    def in_flight(self, int server):
        return self.x.bind.pool.servers[server].live.connections.count

    def tried(self, list servers):
        self.x.n_tried = 0
        for server in servers:
            self.x.tried[self.x.n_tried] = server
            self.x.n_tried += 1

    def fail(self, int server):
        """Let a connect to a server fail."""
        self.x.attempt.target = self.x.bind.pool.servers[server].live
        self.x.pool = self.x.bind.pool
        self.x.attempt.counters = self.x.attempt.target.counters
        connect_failed(self.core, self.x, 111)

    def did_badly(self, int server):
        """Let a server give an answer that counts as a failure, or none."""
        server_failed(self.core, self.x.bind.pool, self.x.bind.pool.servers[server].live)

    def did_well(self, int server):
        server_did_well(self.core, self.x.bind.pool.servers[server].live)

    def state(self, int server):
        """0 up, 1 failing, 2 ejected."""
        return self.x.bind.pool.servers[server].live.state

    def down(self, int server, bint down):
        self.snapshot.servers[server].down = down

    def enter(self, int server, str state):
        """Draining, maintenance or up, as the configuration or somebody wants."""
        self.snapshot.servers[server].choose(state)

    def warm(self, int server):
        """It has just come up."""
        live_warm(self.x.bind.pool.servers[server].live, self.core.now_ms)

    def states(self):
        return [server.state for server in self.snapshot.servers]

    def share(self, list shares):
        self.snapshot.pools[0].share(shares)

    def bind(self, int server):
        """The client's cookie names a server; -1: none."""
        self.x.bound_to = server + 1

    def panic(self, bint panic):
        self.x.bind.pool.live.panic = panic

    def request(self):
        """A request for a server comes in."""
        self.x.books.attempts = 0
        self.x.n_tried = 0
        count_request(self.core, self.x.bind.pool)
        self.x.books.attempts = 1

    def may_retry(self, int server):
        """Whether the request goes elsewhere when its connect to a server fails."""
        self.x.attempt.entry = &self.x.bind.pool.servers[server]
        if not may_retry(self.core, self.x, RETRY_CONNECT, 0):
            return False
        self.x.books.attempts += 1
        return True

    def spin(self, int n):
        """Pick and give back n times."""
        cdef int i
        with nogil:
            for i in range(n):
                self.x.hash += 2654435761u
                self.x.books.attempts = 0
                if balance_step(self.core, self.x) == NEXT:
                    gate_give(&self.x.attempt.target.connections)
                    if self.x.attempt.loaded != NULL:
                        gate_give(&self.x.attempt.loaded.in_flight)
                        self.x.attempt.loaded = NULL


cdef class Timers:
    """Timeout lists with exchanges that wait in them, by number."""

    cdef Core* core
    cdef list _slots
    cdef Exchange* xs[64]

    def __cinit__(self, list lengths_ms):
        cdef int i
        self.core = <Core*> calloc(1, sizeof(Core))
        self.core.n_timers = 1 + len(lengths_ms)
        for i in range(self.core.n_timers):
            self.core.timers[i].head.next = self.core.timers[i].head.prev = (
                &self.core.timers[i].head)
            self.core.timers[i].length_ms = lengths_ms[i - 1] if i else 0
        for i in range(64):
            self.xs[i] = take_exchange(self.core)

    def __dealloc__(self):
        free_all(self.core)
        free(self.core)

    def now(self, int ms):
        self.core.now_ms = ms

    def start(self, int x, int slot):
        timer_start(self.core, &self.xs[x].timer, slot)

    def touch(self, int x):
        timer_touch(self.core, &self.xs[x].timer)

    def cancel(self, int x):
        timer_cancel(&self.xs[x].timer)

    def next_ms(self):
        return timers_next_ms(self.core)

    def expired(self):
        """Who is due, in order; they wait no more."""
        cdef Timer* x
        cdef int slot, i
        due = []
        for slot in range(1, self.core.n_timers):
            while True:
                x = timer_expired(self.core, slot)
                if x == NULL:
                    break
                timer_cancel(x)
                for i in range(64):
                    if &self.xs[i].timer == x:
                        due.append(i)
        return due


def chunk_classes(list sizes):
    """(class, its size) for each wanted size."""
    return [(chunk_class(size), chunk_size(chunk_class(size))) for size in sizes]


def spin_chunks(int klass, int n):
    """Take and give back a chunk n times; returns how many stay in the free list."""
    cdef Core* core = <Core*> calloc(1, sizeof(Core))
    cdef Chunk* chunk
    cdef int i
    with nogil:
        for i in range(n):
            chunk = take_chunk(core, klass)
            chunk_bytes(chunk)[0] = 1
            give_chunk(core, chunk)
    kept = core.n_free_chunks[klass]
    free_all(core)
    free(core)
    return kept


def hold_chunks(int klass, int n):
    """Take n chunks, give all back; returns how many stay in the free list."""
    cdef Core* core = <Core*> calloc(1, sizeof(Core))
    cdef Chunk* first = NULL
    cdef Chunk* chunk
    cdef int i
    for i in range(n):
        chunk = take_chunk(core, klass)
        chunk.next = first
        first = chunk
    while first != NULL:
        chunk = first
        first = chunk.next
        give_chunk(core, chunk)
    kept = core.n_free_chunks[klass]
    free_all(core)
    free(core)
    return kept


def hold_pipes(int n):
    """Take up to n pipes; returns how many there were, and that they are taken again."""
    cdef Core* core = <Core*> calloc(1, sizeof(Core))
    cdef Pipe* first = NULL
    cdef Pipe* pipe
    cdef int i, taken = 0
    for i in range(n):
        pipe = take_pipe(core)
        if pipe == NULL:
            break
        pipe.next = first
        first = pipe
        taken += 1
    while first != NULL:
        pipe = first
        first = pipe.next
        give_pipe(core, pipe)
    free_pipes(core)
    left = core.n_pipes
    free(core)
    return taken, left


cdef class GateProbe:
    cdef Gate gate

    def take(self, int limit):
        return bool(gate_take(&self.gate, limit))

    def give(self):
        return bool(gate_give(&self.gate))

    def wait(self, int limit):
        return bool(gate_wait(&self.gate, limit))

    @property
    def count(self):
        return self.gate.count

    def hammer(self, int limit, int n):
        """Take and give n times; returns the most places that were ever seen taken."""
        cdef int i, most = 0
        with nogil:
            for i in range(n):
                if gate_take(&self.gate, limit):
                    if self.gate.count > most:
                        most = self.gate.count
                    gate_give(&self.gate)
        return most


def network_lookups(NetworkSet networks, const uint32_t[::1] addresses, int rounds):
    """Look IPv4 addresses (in host order) up, without the GIL. Returns how many were in, and the
    nanoseconds that each look-up took."""
    cdef uint32_t n = <uint32_t> addresses.shape[0], i
    cdef uint64_t begin_ns, found = 0
    cdef Address address
    cdef int k
    memset(&address, 0, sizeof(address))
    address.family = AF_INET
    begin_ns = clock_ns()
    with nogil:
        for k in range(rounds):
            for i in range(n):
                address.v4.sin_addr.s_addr = ntohl(addresses[i])
                found += network_value(&networks.table, &address) != 0
    return found, <double> (clock_ns() - begin_ns) / (n * rounds)


def charge_many(RateLimit limit, list keys, int rounds, uint64_t cost_ns, uint64_t burst_ns,
                bint beyond=False):
    """Charge each key so many times, without the GIL, in another order each round. `beyond`: more
    than its burst. Returns how often each was charged."""
    cdef uint32_t n = <uint32_t> len(keys), i, at
    cdef uint64_t* hashes = <uint64_t*> calloc(n, sizeof(uint64_t))
    cdef uint32_t* charged = <uint32_t*> calloc(n, sizeof(uint32_t))
    cdef uint64_t now_ns = limit._now_ns(), due_ns
    cdef int k
    if hashes == NULL or charged == NULL:
        raise MemoryError
    for i in range(n):
        hashes[i] = limit._hash(keys[i])
    with nogil:
        for k in range(rounds):
            for i in range(n):
                at = (i * 7919 + <uint32_t> k * 104729) % n
                if beyond:
                    charged[at] += bucket_add(
                        &limit.live.buckets, hashes[at], now_ns, cost_ns) == CHARGED
                else:
                    charged[at] += bucket_charge(
                        &limit.live.buckets, hashes[at], now_ns, cost_ns, burst_ns,
                        &due_ns) == CHARGED
    found = [charged[i] for i in range(n)]
    free(hashes)
    free(charged)
    return found
