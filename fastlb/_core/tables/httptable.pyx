# Routes and settings of an HTTP listener, laid out for the engines. fastlb/compile/routes says what
# goes in.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from fastlb._core.base.facts cimport FACTS_MAX, FactRef
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport CAPTURES_MAX, CONTENT_PAUSE_MS, DEADLINES, SEGMENTS_MAX
from fastlb._core.base.ranges cimport NetworkList, NetworkLive
from fastlb._core.base.routing cimport (
    CAPTURE_MARK, CaptureStep, Captures, Condition, Dfa, Edit, EditList, ErrorPage, HostEntry,
    HttpEntry, PageList, Pattern, Policy, RegexRoute, Reply, Retry, Route, Shape, Share,
    StatusSet, Template,
)
from fastlb._core.base.text cimport hash_bytes, hash_seed
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.caller cimport Caller
from fastlb._core.tables.filters cimport fill_filters
from fastlb._core.tables.networks cimport Network, NetworkSet
from fastlb._core.tables.room cimport Room

cdef enum:
    LITERALS_MAX = 100000       # networks that are written where they are used

_EMPTY = b""


cdef FactRef fact_ref(Arena arena, object spec):
    cdef FactRef made
    number, index, name = spec
    if not 0 <= number < <int> FACTS_MAX:
        raise ValueError(f"there is no fact {number}")
    made.fact, made.index = number, index
    made.name = arena.text(name)
    return made


cdef int fill_statuses(StatusSet* into, object statuses) except -1:
    """From (first, last) pairs."""
    cdef int status
    for first, last in statuses:
        for status in range(max(first, 100), min(last, 599) + 1):
            into.bits[(status - 100) >> 6] |= <uint64_t> 1 << ((status - 100) & 63)
    return 0


cdef int fill_retry(Retry* into, object spec) except -1:
    into.attempts, into.on, into.non_idempotent = spec.attempts, spec.on, spec.non_idempotent
    into.bounded, into.budget, into.reserve = spec.bounded, spec.budget, spec.reserve
    fill_statuses(&into.statuses, spec.statuses)
    return 0


cdef Dfa _dfa(Arena arena, object spec):
    cdef Dfa dfa
    if len(spec.classes) != 256 or len(spec.accepting) != spec.n_states or (
            len(spec.table) != spec.n_states * spec.n_classes):
        raise ValueError("a broken DFA")
    if max(spec.table) >= spec.n_states or max(spec.classes) >= spec.n_classes:
        raise ValueError("a DFA names a state or class that isn't there")
    dfa.classes = arena.keep(spec.classes)
    dfa.accepting = arena.keep(spec.accepting)
    dfa.table = <const uint16_t*> arena.keep(spec.table.tobytes())
    dfa.n_classes = spec.n_classes
    return dfa


cdef Template _template(Arena arena, object parts):
    cdef Template template
    cdef uint32_t i
    template.n_parts = len(parts)
    template.parts = <FactRef*> arena.take(len(parts), sizeof(FactRef))
    for i in range(template.n_parts):
        template.parts[i] = fact_ref(arena, parts[i])
    return template


cdef EditList edit_list(Arena arena, object specs):
    cdef EditList made
    cdef uint32_t i
    made.n = len(specs)
    made.all = <Edit*> arena.take(made.n, sizeof(Edit))
    for i in range(made.n):
        op, name, parts = specs[i]
        made.all[i].op = op
        made.all[i].name = arena.text(name)
        made.all[i].value = _template(arena, parts)
    return made


cdef PageList _pages(Arena arena, object specs):
    cdef PageList made
    cdef uint32_t i
    made.n = len(specs)
    made.all = <ErrorPage*> arena.take(made.n, sizeof(ErrorPage))
    for i in range(made.n):
        made.all[i].status, made.all[i].for_json = specs[i].status, specs[i].for_json
        fill_reply(arena, &made.all[i].reply, specs[i].reply)
    return made


