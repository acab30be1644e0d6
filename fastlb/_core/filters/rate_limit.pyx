# Refuse requests beyond the rates that a route allows (GCRA; see base/buckets).
# request: charges every limit of the route, or none. response: settles costs that the server knows,
# and tells the client what is left. answer: the same, and when to come back. end: charges bytes.
# Keys may have limits of their own (base/plans).
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc

from fastlb._core.base.buckets cimport (
    CHARGED, REFUSED, UNCOUNTED, bucket_add, bucket_charge, bucket_due, bucket_return,
)
from fastlb._core.base.enums cimport (
    ANSWER, EXCHANGE_TRUSTED, NEXT, REASON_RATE_LIMITED, REHEARSES,
)
from fastlb._core.base.facts cimport FACT_CLIENT_IP, FACT_QUERY, FactRef
from fastlb._core.base.filters cimport FILTER_RATE_LIMIT, FilterKind, register_filter
from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.plans cimport (
    PLAN_KEY_BYTES_MAX, PLAN_KNOWN, PLAN_UNKNOWN, Plan, plan_ask, plan_find, plan_wants,
)
from fastlb._core.base.rates cimport (
    COST_BYTES, COST_FIXED, COST_REQUEST, COST_RESPONSE, RATES_MAX, RATE_HEADERS_DRAFT,
    RATE_HEADERS_OFF, RATE_HEADERS_X, RateRule, RateState, RateTable, TopKeys, burst_ns, cost_ns,
    units_ns,
)
from fastlb._core.base.routing cimport Filter
from fastlb._core.base.siphash cimport SipKey, siphash
from fastlb._core.base.source cimport source_of
from fastlb._core.base.text cimport is_digit, text_of
from fastlb._core.base.topkeys cimport top_count
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_store_pointer, likely, unlikely
from fastlb._core.facts.client cimport client_address
from fastlb._core.facts.registry cimport fact_find, new_fact, register_record
from fastlb._core.filters.rate_fields cimport tell_rates, tell_when, units_left, used_ns
from fastlb._core.http.filters cimport filter_of, filter_state
from fastlb._core.http.sources cimport note_denial
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.uri cimport query_decoded
from fastlb._core.tables.httptable cimport fact_ref
from fastlb._core.tables.live cimport live_ask
from fastlb._core.tables.rates cimport RateLimit
from fastlb._core.tables.room cimport Room

cdef enum:
    COST_DIGITS_MAX = 9         # of a cost that a field says: up to a billion
    SECRET_BYTES = 4            # of a key that is shown in part

_COSTS = {"fixed": COST_FIXED, "request": COST_REQUEST, "response": COST_RESPONSE,
          "bytes": COST_BYTES}
_HEADERS = {"off": RATE_HEADERS_OFF, "draft": RATE_HEADERS_DRAFT, "x-ratelimit": RATE_HEADERS_X}

cdef FilterKind _kind           # filled at the end


# --- keys and costs ---

cdef uint64_t _source_hash(const Exchange* x, const SipKey* secret) noexcept nogil:
    """Return a hash of the client's address, as trusted proxies saw it."""
    cdef Text text = text_of(<const uint8_t*> x.client_ip, x.client_ip_size)
    cdef Address address = x.peer
    cdef uint64_t source
    cdef SipKey other
    # Another secret, so that no value of a key is anybody's address.
    other.words[0] = ~secret.words[0]
    other.words[1] = secret.words[1]
    if x.flags & EXCHANGE_TRUSTED and not parse_address(text, &address):
        return siphash(&other, text.at, text.size)      # (a proxy may hide it behind a word)
    source = source_of(&address)
    return siphash(&other, <const uint8_t*> &source, sizeof(source))


cdef bint _key_value(Core* core, Exchange* x, const RateRule* rule, Text* value) noexcept nogil:
    """The value that a request is counted by. False: its client's address is."""
    if rule.key.fact == FACT_CLIENT_IP or unlikely(not fact_find(core, x, &rule.key, value)):
        return False
    if rule.key.fact == FACT_QUERY:             # (however its client spells it)
        value[0] = query_decoded(value[0], core.http.match.decoded)
    return True


