# Refuse requests beyond the rates that a route allows (GCRA; see base/buckets).
# request: charges every limit of the route, or none. response: settles costs that the server knows,
# and tells the client what is left. answer: the same, and when to come back. end: charges bytes.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc

from fastlb._core.base.buckets cimport (
    CHARGED, REFUSED, UNCOUNTED, bucket_add, bucket_charge, bucket_due, bucket_ns, bucket_return,
)
from fastlb._core.base.enums cimport (
    ANSWER, EXCHANGE_TRUSTED, NEXT, REASON_RATE_LIMITED, REHEARSES,
)
from fastlb._core.base.facts cimport FACT_CLIENT_IP, FACT_QUERY, FactRef
from fastlb._core.base.filters cimport FILTER_RATE_LIMIT, FilterKind, register_filter
from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.rates cimport (
    COST_BYTES, COST_FIXED, COST_REQUEST, COST_RESPONSE, RATES_MAX, RATE_HEADERS_DRAFT,
    RATE_HEADERS_OFF, RATE_HEADERS_X, RateRule, RateState, RateTable, TopKeys,
)
from fastlb._core.base.routing cimport Filter
from fastlb._core.base.siphash cimport SipKey, siphash
from fastlb._core.base.source cimport source_of
from fastlb._core.base.text cimport (
    Writer, is_digit, put, put_literal, put_number, put_text, text_of,
)
from fastlb._core.base.topkeys cimport top_count
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_store_pointer, likely, unlikely
from fastlb._core.facts.client cimport client_address
from fastlb._core.facts.registry cimport fact_find, new_fact, register_record
from fastlb._core.http.filters cimport add_field, filter_of, filter_state
from fastlb._core.http.sources cimport note_denial
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.uri cimport query_decoded
from fastlb._core.tables.httptable cimport fact_ref
from fastlb._core.tables.rates cimport RateLimit
from fastlb._core.tables.room cimport Room

cdef enum:
    NS = 1000000000
    COST_DIGITS_MAX = 9         # of a cost that a field says: up to a billion
    SECRET_BYTES = 4            # of a key that is shown in part
    FIELD_BYTES = 512           # of one field that tells what is left; a longer one isn't told

_COSTS = {"fixed": COST_FIXED, "request": COST_REQUEST, "response": COST_RESPONSE,
          "bytes": COST_BYTES}
_HEADERS = {"off": RATE_HEADERS_OFF, "draft": RATE_HEADERS_DRAFT, "x-ratelimit": RATE_HEADERS_X}

cdef struct Lines:              # fields with what is left, as they are made
    uint8_t[FIELD_BYTES] policies
    uint8_t[FIELD_BYTES] states


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


cdef uint64_t _key(Core* core, Exchange* x, const RateRule* rule) noexcept nogil:
    """A hash of who is counted: of the key's value, or of the client's address where the request
    lacks it. Never 0."""
    cdef const SipKey* secret = &rule.live.buckets.secret
    cdef Text value
    cdef uint64_t hash
    if rule.key.fact != FACT_CLIENT_IP and likely(fact_find(core, x, &rule.key, &value)):
        if rule.key.fact == FACT_QUERY:         # (however its client spells it)
            value = query_decoded(value, core.http.match.decoded)
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
    if rule.key.fact == FACT_CLIENT_IP or not fact_find(core, x, &rule.key, &value):
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


cdef inline uint64_t _ns(const RateRule* rule, double units) noexcept nogil:
    return bucket_ns(units * rule.live.unit_ns)     # (rounded down, so that all of a burst fits)


# --- the request ---

cdef inline bint _is_over(const RateRule* rule, uint64_t due_ns, uint64_t cost_ns,
                          uint64_t now_ns) noexcept nogil:
    return due_ns - now_ns + cost_ns > _ns(rule, rule.burst)


