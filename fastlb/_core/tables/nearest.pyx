# In which order clients get a pool's groups, by where they are.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlb._core.base.places cimport Nearest
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.geography cimport code_of


cdef Nearest* nearest_table(Arena arena, object spec, uint32_t n_groups) except NULL:
    """From (code, order of groups) of countries and continents, and the order for all others."""
    cdef Nearest* nearest = <Nearest*> arena.take(1, sizeof(Nearest))
    cdef uint32_t i, k
    countries = sorted([(code_of(code), order) for code, order in spec.countries])
    continents = sorted([(code_of(code), order) for code, order in spec.continents])
    rows = [*countries, *continents, (0, spec.others)]
    nearest.n_countries, nearest.n_continents = len(countries), len(continents)
    nearest.countries = <uint64_t*> arena.take(len(rows), sizeof(uint64_t))
    nearest.continents = nearest.countries + nearest.n_countries
    nearest.orders = <uint8_t*> arena.take(len(rows) * n_groups, 1)
    for i in range(<uint32_t> len(rows)):
        nearest.countries[i], order = rows[i]
        if sorted(order) != list(range(n_groups)):
            raise ValueError("an order has every group once")
        for k in range(n_groups):
            nearest.orders[i * n_groups + k] = order[k]
    return nearest
