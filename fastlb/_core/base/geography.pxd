# What is known of a client's address by its place on earth. Databases are replaced as a whole: what
# is read of them is not kept beyond the turn.
from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.address cimport is_mapped
from fastlb._core.base.networks cimport half, network_value
from fastlb._core.base.parts cimport Address
from fastlb._core.base.places cimport GeoAlias, GeoNetworks, GeoTable, Spot
from fastlb._core.base.ranges cimport range_value
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.ext.linux cimport AF_INET6


cdef inline bint _is_within(const GeoAlias* alias, uint64_t high, uint64_t low) noexcept nogil:
    if alias.depth == 0:
        return True
    if alias.depth <= 64:
        return (high ^ alias.high) >> (64 - alias.depth) == 0
    return high == alias.high and (low ^ alias.low) >> (128 - alias.depth) == 0


cdef inline uint32_t _inside(uint8_t depth, uint64_t high, uint64_t low) noexcept nogil:
    """The 32 bits behind the first `depth`, which are 96 at most."""
    if depth <= 32:
        return <uint32_t> (high >> (32 - depth))
    if depth < 64:
        return <uint32_t> (high << (depth - 32) | low >> (96 - depth))
    return <uint32_t> (low >> (96 - depth))


cdef inline uint32_t geo_value(const GeoNetworks* networks, const Address* peer) noexcept nogil:
    """The value that an address has in a database; 0: it knows nothing of it."""
    cdef const uint8_t* v6 = <const uint8_t*> &peer.v6.sin6_addr
    cdef uint64_t high, low
    cdef uint32_t i
    if unlikely(networks.n_aliases != 0) and peer.family == AF_INET6 and not is_mapped(v6):
        high, low = half(v6), half(v6 + 8)
        for i in range(networks.n_aliases):
            if _is_within(&networks.aliases[i], high, low):
                return range_value(
                    &networks.table.v4,
                    <uint64_t> _inside(networks.aliases[i].depth, high, low) << 32, 0)
    return network_value(&networks.table, peer)


cdef inline Spot geo_find(const GeoTable* table, const Address* peer) noexcept nogil:
    """Find the place and AS of an address. Where an override has it, databases are not asked."""
    cdef Spot spot
    cdef uint32_t override
    spot.place = spot.asn = 0
    if table.overrides != NULL:
        override = geo_value(table.overrides, peer)
        if override:
            return table.spots[override - 1]
    if table.city != NULL:
        spot.place = geo_value(table.city, peer)
    if spot.place == 0 and table.country != NULL:
        spot.place = geo_value(table.country, peer)
    if table.asn != NULL:
        spot.asn = geo_value(table.asn, peer)
    return spot