cdef uint32_t _find_refusal(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    """The first rule that refuses the request, counted from 1; 0: none does."""
    cdef const RateRule* rule
    cdef uint32_t i, refused_by = 0
    for i in range(table.n):            # (all of them: the client is told what is left of each)
        rule = &table.rules[i]
        state.dues_ns[i] = bucket_due(&rule.live.buckets, state.keys[i], core.now_ns)
        if not refused_by and not rule.report and _is_over(
                rule, state.dues_ns[i], _ns(rule, state.units[i]), core.now_ns):
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
            &rule.live.buckets, state.keys[i], core.now_ns, _ns(rule, state.units[i]),
            _ns(rule, rule.burst), &state.dues_ns[i])
        if unlikely(charges[i] == REFUSED and not rule.report):
            for k in range(i):
                if charges[k] == CHARGED:
                    rule = &table.rules[k]
                    bucket_return(&rule.live.buckets, state.keys[k], _ns(rule, state.units[k]))
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
    cdef uint32_t i
    for i in range(table.n):
        rule = &table.rules[i]
        state.keys[i] = _key(core, x, rule)
        if rule.cost_from != COST_BYTES:
            state.units[i] = _said(core, x, rule) if rule.cost_from == COST_REQUEST else rule.cost
    # One limit decides and charges at once. Several are looked at first, so that a request that
    # one of them refuses takes nothing of the others, not even for a moment.
    if table.n > 1 or core.rehearses == REHEARSES:
        state.refused_by = _find_refusal(core, table, state)
    if not state.refused_by and core.rehearses != REHEARSES:
        state.refused_by = _charge(core, table, state)
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


# --- what the client is told ---

cdef inline uint64_t _seconds(uint64_t ns) noexcept nogil:
    """Rounded up: who comes back then isn't too early."""
    return (ns + NS - 1) // NS


cdef void _put_item(Writer* w, const RateRule* rule, const char* first, uint64_t a,
                    const char* second, uint64_t b) noexcept nogil:
    """An item of a list (RFC 8941, 3.1): a name and two numbers."""
    cdef uint8_t[20] digits
    put_literal(w, b'"')
    put_text(w, rule.name)
    put_literal(w, b'"')
    put_literal(w, first)
    put(w, digits, put_number(digits, a))
    put_literal(w, second)
    put(w, digits, put_number(digits, b))


cdef inline uint64_t _used_ns(Core* core, const RateState* state, uint32_t i) noexcept nogil:
    return state.dues_ns[i] - core.now_ns if state.dues_ns[i] > core.now_ns else 0


cdef inline uint64_t _left(Core* core, const RateRule* rule, const RateState* state,
                           uint32_t i) noexcept nogil:
    """Units that may come at once now."""
    # (a share of a unit that rounding took isn't missing)
    cdef double left = rule.burst - _used_ns(core, state, i) / rule.live.unit_ns + 1e-6
    return <uint64_t> left if left > 0 else 0


cdef void _tell_draft(Core* core, const RateTable* table, const RateState* state) noexcept nogil:
    """RateLimit-Policy: how many units (q) there are in so many seconds (w). RateLimit: how many
    are left (r), and in how many seconds all of them are back (t)."""
    cdef Lines lines
    cdef Writer policies, states
    cdef const RateRule* rule
    cdef uint32_t i, before
    policies.at, policies.end = lines.policies, lines.policies + FIELD_BYTES
    states.at, states.end = lines.states, lines.states + FIELD_BYTES
    policies.full = states.full = False
    for i in range(table.n):
        rule = &table.rules[i]
        if rule.headers != RATE_HEADERS_DRAFT:
            continue
        if policies.at != lines.policies:
            put_literal(&policies, b", ")
            put_literal(&states, b", ")
        _put_item(&policies, rule, b";q=", <uint64_t> rule.burst, b";w=",
                  _seconds(_ns(rule, rule.burst)))
        _put_item(&states, rule, b";r=", _left(core, rule, state, i), b";t=",
                  _seconds(_used_ns(core, state, i)))
    if policies.at == lines.policies or policies.full or states.full:
        return
    before = core.http.filtering.fields_size
    if not add_field(core, b"RateLimit-Policy", 16, lines.policies,
                     <uint32_t> (policies.at - lines.policies)) \
            or not add_field(core, b"RateLimit", 9, lines.states,
                             <uint32_t> (states.at - lines.states)):
        core.http.filtering.fields_size = before    # both or neither


