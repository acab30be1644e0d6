# A route's filters, laid out for the engines in the order of their numbers.
from libc.stdint cimport uint16_t, uint32_t

from fastlb._core.base.filters cimport FilterKind, filter_kind, filter_table
from fastlb._core.base.routing cimport Filter, Route
from fastlb._core.tables.room cimport Room

cdef enum:
    STATE_ALIGNMENT = 16        # as malloc's: a state may begin with anything
    STATES_BYTES_MAX = 4096     # of one request: the smallest chunk


cdef int fill_filters(Room room, Route* route, object specs) except -1:
    """From specs by number, in the order of the numbers."""
    cdef uint32_t i, states = 0
    cdef const FilterKind* kind
    route.n_filters = len(specs)
    route.filters = <Filter*> room.take(route.n_filters, sizeof(Filter))
    for i, number in enumerate(sorted(specs)):
        kind = filter_kind(number)
        if kind == NULL:
            raise ValueError(f"there is no filter {number}")
        route.filters[i].kind = <const void*> kind
        route.filters[i].table = filter_table(number, room, specs[number])
        route.filters[i].state_at = <uint16_t> states
        states += (kind.state_bytes + STATE_ALIGNMENT - 1) // STATE_ALIGNMENT * STATE_ALIGNMENT
    if states > STATES_BYTES_MAX:
        raise ValueError("the filters of a route want more than a request can hold")
    route.states_bytes = states
    return 0