cdef Captures* _captures(Arena arena, object spec) except NULL:
    cdef Captures* made = <Captures*> arena.take(1, sizeof(Captures))
    cdef uint32_t i
    size = len(spec.steps)
    if len(spec.classes) != 256 or len(spec.table) != spec.n_states * spec.n_classes or (
            spec.row * 8 < size or len(spec.able) != spec.row * spec.n_states):
        raise ValueError("broken captures")
    if max(spec.table) >= spec.n_states or max(spec.classes) >= spec.n_classes \
            or spec.n_groups > CAPTURES_MAX:
        raise ValueError("captures name a state, class or group that isn't there")
    made.n_groups, made.n_steps, made.row = spec.n_groups, size, spec.row
    made.n_classes = spec.n_classes
    made.classes = arena.keep(spec.classes)
    made.able = arena.keep(spec.able)
    made.table = <const uint16_t*> arena.keep(spec.table.tobytes())
    made.steps = <CaptureStep*> arena.take(size, sizeof(CaptureStep))
    for i in range(made.n_steps):
        kind, a, b = spec.steps[i]
        if a >= size or b >= (2 * spec.n_groups + 2 if kind == CAPTURE_MARK else size):
            raise ValueError("a step of captures leads nowhere")
        made.steps[i].kind, made.steps[i].a, made.steps[i].b = kind, a, b
    return made


cdef int _fill_pattern(Arena arena, Pattern* pattern, object spec, Route* routes,
                       uint32_t n_routes) except -1:
    cdef uint32_t i
    if len(spec.segments) > SEGMENTS_MAX:
        raise ValueError(f"a pattern of more than {SEGMENTS_MAX} segments")
    pattern.n_segments = len(spec.segments)
    pattern.open = spec.open
    pattern.hash = hash_seed()
    for i, segment in enumerate(spec.segments):
        if segment is not None:
            pattern.literals |= <uint32_t> 1 << i
            pattern.segments[i] = arena.text(segment)
            pattern.hash = (pattern.hash ^ hash_bytes(
                hash_seed(), pattern.segments[i].at, pattern.segments[i].size)
            ) * <uint64_t> 1099511628211u
    pattern.n_routes = len(spec.routes)
    pattern.routes = _routes(arena, spec.routes, routes, n_routes)
    return 0


cdef Route** _routes(Arena arena, object indices, Route* routes, uint32_t n_routes) except NULL:
    cdef Route** made = <Route**> arena.take(len(indices), sizeof(Route*))
    cdef uint32_t i, index
    for i in range(<uint32_t> len(indices)):
        index = indices[i]
        if index >= n_routes:
            raise ValueError("a pattern names a route that isn't there")
        made[i] = &routes[index]
    return made


cdef int _fill_shape(Arena arena, Shape* shape, object spec, Route* routes,
                     uint32_t n_routes) except -1:
    cdef uint32_t slots = 4, slot
    cdef Pattern* pattern
    while slots < 2 * len(spec):
        slots *= 2
    shape.mask = slots - 1
    shape.slots = <Pattern**> arena.take(slots, sizeof(Pattern*))
    for one in spec:
        pattern = <Pattern*> arena.take(1, sizeof(Pattern))
        _fill_pattern(arena, pattern, one, routes, n_routes)
        shape.n_segments, shape.open = pattern.n_segments, pattern.open
        shape.literals = pattern.literals
        slot = <uint32_t> (pattern.hash ^ pattern.hash >> 32) & shape.mask
        while shape.slots[slot] != NULL:
            slot = (slot + 1) & shape.mask
        shape.slots[slot] = pattern
        if shape.first == NULL or pattern.routes[0] < shape.first:
            shape.first = pattern.routes[0]
    return 0


cdef HostEntry* _host(Arena arena, object spec, Route* routes, uint32_t n_routes) except NULL:
    cdef HostEntry* host = <HostEntry*> arena.take(1, sizeof(HostEntry))
    cdef uint32_t i
    host.host = arena.text(spec.host)
    host.n_shapes = len(spec.shapes)
    host.shapes = <Shape*> arena.take(host.n_shapes, sizeof(Shape))
    for i in range(host.n_shapes):
        _fill_shape(arena, &host.shapes[i], spec.shapes[i], routes, n_routes)
    host.n_regexes = len(spec.regexes)
    host.regexes = <RegexRoute*> arena.take(host.n_regexes, sizeof(RegexRoute))
    for i in range(host.n_regexes):
        dfa, index = spec.regexes[i]
        host.regexes[i].dfa = _dfa(arena, dfa)
        host.regexes[i].route = _routes(arena, [index], routes, n_routes)[0]
    host.n_any = len(spec.any)
    host.any = _routes(arena, spec.any, routes, n_routes)
    return host


