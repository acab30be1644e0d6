# Places that clients are in, by number; which networks are in which of them; and the order of a
# pool's groups for each.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.limits cimport GEO_ALIASES_MAX
from fastlb._core.base.ranges cimport NetworkTable

cdef enum PlaceNumber:
    PLACE_UNASKED = 0           # of an exchange: nobody has asked yet
    PLACE_UNKNOWN = 1
    PLACE_FIRST = 2             # from here on places have numbers

cdef struct Place:              # it never changes, and is never given back
    uint64_t country            # its bytes as a text, zeroes behind them
    uint64_t continent
    uint8_t[24] region
    uint8_t country_size, continent_size, region_size
    uint8_t[5] padding

cdef struct GeoAlias:           # IPv6 addresses that have an IPv4 address inside (6to4, Teredo)
    uint64_t high, low          # what they begin with
    uint8_t depth               # and so many bits of it; then the IPv4 address follows

cdef struct GeoNetworks:        # of one database: a place, or the number of an AS, for each network
    NetworkTable table
    uint32_t n_aliases
    GeoAlias[GEO_ALIASES_MAX] aliases

cdef struct Spot:               # what is known of an address
    uint32_t place              # PlaceNumber, or a place
    uint32_t asn                # 0: none

cdef struct GeoTable:
    const GeoNetworks* overrides        # the values count `spots` from 1; NULL: there are none
    const Spot* spots
    const GeoNetworks* country  # NULL: there is no such database; and likewise
    const GeoNetworks* city
    const GeoNetworks* asn

cdef struct Nearest:            # of a pool: in which order clients get its groups
    uint32_t n_countries, n_continents
    uint64_t* countries         # as in Place, ascending
    uint64_t* continents
    uint8_t* orders             # n_groups for each country, each continent, and for all others


cdef inline bint find_code(const uint64_t* codes, uint32_t n, uint64_t code,
                           uint32_t* at) noexcept nogil:
    """Whether a country or a continent is one of these, and which; else `at` is left as it is."""
    cdef uint32_t begin = 0, end = n, middle
    while begin < end:
        middle = begin + (end - begin) // 2
        if codes[middle] < code:
            begin = middle + 1
        else:
            end = middle
    if begin == n or codes[begin] != code:
        return False
    at[0] = begin
    return True
