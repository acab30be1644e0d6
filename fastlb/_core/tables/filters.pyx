# A route's filters, laid out for the engines: by number, with a table of what each is to do.
from libc.stdint cimport uint16_t, uint32_t

from fastlb._core.base.filters cimport FilterKind, filter_kind
from fastlb._core.base.filters cimport FILTER_COMPRESS as _COMPRESS
from fastlb._core.base.filters cimport FILTER_IDENTITY as _IDENTITY
from fastlb._core.base.routing cimport Filter, Route
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.compression cimport compress_table

cdef enum:
    STATE_ALIGNMENT = 16        # as malloc's: a state may begin with anything
    STATES_BYTES_MAX = 4096     # of one request: the smallest chunk

# By FilterNumber, for Python.
FILTER_COMPRESS = <int> _COMPRESS
FILTER_IDENTITY = <int> _IDENTITY


cdef void* _table(Arena arena, int number, object spec) except? NULL:
    if number == _COMPRESS:
        return compress_table(arena, spec)
    if number == _IDENTITY:
        return NULL
    raise ValueError(f"there is no filter {number}")


cdef int fill_filters(Arena arena, Route* route, object specs) except -1:
    """From specs by number, in the order of the numbers."""
    cdef uint32_t i, states = 0
    cdef const FilterKind* kind
    route.n_filters = len(specs)
    route.filters = <Filter*> arena.take(route.n_filters, sizeof(Filter))
    for i, number in enumerate(sorted(specs)):
        kind = filter_kind(number)
        if kind == NULL:
            raise ValueError(f"there is no filter {number}")
        route.filters[i].kind = <const void*> kind
        route.filters[i].table = _table(arena, number, specs[number])
        route.filters[i].state_at = <uint16_t> states
        states += (kind.state_bytes + STATE_ALIGNMENT - 1) // STATE_ALIGNMENT * STATE_ALIGNMENT
    if states > STATES_BYTES_MAX:
        raise ValueError("the filters of a route want more than a request can hold")
    route.states_bytes = states
    return 0