cdef int _fill_hosts(Arena arena, HttpEntry* entry, object specs) except -1:
    cdef uint32_t slots = 4, slot
    cdef uint64_t hash
    cdef HostEntry* host
    named = [spec for spec in specs if spec.host]
    for spec in specs:
        if not spec.host:
            entry.any_host = _host(arena, spec, entry.routes, entry.n_routes)
    if not named:
        return 0
    while slots < 2 * len(named):
        slots *= 2
    entry.host_mask = slots - 1
    entry.hosts = <HostEntry**> arena.take(slots, sizeof(HostEntry*))
    for spec in named:
        host = _host(arena, spec, entry.routes, entry.n_routes)
        hash = hash_bytes(hash_seed(), host.host.at, host.host.size)
        slot = <uint32_t> (hash ^ hash >> 32) & entry.host_mask
        while entry.hosts[slot] != NULL:
            slot = (slot + 1) & entry.host_mask
        entry.hosts[slot] = host
    return 0


cdef int fill_networks(Room room, NetworkList* into, object spec) except -1:
    """From names of sets, and a text with networks beside them, one a line."""
    cdef Network network
    cdef uint32_t i
    found = [room.live.network(name) for name in spec.names]
    if spec.text:
        network = Network("")
        network.use(NetworkSet(spec.text, LITERALS_MAX))
        if network.set.wrong:
            raise ValueError("a list has something that is no network")
        found.append(network)
    into.n = len(found)
    into.all = <NetworkLive**> room.take(into.n, sizeof(NetworkLive*))
    for i in range(into.n):
        network = found[i]
        room.hold(network)
        into.all[i] = &network.live
    return 0


cdef int _fill_condition(Room room, Condition* condition, object spec, Route* routes) except -1:
    condition.of = fact_ref(room, spec.of)
    condition.op, condition.negate = spec.op, spec.negate
    condition.value = room.text(spec.value)
    if spec.networks is not None:
        fill_networks(room, &condition.networks, spec.networks)
    if spec.dfa is not None:
        condition.dfa = _dfa(room, spec.dfa)
    if spec.pattern is not None:
        condition.pattern = <Pattern*> room.take(1, sizeof(Pattern))
        _fill_pattern(room, condition.pattern, spec.pattern, routes, 0)
    return 0


cdef int fill_reply(Arena arena, Reply* reply, object spec) except -1:
    reply.status = spec.status
    reply.content_type = arena.text(spec.content_type)
    reply.content = arena.text(spec.content)
    reply.lines = arena.text(spec.lines)
    return 0


cdef Policy* policy_table(Room room, object spec) except NULL:
    cdef Policy* policy = <Policy*> room.take(1, sizeof(Policy))
    cdef Caller caller = spec.caller
    room.hold(caller)
    policy.caller = <void*> caller
    policy.live = &caller.live
    policy.id = caller.id
    policy.is_sync = spec.is_sync
    policy.on_close = spec.on_close
    policy.timer = room.live.timer_slot(spec.deadline_ms)
    policy.deadline_ms = spec.deadline_ms
    policy.on_error = room.pool_index(spec.on_error) if spec.on_error >= 0 else -1
    policy.pending_max = spec.pending_max
    policy.body_max = spec.body_max
    policy.cache_on = fact_ref(room, spec.cache_on)
    policy.cache_ms = spec.cache_ms
    policy.first_timer = room.live.timer_slot(spec.first_ms)
    return policy


cdef Share* share_table(Room room, object specs) except NULL:
    """Of a split: pools and weights."""
    cdef Share* shares = <Share*> room.take(len(specs), sizeof(Share))
    cdef uint32_t i, upto = 0
    for i in range(<uint32_t> len(specs)):
        pool, weight = specs[i]
        upto += <uint32_t> weight
        shares[i].pool = room.pool_index(pool)
        shares[i].upto = upto
    return shares


cdef Condition* condition_table(Room room, object specs, Route* routes) except NULL:
    cdef Condition* conditions = <Condition*> room.take(len(specs), sizeof(Condition))
    cdef uint32_t i
    for i in range(<uint32_t> len(specs)):
        _fill_condition(room, &conditions[i], specs[i], routes)
    return conditions


