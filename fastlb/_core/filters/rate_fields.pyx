# What clients are told of rate limits: RateLimit and RateLimit-Policy, as the draft
# draft-ietf-httpapi-ratelimit-headers has them, or X-RateLimit-*, and Retry-After. The draft's
# syntax is here and nowhere else.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.rates cimport (
    RATE_HEADERS_DRAFT, RateRule, RateState, RateTable, burst_ns, cost_ns,
)
from fastlb._core.base.text cimport Writer, put, put_literal, put_number, put_text
from fastlb._core.base.types cimport Core
from fastlb._core.http.filters cimport add_field

cdef enum:
    NS = 1000000000
    FIELD_BYTES = 512           # of one field that tells what is left; a longer one isn't told

cdef struct Lines:              # fields with what is left, as they are made
    uint8_t[FIELD_BYTES] policies
    uint8_t[FIELD_BYTES] states


cdef uint64_t used_ns(Core* core, const RateState* state, uint32_t i) noexcept nogil:
    """In how many ns a key has all of its burst again."""
    return state.dues_ns[i] - core.now_ns if state.dues_ns[i] > core.now_ns else 0


cdef uint64_t units_left(Core* core, const RateState* state, uint32_t i) noexcept nogil:
    """Units that may come at once now."""
    # (a share of a unit that rounding took isn't missing)
    cdef double left = state.bursts[i] - used_ns(core, state, i) / state.unit_ns[i] + 1e-6
    return <uint64_t> left if left > 0 else 0


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
        _put_item(&policies, rule, b";q=", <uint64_t> state.bursts[i], b";w=",
                  _seconds(burst_ns(state, i)))
        _put_item(&states, rule, b";r=", units_left(core, state, i), b";t=",
                  _seconds(used_ns(core, state, i)))
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
    cdef uint64_t left, least = 0
    cdef uint32_t i, which = table.n
    for i in range(table.n):
        if table.rules[i].headers <= RATE_HEADERS_DRAFT:
            continue
        left = units_left(core, state, i)
        if which == table.n or left < least:
            least = left
            which = i
    if which == table.n:
        return
    _add_number(core, b"X-RateLimit-Limit", 17, <uint64_t> state.bursts[which])
    _add_number(core, b"X-RateLimit-Remaining", 21, least)
    _add_number(core, b"X-RateLimit-Reset", 17, _seconds(used_ns(core, state, which)))


cdef void tell_rates(Core* core, const RateTable* table, const RateState* state) noexcept nogil:
    """Add the fields that say what is left of each limit."""
    _tell_draft(core, table, state)
    _tell_plain(core, table, state)


cdef void tell_when(Core* core, const RateState* state, uint32_t refused_by) noexcept nogil:
    """Add Retry-After: when the limit has room for such a request again."""
    cdef uint64_t most_ns = burst_ns(state, refused_by)
    cdef uint64_t wait_ns = used_ns(core, state, refused_by) + cost_ns(state, refused_by)
    _add_number(core, b"Retry-After", 11, _seconds(wait_ns - most_ns if wait_ns > most_ns else 1))
