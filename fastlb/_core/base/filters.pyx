# The kinds of filters by number. Each registers itself when its module is imported, so that tables
# can name a filter without knowing it.

# By the names that parts of the configuration have for them.
FILTERS = {}

cdef const FilterKind* _kinds[FILTERS_MAX]
cdef MakeTable _makers[FILTERS_MAX]


cdef const FilterKind* filter_kind(int number) noexcept:
    """A kind, or NULL where there is none."""
    return _kinds[number] if 0 < number < FILTERS_MAX else NULL


cdef void* filter_table(int number, object room, object spec) except? NULL:
    """Make the table of a filter's settings. Return NULL for a filter without settings."""
    return _makers[number](room, spec) if _makers[number] != NULL else NULL


cdef int register_filter(int number, str name, const FilterKind* kind, MakeTable make) except -1:
    """`make` is NULL for a filter that needs no table."""
    if not 0 < number < FILTERS_MAX:
        raise RuntimeError(f"a filter's number is between 1 and {FILTERS_MAX - 1}, not {number}")
    if _kinds[number] != NULL:
        raise RuntimeError(f"two filters have the number {number}")
    if name in FILTERS:
        raise RuntimeError(f"two filters have the name {name}")
    _kinds[number] = kind
    _makers[number] = make
    FILTERS[name] = number
    return 0
