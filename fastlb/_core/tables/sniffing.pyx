# Routes of a TCP listener, laid out for the engines. fastlb/compile/sniffing says what goes in.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.routing cimport SniffName, SniffRoute, SniffTable
from fastlb._core.base.text cimport hash_bytes, hash_seed
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.httptable cimport condition_table, fact_ref, policy_table, share_table
from fastlb._core.tables.room cimport Room


cdef SniffRoute** _routes(Arena arena, const SniffTable* table, object indices) except NULL:
    cdef SniffRoute** made = <SniffRoute**> arena.take(len(indices), sizeof(SniffRoute*))
    cdef uint32_t i, index
    for i in range(<uint32_t> len(indices)):
        index = indices[i]
        if index >= table.n_routes:
            raise ValueError("a name has a route that isn't there")
        made[i] = &table.routes[index]
    return made


cdef int _fill_names(Arena arena, SniffTable* table, object names) except -1:
    cdef uint32_t slots = 4, slot
    cdef uint64_t hash
    cdef SniffName* name
    if not names:
        return 0
    while slots < 2 * len(names):
        slots *= 2
    table.name_mask = slots - 1
    table.names = <SniffName**> arena.take(slots, sizeof(SniffName*))
    for text, indices in names:
        name = <SniffName*> arena.take(1, sizeof(SniffName))
        name.name = arena.text(text)
        name.n_routes = len(indices)
        name.routes = _routes(arena, table, indices)
        hash = hash_bytes(hash_seed(), name.name.at, name.name.size)
        slot = <uint32_t> (hash ^ hash >> 32) & table.name_mask
        while table.names[slot] != NULL:
            slot = (slot + 1) & table.name_mask
        table.names[slot] = name
    return 0


cdef int _fill_route(Room room, SniffRoute* route, object spec, int n_binds) except -1:
    if spec.bind >= n_binds:
        raise ValueError("a route names a listener that isn't there")
    route.id = room.live.names.id(spec.name)
    route.protocols = spec.protocols
    route.action = spec.action
    route.bind = spec.bind
    route.pool = room.pool_index(spec.pool) if spec.pool >= 0 else 0
    route.n_shares = len(spec.shares)
    route.shares = share_table(room, spec.shares)
    route.split_on = fact_ref(room, spec.split_on)
    route.hash_on = fact_ref(room, spec.hash_on)
    route.n_conditions = len(spec.conditions)
    route.conditions = condition_table(room, spec.conditions, NULL)
    if spec.policy is not None:
        route.policy = policy_table(room, spec.policy)
    return 0


cdef SniffTable* sniff_table(Room room, object spec, int n_binds) except NULL:
    cdef SniffTable* table = <SniffTable*> room.take(1, sizeof(SniffTable))
    cdef uint32_t i
    table.is_blind = spec.is_blind
    table.silence_timer = room.live.timer_slot(spec.silence_ms)
    table.whole_timer = room.live.timer_slot(spec.whole_ms)
    table.n_routes = len(spec.routes)
    table.routes = <SniffRoute*> room.take(table.n_routes, sizeof(SniffRoute))
    for i in range(table.n_routes):
        _fill_route(room, &table.routes[i], spec.routes[i], n_binds)
    _fill_names(room, table, spec.names)
    table.n_any = len(spec.any)
    table.any = _routes(room, table, spec.any)
    return table
