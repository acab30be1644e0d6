# Balancing that keeps a key on its server: ring_hash, maglev, rendezvous. x.hash is the key's
# CRC-32.
from libc.math cimport log
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from fastlb._core.balance.candidates cimport take
from fastlb._core.base.balancing cimport BALANCE_BY_KEY, register_balance
from fastlb._core.base.enums cimport BALANCE_MAGLEV, BALANCE_RENDEZVOUS, BALANCE_RING_HASH
from fastlb._core.base.facts cimport (
    FACT_CLIENT_ADDRESS, FACT_CLIENT_IP, FACT_MQTT_CLIENT_ID, FactRef,
)
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport NO_SERVER
from fastlb._core.base.routing cimport SNIFFED_KEYS
from fastlb._core.base.text cimport mix64
from fastlb._core.base.types cimport Core, Exchange, Group
from fastlb._core.ext.atomic cimport fl_count, likely
from fastlb._core.facts.registry cimport fact_find
from fastlb._core.tables.hashring cimport crc32, hash_client, ring_find

cdef enum:
    REHASHES = 64               # places tried for a key before all servers in turn


cdef uint32_t session_hash(Core* core, Exchange* x, const FactRef* key) noexcept nogil:
    """CRC-32 of what a TCP connection or UDP session has, or else of its client's address."""
    cdef Text value
    cdef int mqtt = key.fact - FACT_MQTT_CLIENT_ID
    if likely(key.fact == FACT_CLIENT_IP or key.fact == FACT_CLIENT_ADDRESS):
        return hash_client(&x.peer, key.fact == FACT_CLIENT_ADDRESS)
    if 0 <= mqtt < SNIFFED_KEYS:
        if x.opening.keys_known >> mqtt & 1:
            return x.opening.keys[mqtt]
    elif fact_find(core, x, key, &value):
        return crc32(value.at, value.size)
    fl_count(&core.counters.keys_missing, 1)
    return hash_client(&x.peer, False)


cdef bint _take_from_ring(Core* core, Exchange* x, const Group* group, int which,
                         bint* full) noexcept nogil:
    """The owner of the first point at or after the key's hash, or of the next ones."""
    cdef uint32_t i, point, last = group.n_servers
    if group.n_ring == 0:
        return False
    point = ring_find(group.ring, group.n_ring, x.hash)
    for i in range(group.n_ring):
        if group.ring[point].server != last:
            last = group.ring[point].server
            if take(core, x, group, last, which, full):
                return True
        point = point + 1 if point + 1 < group.n_ring else 0
    return False


cdef uint32_t _highest(const Group* group, uint64_t hash) noexcept nogil:
    """Of all servers the one with the highest random weight for a hash (Thaler, Ravishankar: Using
    Name-Based Mappings to Increase Hit Rates, 1998); weighted as -w / ln(u) (Schindelhauer,
    Schomaker, 2005)."""
    cdef uint32_t i, best = NO_SERVER
    cdef uint64_t score, most = 0
    cdef double weighted, heaviest = -1
    for i in range(group.n_servers):
        if group.servers[i].weight == 0:
            continue
        score = mix64(hash ^ group.servers[i].hash)
        if group.is_even:
            if best == NO_SERVER or score > most:
                most = score
                best = i
            continue
        # (u lies in (0, 1): the upper 53 bits and a half)
        weighted = -<double> group.servers[i].weight / log(
            (<double> (score >> 11) + 0.5) * (1.0 / 9007199254740992.0))
        if weighted > heaviest:
            heaviest = weighted
            best = i
    return best


cdef uint32_t _place(int balance, const Group* group, uint64_t hash) noexcept nogil:
    """The server of a hash, by the pool's policy; NO_SERVER if none has a weight."""
    cdef uint16_t* slot
    if balance == BALANCE_MAGLEV:
        return group.table[hash % group.n_table]
    if group.n_table == 0:
        return _highest(group, hash)
    # Of many servers, keys share a place, and who has it is found out once. Engines may find it out
    # at the same time, and find the same.
    slot = &group.table[hash % group.n_table]
    if slot[0] == NO_SERVER:
        slot[0] = <uint16_t> _highest(group, mix64(hash % group.n_table))
    return slot[0]


cdef bint _take_by_table(Core* core, Exchange* x, const Group* group, int which,
                        bint* full) noexcept nogil:
    """The key's server, or where it can't be had that of another place that the key leads to, so
    that the keys of a server that fails go to all others."""
    cdef uint64_t hash = mix64(x.hash)
    cdef uint32_t i, server
    for i in range(<uint32_t> REHASHES):
        server = _place(x.pool.balance, group, hash)
        if server == NO_SERVER:
            return False
        if take(core, x, group, server, which, full):
            return True
        hash = mix64(hash + i)
    server = <uint32_t> (hash % group.n_servers)
    for i in range(group.n_servers):
        if take(core, x, group, server, which, full):
            return True
        server = server + 1 if server + 1 < group.n_servers else 0
    return False


register_balance(BALANCE_RING_HASH, "ring_hash", BALANCE_BY_KEY, _take_from_ring,
                 "the key's place on a ring, as nginx's `hash ... consistent`")
register_balance(BALANCE_MAGLEV, "maglev", BALANCE_BY_KEY, _take_by_table,
                 "the key's place in a table")
register_balance(BALANCE_RENDEZVOUS, "rendezvous", BALANCE_BY_KEY, _take_by_table,
                 "the key's highest random weight")