cdef void _add_number(Core* core, const char* name, uint32_t size, uint64_t number) noexcept nogil:
    cdef uint8_t[20] digits
    add_field(core, name, size, digits, put_number(digits, number))


cdef void _tell_plain(Core* core, const RateTable* table, const RateState* state) noexcept nogil:
    """Add the X-RateLimit fields, for the limit with the fewest units left."""
    cdef const RateRule* rule = NULL
    cdef uint64_t left, least = 0
    cdef uint32_t i, which = 0
    for i in range(table.n):
        if table.rules[i].headers <= RATE_HEADERS_DRAFT:
            continue
        left = _left(core, &table.rules[i], state, i)
        if rule == NULL or left < least:
            rule = &table.rules[i]
            least = left
            which = i
    if rule == NULL:
        return
    _add_number(core, b"X-RateLimit-Limit", 17, <uint64_t> rule.burst)
    _add_number(core, b"X-RateLimit-Remaining", 21, least)
    _add_number(core, b"X-RateLimit-Reset", 17, _seconds(_used_ns(core, state, which)))


cdef void _tell(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    _tell_draft(core, table, state)
    _tell_plain(core, table, state)


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
            _add(core, rule, state.keys[i], units - state.units[i])
        elif units < state.units[i]:
            bucket_return(&rule.live.buckets, state.keys[i], _ns(rule, state.units[i] - units))
        state.units[i] = units
        state.dues_ns[i] = bucket_due(&rule.live.buckets, state.keys[i], core.now_ns)


cdef void _add(Core* core, const RateRule* rule, uint64_t key, double units) noexcept nogil:
    if bucket_add(&rule.live.buckets, key, core.now_ns, _ns(rule, units)) == UNCOUNTED:
        fl_count(&rule.live.counters[core.id].uncounted, 1)


cdef int _on_response(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    if not state.is_settled:            # (once, however often a head comes)
        state.is_settled = True
        _settle(core, x, table, state)
    _tell(core, table, state)
    return NEXT


cdef void _on_answer(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    cdef const RateRule* rule
    cdef uint64_t wait_ns
    cdef uint32_t at
    if state.keys[0] == 0:              # (an earlier filter has answered)
        return
    if state.refused_by:
        at = state.refused_by - 1
        rule = &table.rules[at]
        wait_ns = _used_ns(core, state, at) + _ns(rule, state.units[at])
        wait_ns = wait_ns - _ns(rule, rule.burst) if wait_ns > _ns(rule, rule.burst) else 1
        _add_number(core, b"Retry-After", 11, _seconds(wait_ns))
    _tell(core, table, state)


cdef void _on_end(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    cdef const RateRule* rule
    cdef uint64_t n = x.http.request.total + x.http.response.total
    cdef uint32_t i
    if state.refused_by or core.rehearses == REHEARSES or state.keys[0] == 0:
        return
    for i in range(table.n):
        rule = &table.rules[i]
        if rule.cost_from == COST_BYTES:
            _add(core, rule, state.keys[i], <double> n)


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
    """For each limit of the request's route: the units that are left, and in how many seconds all
    of them are back. None: it has no limits."""
    cdef const RateState* state = <const RateState*> filter_state(x, &_kind)
    cdef const RateTable* table
    cdef uint32_t i
    if state == NULL or state.keys[0] == 0:
        return None
    table = <const RateTable*> filter_of(x, &_kind).table
    return [(_left(core, &table.rules[i], state, i), _used_ns(core, state, i) / 1e9)
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
        room.rates.append((limit, spec.unit_ns))
        limit.begin(spec.unit_ns)
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
    return table


_kind.request = _on_request
_kind.response = _on_response
_kind.answer = _on_answer
_kind.end = _on_end
_kind.state_bytes = sizeof(RateState)
register_filter(FILTER_RATE_LIMIT, "rate_limit", &_kind, _rate_table)
