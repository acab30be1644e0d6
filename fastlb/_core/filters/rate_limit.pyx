# Refuse requests beyond the rates that a route allows (GCRA; see base/buckets).
# request: charges every limit of the route, or none. response: settles costs that the server knows,
# and tells the client what is left. answer: the same, and when to come back. end: charges bytes.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.buckets cimport (
    CHARGED, REFUSED, UNCOUNTED, bucket_add, bucket_charge, bucket_due, bucket_return,
)
from fastlb._core.base.enums cimport (
    ANSWER, EXCHANGE_TRUSTED, NEXT, REASON_RATE_LIMITED, REHEARSES,
)
from fastlb._core.base.facts cimport FACT_CLIENT_IP
from fastlb._core.base.filters cimport FILTER_RATE_LIMIT, FilterKind, register_filter
from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.rates cimport (
    COST_BYTES, COST_FIXED, COST_REQUEST, COST_RESPONSE, RATES_MAX, RATE_HEADERS_DRAFT,
    RATE_HEADERS_OFF, RATE_HEADERS_X, RateRule, RateState, RateTable,
)
from fastlb._core.base.routing cimport Filter
from fastlb._core.base.siphash cimport SipKey, siphash
from fastlb._core.base.source cimport source_of
from fastlb._core.base.text cimport (
    Writer, is_digit, put, put_literal, put_number, put_text, text_of,
)
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.facts.registry cimport fact_find
from fastlb._core.http.filters cimport add_field, filter_of, filter_state
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.tables.httptable cimport fact_ref
from fastlb._core.tables.rates cimport RateLimit
from fastlb._core.tables.room cimport Room

cdef enum:
    NS = 1000000000
    COST_DIGITS_MAX = 9         # of a cost that a field says: up to a billion
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
    """Of where the client is, as trusted proxies saw it."""
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
        hash = siphash(secret, value.at, value.size)
    else:
        if rule.key.fact != FACT_CLIENT_IP:
            fl_count(&core.counters.keys_missing, 1)
        hash = _source_hash(x, secret)
    return hash if hash else 1


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
    """What the message at hand says that it costs; what the rule says where it says nothing."""
    cdef Text value
    cdef uint32_t number = rule.cost
    if fact_find(core, x, &rule.cost_field, &value):
        _number(value, &number)
    return number


cdef inline uint64_t _ns(const RateRule* rule, double units) noexcept nogil:
    return <uint64_t> (units * rule.unit_ns)    # (rounded down, so that all of a burst fits)


# --- the request ---

cdef inline bint _is_over(const RateRule* rule, uint64_t due_ns, uint64_t cost_ns,
                          uint64_t now_ns) noexcept nogil:
    return due_ns - now_ns + cost_ns > rule.burst_ns


