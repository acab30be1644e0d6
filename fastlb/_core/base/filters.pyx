# The kinds of filters by number. Each registers itself when its module is imported, so that tables
# can name a filter without knowing it.


cdef const FilterKind* _kinds[FILTER_COUNT]


cdef const FilterKind* filter_kind(int number) noexcept:
    """A kind, or NULL where there is none."""
    return _kinds[number] if 0 < number < FILTER_COUNT else NULL


cdef void register_filter(int number, const FilterKind* kind) noexcept:
    _kinds[number] = kind