cdef uint64_t _key(Core* core, Exchange* x, const RateRule* rule) noexcept nogil:
    """A hash of who is counted: of the key's value, or of the client's address where the request
    lacks it. Never 0."""
    cdef const SipKey* secret = &rule.live.buckets.secret
    cdef Text value
    cdef uint64_t hash
    if _key_value(core, x, rule, &value):
        hash = siphash(secret, value.at, value.size)
    else:
        if rule.key.fact != FACT_CLIENT_IP:
            fl_count(&core.counters.keys_missing, 1)
        hash = _source_hash(x, secret)
    return hash if hash else 1


cdef void _note_refused(Core* core, Exchange* x, const RateRule* rule,
                        uint64_t hash) noexcept nogil:
    """Count a key that is refused, or would be, among those that are refused most."""
    cdef TopKeys* top = rule.live.refused[core.id]
    cdef bint is_source = False
    cdef Text value
    if unlikely(top == NULL):
        top = <TopKeys*> calloc(1, sizeof(TopKeys))
        if top == NULL:
            return
        fl_store_pointer(<void**> &rule.live.refused[core.id], top)
    if not _key_value(core, x, rule, &value):
        value = text_of(<const uint8_t*> x.client_ip, x.client_ip_size)
        is_source = True
    elif rule.is_secret and value.size > <uint32_t> SECRET_BYTES:
        value.size = SECRET_BYTES
    top_count(top, hash, value, is_source)


cdef bint _number(Text value, uint32_t* number) noexcept nogil:
    cdef uint32_t i, n = 0
    if not 0 < value.size <= COST_DIGITS_MAX:
        return False
    for i in range(value.size):
        if not is_digit(value.at[i]):
            return False
        n = n * 10 + value.at[i] - c'0'
    number[0] = n
    return True


cdef uint32_t _said(Core* core, Exchange* x, const RateRule* rule) noexcept nogil:
    """Return the cost that a field of this message gives, or else the cost of the rule."""
    cdef Text value
    cdef uint32_t number = rule.cost
    if fact_find(core, x, &rule.cost_field, &value):
        _number(value, &number)
    return number


# --- limits of single keys ---

cdef void _ask_plan(Core* core, Exchange* x, const RateRule* rule, uint64_t key) noexcept nogil:
    """Have the control plane ask which limit a key has."""
    cdef bint is_source = rule.key.fact == FACT_CLIENT_IP
    cdef Text value
    if is_source:
        value = text_of(<const uint8_t*> x.client_ip, x.client_ip_size)
    elif not _key_value(core, x, rule, &value):
        return                          # (counted by its address: as configured)
    if value.size <= PLAN_KEY_BYTES_MAX:
        plan_ask(rule.live.plans, key, value, is_source)
        live_ask(core.live)             # (also when the queue is full: somebody is to empty it)


cdef void _ask_plans(Core* core, Exchange* x, const RateTable* table, const RateState* state,
                     uint32_t wanted) noexcept nogil:
    """A bit for each rule whose key's own limit isn't known, or is old."""
    cdef const RateRule* rule
    cdef uint32_t i
    for i in range(table.n):
        rule = &table.rules[i]
        if wanted >> i & 1 and plan_wants(rule.live.plans, state.keys[i], core.now_ns):
            _ask_plan(core, x, rule, state.keys[i])


cdef inline bint _find_limit(Core* core, const RateRule* rule, RateState* state,
                             uint32_t i) noexcept nogil:
    """Find the limit of a rule's key: its own, or else the one that is configured. True: its own
    isn't known, or is old."""
    cdef Plan plan
    cdef int found
    state.unit_ns[i] = rule.live.unit_ns
    state.bursts[i] = rule.burst
    if likely(not rule.has_plans):
        return False
    found = plan_find(rule.live.plans, state.keys[i], core.now_ns, &plan)
    if found != PLAN_UNKNOWN and plan.unit_ns > 0:
        state.unit_ns[i] = plan.unit_ns
        state.bursts[i] = plan.burst
        state.planned |= <uint32_t> 1 << i
    return found != PLAN_KNOWN