cdef int _fill_route(Room room, Route* route, object spec, Route* routes) except -1:
    cdef uint32_t i
    route.name = room.text(spec.name)
    route.id = room.live.names.id(spec.name.decode())
    route.action, route.status, route.on_close = spec.action, spec.status, spec.on_close
    route.pool = room.pool_index(spec.pool) if spec.pool >= 0 else 0
    route.n_shares = len(spec.shares)
    route.shares = share_table(room, spec.shares)
    route.n_names = len(spec.names)
    route.names = <Text*> room.take(route.n_names, sizeof(Text))
    for i in range(route.n_names):
        route.names[i] = room.text(spec.names[i])
    route.split_on = fact_ref(room, spec.split_on)
    route.hash_on = fact_ref(room, spec.hash_on)
    route.n_conditions = len(spec.conditions)
    route.conditions = condition_table(room, spec.conditions, routes)
    route.location = _template(room, spec.location)
    if spec.reply is not None:
        fill_reply(room, &route.reply, spec.reply)
    route.rewrite_path = _template(room, spec.rewrite_path)
    route.rewrite_host = _template(room, spec.rewrite_host)
    route.request_edits = edit_list(room, spec.request_edits)
    route.response_edits = edit_list(room, spec.response_edits)
    route.errors = _pages(room, spec.errors)
    if spec.captures is not None:
        route.captures = _captures(room, spec.captures)
    route.response_timer = room.live.timer_slot(spec.response_timeout_ms)
    route.request_timer = room.live.timer_slot(spec.request_timeout_ms)
    route.body_timer = room.live.timer_slot(spec.body_timeout_ms)
    route.websocket_timer = room.live.timer_slot(spec.websocket_timeout_ms)
    route.body_bytes_max = spec.body_bytes_max
    route.priority = spec.priority
    fill_filters(room, route, spec.filters)
    if spec.retry is not None:
        route.retry = <Retry*> room.take(1, sizeof(Retry))
        fill_retry(route.retry, spec.retry)
    return 0


cdef HttpEntry* http_table(Room room, object spec) except NULL:
    cdef HttpEntry* entry = <HttpEntry*> room.take(1, sizeof(HttpEntry))
    cdef uint32_t i
    entry.header_bytes_max = spec.header_bytes_max
    entry.fields_max = spec.fields_max
    entry.uri_bytes_max = spec.uri_bytes_max
    entry.requests_max = spec.requests_max
    entry.h2_window_max = spec.h2_window_max
    entry.header_timer = room.live.timer_slot(spec.header_timeout_ms)
    entry.keepalive_timer = room.live.timer_slot(spec.keepalive_timeout_ms)
    entry.linger_timer = room.live.timer_slot(spec.linger_timeout_ms)
    entry.stall_timer = room.live.timer_slot(spec.stall_look_ms)
    entry.pause_timer = room.live.timer_slot(CONTENT_PAUSE_MS)
    entry.linger_bytes_max = spec.linger_bytes_max
    entry.pace_timer = room.live.timer_slot(spec.pace_ms)
    entry.pace_bytes, entry.pace_reports = spec.pace_bytes, spec.pace_reports
    entry.leaving_timer = room.live.timer_slot(spec.leaving_timeout_ms)
    if len(spec.deadlines_ms) != <int> DEADLINES:
        raise ValueError(f"there are {DEADLINES} deadlines")
    for i in range(<uint32_t> DEADLINES):
        entry.deadlines[i] = room.live.timer_slot(spec.deadlines_ms[i])
    entry.forwarded = spec.forwarded
    entry.request_id = spec.request_id
    entry.traceparent = spec.traceparent
    entry.merge_slashes, entry.underscores = spec.merge_slashes, spec.underscores
    entry.refuse_parameters, entry.kept_claims = spec.refuse_parameters, spec.kept_claims
    entry.by_hand = spec.by_hand
    entry.methods = room.text(spec.methods)
    entry.h2c = spec.h2c
    entry.match_body_max = spec.match_body_max
    entry.via = room.text(spec.via)
    entry.error_header = room.text(spec.error_header)
    entry.request_edits = edit_list(room, spec.request_edits)
    entry.response_edits = edit_list(room, spec.response_edits)
    entry.answer_edits = edit_list(room, spec.answer_edits)
    entry.errors = _pages(room, spec.errors)
    fill_networks(room, &entry.trusted, spec.trusted)
    entry.n_routes = len(spec.routes)
    entry.routes = <Route*> room.take(entry.n_routes, sizeof(Route))
    for i in range(entry.n_routes):
        _fill_route(room, &entry.routes[i], spec.routes[i], entry.routes)
    _fill_hosts(room, entry, spec.hosts)
    return entry