cdef uint32_t _find_refusal(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    """The first rule that refuses the request, counted from 1; 0: none does."""
    cdef const RateRule* rule
    cdef uint32_t i
    for i in range(table.n):
        rule = &table.rules[i]
        state.dues_ns[i] = bucket_due(&rule.live.buckets, state.keys[i], core.now_ns)
        if not rule.report and _is_over(rule, state.dues_ns[i], state.charged_ns[i], core.now_ns):
            return i + 1
    return 0


cdef uint32_t _charge(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    """Charge all rules: 0, or charge none and return the one that refuses, counted from 1."""
    cdef const RateRule* rule
    cdef uint32_t i, k
    cdef int charge
    for i in range(table.n):
        rule = &table.rules[i]
        charge = bucket_charge(&rule.live.buckets, state.keys[i], core.now_ns, state.charged_ns[i],
                               rule.burst_ns, &state.dues_ns[i])
        if likely(charge == CHARGED):
            continue
        if charge == REFUSED and not rule.report:
            for k in range(i):
                bucket_return(&table.rules[k].live.buckets, state.keys[k], state.charged_ns[k])
            return i + 1
        state.charged_ns[i] = 0
        fl_count(&rule.live.counters[core.id].uncounted if charge == UNCOUNTED
                 else &rule.live.counters[core.id].reported, 1)
    return 0


cdef int _on_request(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef const RateTable* table = <const RateTable*> filter.table
    cdef RateState* state = <RateState*> given
    cdef const RateRule* rule
    cdef uint32_t i
    for i in range(table.n):
        rule = &table.rules[i]
        state.keys[i] = _key(core, x, rule)
        state.charged_ns[i] = 0 if rule.cost_from == COST_BYTES else _ns(
            rule, _said(core, x, rule) if rule.cost_from == COST_REQUEST else rule.cost)
    # One limit decides and charges at once. Several are looked at first, so that a request that
    # one of them refuses takes nothing of the others, not even for a moment.
    if table.n > 1 or core.rehearses == REHEARSES:
        state.refused_by = _find_refusal(core, table, state)
    if not state.refused_by and core.rehearses != REHEARSES:
        state.refused_by = _charge(core, table, state)
    if unlikely(state.refused_by != 0):
        if core.rehearses != REHEARSES:
            fl_count(&table.rules[state.refused_by - 1].live.counters[core.id].refused, 1)
        x.status = 429
        x.reason = REASON_RATE_LIMITED
        return ANSWER
    if core.rehearses != REHEARSES:
        for i in range(table.n):
            fl_count(&table.rules[i].live.counters[core.id].allowed, 1)
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


cdef uint64_t _left(Core* core, const RateRule* rule, const RateState* state,
                    uint32_t i) noexcept nogil:
    """Units that may come at once now."""
    cdef uint64_t used_ns = _used_ns(core, state, i)
    # (a share of a unit that rounding took isn't missing)
    return <uint64_t> ((rule.burst_ns - used_ns + 0.5) / rule.unit_ns + 1e-6) \
        if used_ns < rule.burst_ns else 0


cdef void _tell_draft(Core* core, const RateTable* table, const RateState* state) noexcept nogil:
    """RateLimit-Policy: how many units (q) there are in so many seconds (w). RateLimit: how many
    are left (r), and in how many seconds all of them are back (t)."""
    cdef Lines lines
    cdef Writer policies, states
    cdef const RateRule* rule
    cdef uint32_t i
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
        _put_item(&policies, rule, b";q=", <uint64_t> (rule.burst_ns / rule.unit_ns + 0.5), b";w=",
                  _seconds(rule.burst_ns))
        _put_item(&states, rule, b";r=", _left(core, rule, state, i), b";t=",
                  _seconds(_used_ns(core, state, i)))
    if policies.at != lines.policies and not policies.full and not states.full:
        add_field(core, b"RateLimit-Policy", 16, lines.policies,
                  <uint32_t> (policies.at - lines.policies))
        add_field(core, b"RateLimit", 9, lines.states, <uint32_t> (states.at - lines.states))


cdef void _add_number(Core* core, const char* name, uint32_t size, uint64_t number) noexcept nogil:
    cdef uint8_t[20] digits
    add_field(core, name, size, digits, put_number(digits, number))


cdef void _tell_plain(Core* core, const RateTable* table, const RateState* state) noexcept nogil:
    """Of the limit with the fewest units left."""
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
    _add_number(core, b"X-RateLimit-Limit", 17, <uint64_t> (rule.burst_ns / rule.unit_ns + 0.5))
    _add_number(core, b"X-RateLimit-Remaining", 21, least)
    _add_number(core, b"X-RateLimit-Reset", 17, _seconds(_used_ns(core, state, which)))


cdef void _tell(Core* core, const RateTable* table, RateState* state) noexcept nogil:
    _tell_draft(core, table, state)
    _tell_plain(core, table, state)


# --- the response ---

cdef void _settle(Core* core, Exchange* x, const RateTable* table, RateState* state) noexcept nogil:
    """Charge what the server says that the request has cost, instead of what was reserved."""
    cdef const RateRule* rule
    cdef uint64_t cost_ns
    cdef uint32_t i
    for i in range(table.n):
        rule = &table.rules[i]
        if rule.cost_from != COST_RESPONSE:
            continue
        cost_ns = _ns(rule, _said(core, x, rule))
        if cost_ns > state.charged_ns[i]:
            bucket_add(&rule.live.buckets, state.keys[i], core.now_ns,
                       cost_ns - state.charged_ns[i])
        elif cost_ns < state.charged_ns[i]:
            bucket_return(&rule.live.buckets, state.keys[i], state.charged_ns[i] - cost_ns)
        state.charged_ns[i] = cost_ns
        state.dues_ns[i] = bucket_due(&rule.live.buckets, state.keys[i], core.now_ns)


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
        wait_ns = _used_ns(core, state, at) + state.charged_ns[at]
        wait_ns = wait_ns - rule.burst_ns if wait_ns > rule.burst_ns else 1
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
            bucket_add(&rule.live.buckets, state.keys[i], core.now_ns, _ns(rule, <double> n))


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
        rule.live = &limit.live
        rule.name = room.text(spec.name.encode())
        rule.key = fact_ref(room, spec.key)
        rule.unit_ns = spec.unit_ns
        rule.burst_ns = spec.burst_ns
        rule.cost = spec.cost
        rule.cost_from = _COSTS[spec.cost_from]
        rule.cost_field = fact_ref(room, spec.cost_field)
        rule.headers = _HEADERS[spec.headers]
        rule.report = spec.report
    return table


_kind.request = _on_request
_kind.response = _on_response
_kind.answer = _on_answer
_kind.end = _on_end
_kind.state_bytes = sizeof(RateState)
register_filter(FILTER_RATE_LIMIT, "rate_limit", &_kind, _rate_table)