cdef void _find_limits(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    """Find them again: they may have changed since the request came."""
    cdef uint32_t i
    for i in range(table.n):
        _find_limit(core, &table.rules[i], state, i)


# --- the request ---

cdef uint32_t _find_refusal(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    """The first rule that refuses the request, counted from 1; 0: none does."""
    cdef const RateRule* rule
    cdef uint32_t i, refused_by = 0
    for i in range(table.n):            # (all of them: the client is told what is left of each)
        rule = &table.rules[i]
        state.dues_ns[i] = bucket_due(&rule.live.buckets, state.keys[i], core.now_ns)
        if not refused_by and not rule.report and \
                state.dues_ns[i] - core.now_ns + cost_ns(state, i) > burst_ns(state, i):
            refused_by = i + 1
    return refused_by


cdef uint32_t _charge(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    """Charge all rules: 0, or charge none and return the one that refuses, counted from 1."""
    cdef const RateRule* rule
    cdef int[RATES_MAX] charges
    cdef uint32_t i, k
    for i in range(table.n):
        rule = &table.rules[i]
        charges[i] = bucket_charge(
            &rule.live.buckets, state.keys[i], core.now_ns, cost_ns(state, i),
            burst_ns(state, i), &state.dues_ns[i])
        if unlikely(charges[i] == REFUSED and not rule.report):
            for k in range(i):
                if charges[k] == CHARGED:
                    bucket_return(&table.rules[k].live.buckets, state.keys[k], cost_ns(state, k))
            _find_refusal(core, table, state)       # (for what is left of each)
            return i + 1
    for i in range(table.n):
        rule = &table.rules[i]
        fl_count(&rule.live.counters[core.id].allowed if charges[i] == CHARGED
                 else &rule.live.counters[core.id].reported if charges[i] == REFUSED
                 else &rule.live.counters[core.id].uncounted, 1)
        if charges[i] != CHARGED:
            state.units[i] = 0
        state.reported |= <uint32_t> (charges[i] == REFUSED) << i
    return 0


cdef void _note_denial(Core* core, Exchange* x) noexcept nogil:
    cdef Address address
    if client_address(x, &address):         # (or else a proxy hides who it is)
        note_denial(core, x.bind, &address)


cdef int _on_request(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    cdef const RateRule* rule
    cdef uint32_t i, wanted = 0
    for i in range(table.n):
        rule = &table.rules[i]
        state.keys[i] = _key(core, x, rule)
        wanted |= <uint32_t> _find_limit(core, rule, state, i) << i
        if rule.cost_from != COST_BYTES:
            state.units[i] = _said(core, x, rule) if rule.cost_from == COST_REQUEST else rule.cost
    # One limit decides and charges at once. Several are looked at first, so that a request that
    # one of them refuses takes nothing of the others, not even for a moment.
    if table.n > 1 or core.rehearses == REHEARSES:
        state.refused_by = _find_refusal(core, table, state)
    if not state.refused_by and core.rehearses != REHEARSES:
        state.refused_by = _charge(core, table, state)
    # Nobody waits for a limit that isn't known. It is asked for now that this request is charged.
    if unlikely(wanted != 0) and core.rehearses != REHEARSES:
        _ask_plans(core, x, table, state, wanted)
    if unlikely(state.refused_by != 0):
        if core.rehearses != REHEARSES:
            i = state.refused_by - 1
            fl_count(&table.rules[i].live.counters[core.id].refused, 1)
            _note_refused(core, x, &table.rules[i], state.keys[i])
            _note_denial(core, x)
        x.status = 429
        x.reason = REASON_RATE_LIMITED
        return ANSWER
    if unlikely(state.reported != 0):
        for i in range(table.n):
            if state.reported >> i & 1:
                _note_refused(core, x, &table.rules[i], state.keys[i])
    return NEXT


# --- the response ---

cdef void _settle(Core* core, Exchange* x, const RateTable* table, RateState* state) noexcept nogil:
    """Charge what the server says that the request has cost, instead of what was reserved."""
    cdef const RateRule* rule
    cdef uint32_t i, units
    for i in range(table.n):
        rule = &table.rules[i]
        if rule.cost_from != COST_RESPONSE:
            continue
        units = _said(core, x, rule)
        if units > state.units[i]:
            _add(core, rule, state, i, units - state.units[i])
        elif units < state.units[i]:
            bucket_return(&rule.live.buckets, state.keys[i],
                          units_ns(state, i, state.units[i] - units))
        state.units[i] = units
        state.dues_ns[i] = bucket_due(&rule.live.buckets, state.keys[i], core.now_ns)


cdef void _add(Core* core, const RateRule* rule, const RateState* state, uint32_t i,
               double units) noexcept nogil:
    if bucket_add(&rule.live.buckets, state.keys[i], core.now_ns,
                  units_ns(state, i, units)) == UNCOUNTED:
        fl_count(&rule.live.counters[core.id].uncounted, 1)


cdef int _on_response(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    if not state.is_settled:            # (once, however often a head comes)
        state.is_settled = True
        _find_limits(core, table, state)
        _settle(core, x, table, state)
    tell_rates(core, table, state)
    return NEXT


cdef void _on_answer(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    if state.keys[0] == 0:              # (an earlier filter has answered)
        return
    if state.refused_by:
        tell_when(core, state, state.refused_by - 1)
    tell_rates(core, table, state)


cdef void _on_end(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    cdef const RateRule* rule
    cdef uint64_t n = x.http.request.total + x.http.response.total
    cdef uint32_t i
    if state.refused_by or core.rehearses == REHEARSES or state.keys[0] == 0:
        return
    _find_limits(core, table, state)
    for i in range(table.n):
        rule = &table.rules[i]
        if rule.cost_from == COST_BYTES:
            _add(core, rule, state, i, <double> n)


# --- for logs ---

cdef bint _find_name(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    """The limit that has refused a request."""
    cdef const RateState* state = <const RateState*> filter_state(x, &_kind)
    cdef const RateTable* table
    if state == NULL or state.refused_by == 0:
        return False
    table = <const RateTable*> filter_of(x, &_kind).table
    value[0] = table.rules[state.refused_by - 1].name
    return True


register_record(new_fact(), "rate_limit", _find_name)


# --- for explain ---

cdef object rates_of(Core* core, const Exchange* x):
    """For each limit of the request's route: the units that are left, of how many, in how many
    seconds all of them are back, and whether its key has a limit of its own. None: the route has
    no limits."""
    cdef const RateState* state = <const RateState*> filter_state(x, &_kind)
    cdef const RateTable* table
    cdef uint32_t i
    if state == NULL or state.keys[0] == 0:
        return None
    table = <const RateTable*> filter_of(x, &_kind).table
    return [(units_left(core, state, i), <uint64_t> state.bursts[i],
             used_ns(core, state, i) / 1e9, bool(state.planned >> i & 1))
            for i in range(table.n)]


# --- the table ---

cdef void* _rate_table(object given, object specs) except? NULL:
    cdef Room room = given
    cdef RateTable* table = <RateTable*> room.take(1, sizeof(RateTable))
    cdef RateLimit limit
    cdef RateRule* rule
    cdef uint32_t i
    if not 0 < len(specs) <= <int> RATES_MAX:
        raise ValueError(f"a route has up to {RATES_MAX} rate limits")
    table.n = len(specs)
    table.rules = <RateRule*> room.take(table.n, sizeof(RateRule))
    for i in range(table.n):
        spec = specs[i]
        rule = &table.rules[i]
        limit = room.live.rate_limit(spec.name)
        room.rates.append((limit, spec.unit_ns, spec.has_plans, spec.cost_from == "bytes"))
        limit.begin(spec.unit_ns)
        if spec.has_plans:
            limit.open_plans()
        rule.live = &limit.live
        rule.name = room.text(spec.name.encode())
        rule.key = fact_ref(room, spec.key)
        rule.burst = spec.burst
        rule.cost = spec.cost
        rule.cost_from = _COSTS[spec.cost_from]
        rule.cost_field = fact_ref(room, spec.cost_field)
        rule.headers = _HEADERS[spec.headers]
        rule.report = spec.report
        rule.is_secret = spec.is_secret
        rule.has_plans = spec.has_plans
    return table


_kind.request = _on_request
_kind.response = _on_response
_kind.answer = _on_answer
_kind.end = _on_end
_kind.state_bytes = sizeof(RateState)
register_filter(FILTER_RATE_LIMIT, "rate_limit", &_kind, _rate_table)
