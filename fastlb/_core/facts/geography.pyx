# Facts of where a client is: its country, and which AS its address belongs to.
# They are found when somebody asks, and remembered for the request: a database that is replaced
# meanwhile changes nothing about it.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastlb._core.base.enums cimport REHEARSES
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.geography cimport geo_find
from fastlb._core.base.head cimport Text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.places cimport (
    PLACE_FIRST, PLACE_UNASKED, PLACE_UNKNOWN, GeoTable, Place, Spot,
)
from fastlb._core.base.text cimport put_number, text_of
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_load_pointer
from fastlb._core.facts.client cimport client_address
from fastlb._core.facts.registry cimport (
    FACT_FITS_PATHS, FACT_IS_RECORDED, FACT_OF_CONNECTIONS, new_fact, register_fact,
)


cdef void _find(Core* core, Exchange* x) noexcept nogil:
    cdef const GeoTable* table = <const GeoTable*> fl_load_pointer(<void**> &core.live.geo)
    cdef Address address
    cdef Spot spot
    x.place, x.asn = PLACE_UNKNOWN, 0
    if table == NULL:
        return
    if client_address(x, &address):
        spot = geo_find(table, &address)
        x.asn = spot.asn
        if spot.place:
            x.place = spot.place
    if core.rehearses != REHEARSES:
        fl_count(&core.counters.places_found if x.asn or x.place != PLACE_UNKNOWN
                 else &core.counters.places_unknown, 1)


cdef const Place* place_of(Core* core, Exchange* x) noexcept nogil:
    """The client's place; NULL: it is not known."""
    if x.place == PLACE_UNASKED:
        _find(core, x)
    return &core.live.places[x.place] if x.place >= PLACE_FIRST else NULL


cdef bint _country(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    cdef const Place* place = place_of(core, x)
    if place == NULL:
        return False
    value[0] = text_of(<const uint8_t*> &place.country, place.country_size)
    return True


cdef bint _continent(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    cdef const Place* place = place_of(core, x)
    if place == NULL:
        return False
    value[0] = text_of(<const uint8_t*> &place.continent, place.continent_size)
    return True


cdef bint _region(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    cdef const Place* place = place_of(core, x)
    if place == NULL:
        return False
    value[0] = text_of(place.region, place.region_size)
    return True


cdef bint _asn(Core* core, Exchange* x, const FactRef* fact, Text* value) noexcept nogil:
    place_of(core, x)
    if x.asn == 0:
        return False
    value[0] = text_of(core.asn_text, <uint32_t> put_number(core.asn_text, x.asn))
    return True


_FLAGS = FACT_OF_CONNECTIONS | FACT_FITS_PATHS | FACT_IS_RECORDED
register_fact(new_fact(), "client.country", _FLAGS, _country,
              "The country that the client's address belongs to (ISO 3166-1): `DE`. See `geo`.")
register_fact(new_fact(), "client.continent", _FLAGS, _continent,
              "The continent of the client's address: `EU`, `NA`, `SA`, `AF`, `AS`, `OC` or `AN`.")
register_fact(new_fact(), "client.region", _FLAGS, _region,
              "The part of the country that the client's address belongs to (ISO 3166-2): `US-CA`.")
register_fact(new_fact(), "client.asn", _FLAGS, _asn,
              "The number of the autonomous system that the client's address belongs to: `64496`.")
