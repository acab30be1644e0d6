# The table of facts. Each registers itself when its module is imported, so that routes, keys,
# templates and logs can ask for it by number without knowing it.
from fastlb._core.base.facts cimport (
    FACT_CAPTURE, FACT_FORM, FACT_JSON, FACT_KEPT_QUERY, FACT_OTHERS, FACT_PATH, FACT_SEGMENT,
)

from typing import NamedTuple


class FactInfo(NamedTuple):
    number: int
    meaning: str
    is_named: bool
    of_connections: bool
    in_templates: bool
    in_match: bool
    in_bytes: bool


FACTS = {}
# Facts that nobody writes by these names: parts of a route's path, and what it has tables for.
UNNAMED = {
    "segment": FACT_SEGMENT, "capture": FACT_CAPTURE, "kept_query": FACT_KEPT_QUERY,
    "matched_path": FACT_PATH, "json": FACT_JSON, "form": FACT_FORM,
}
# The names of those that records can have, by their places.
RECORDED = []
OTHERS = <int> FACT_OTHERS           # the first number that isn't built in
_next = OTHERS
cdef int _n_recorded = 0


cdef bint _nothing(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    return False


cdef int facts_recorded() noexcept nogil:
    return _n_recorded


cdef int new_fact() except -1:
    """Return a number that no other fact has."""
    global _next
    if _next >= FACTS_MAX:
        raise RuntimeError("there are too many facts: raise FACTS_MAX")
    _next += 1
    return _next - 1


cdef int register_fact(int number, str name, int flags, FindFact find, str meaning) except -1:
    """`name` is what people write ("tls.sni"; of one that is named, what stands before the dot).
    `find` is NULL where somebody else finds it."""
    if any(name == known or number == info.number for known, info in FACTS.items()):
        raise RuntimeError(f"two facts have the name {name} or the number {number}")
    fact_rows[number].find = find if find != NULL else _nothing
    fact_rows[number].flags = flags
    FACTS[name] = FactInfo(
        number, meaning, flags & FACT_IS_NAMED != 0, flags & FACT_OF_CONNECTIONS != 0,
        flags & FACT_IN_TEMPLATES != 0, flags & FACT_IN_MATCH != 0, flags & FACT_IN_BYTES != 0)
    if flags & FACT_IS_RECORDED:
        _record(number, name)
    return 0


cdef int register_record(int number, str name, FindFact find) except -1:
    """Register what records alone can have: nobody else could ask for it in time."""
    fact_rows[number].find = find
    fact_rows[number].flags = FACT_IS_RECORDED
    return _record(number, name)


cdef int _record(int number, str name) except -1:
    global _n_recorded
    if _n_recorded >= <int> RECORDED_FACTS_MAX:
        raise RuntimeError("there are too many facts for records: raise RECORDED_FACTS_MAX")
    recorded_facts[_n_recorded].fact = <unsigned char> number
    _n_recorded += 1
    RECORDED.append(name)
    return 0


def _fill():
    for i in range(FACTS_MAX):
        fact_rows[<int> i].find = _nothing


_fill()
