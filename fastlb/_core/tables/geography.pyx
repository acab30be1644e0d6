# Where clients are, as engines look it up: made of databases in MaxMind's format, and of networks
# that a configuration has. Once made they don't change.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

from fastlb._core.base.geography cimport geo_find
from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport PLACES_MAX
from fastlb._core.base.parts cimport Address
from fastlb._core.base.places cimport PLACE_FIRST, Place, Spot
from fastlb._core.base.ranges cimport Ranges, ranges_free, ranges_index
from fastlb._core.base.text cimport text_of
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.mmdb cimport (
    TREE_NO_MEMORY, TREE_TOO_DEEP, Leaves, Tree, leaves_free, tree_fits, tree_walk,
)

cimport cython


cdef uint64_t code_of(bytes text) except? 0:
    """A country or a continent, as places have it."""
    cdef uint64_t code = 0
    if len(text) > <Py_ssize_t> sizeof(code):
        raise ValueError(f"{text!r} is too long")
    memcpy(&code, <const char*> text, len(text))
    return code


cdef class Places:
    """All places that databases have ever named, each once. They stay, so that a request may know
    its place whatever becomes of the database."""

    def __cinit__(self):
        # (pages of it are taken as places come)
        self.all = <Place*> calloc(PLACES_MAX, sizeof(Place))
        if self.all == NULL:
            raise MemoryError
        self._numbers = {}

    def __dealloc__(self):
        free(self.all)

    @cython.critical_section
    def number(self, bytes country, bytes continent, bytes region) -> int:
        """The number of a place; 0: nothing is known of it. ValueError: there are too many."""
        cdef Place* place
        cdef uint32_t number
        key = (country, continent, region)
        if not any(key):
            return 0
        if key in self._numbers:
            return self._numbers[key]
        number = PLACE_FIRST + len(self._numbers)
        if number >= PLACES_MAX:
            raise ValueError(f"more than {PLACES_MAX - PLACE_FIRST:,} countries and regions")
        place = &self.all[number]
        if len(region) > <Py_ssize_t> sizeof(place.region):
            raise ValueError(f"{region!r} is too long")
        place.country, place.continent = code_of(country), code_of(continent)
        memcpy(place.region, <const char*> region, len(region))
        place.country_size = <uint8_t> len(country)
        place.continent_size = <uint8_t> len(continent)
        place.region_size = <uint8_t> len(region)
        self._numbers[key] = number
        return number


cdef bint _lay(Ranges* ranges, Leaves* leaves) noexcept nogil:
    """Make ranges of where other values begin. The leaves, whose records are values by now, give
    their memory to them. False without memory."""
    cdef uint32_t i, value, n = 0
    cdef bint has_low = False
    cdef void* made
    for i in range(leaves.n):
        value = leaves.records[i]
        if value == (leaves.records[n - 1] if n else 0):
            continue
        leaves.high[n], leaves.low[n], leaves.records[n] = leaves.high[i], leaves.low[i], value
        has_low = has_low or leaves.low[i] != 0
        n += 1
    ranges.n = n
    if n == 0:
        return True
    ranges.high, ranges.low, ranges.values = leaves.high, leaves.low, leaves.records
    memset(leaves, 0, sizeof(Leaves))
    if not has_low:
        free(ranges.low)
        ranges.low = NULL
    # (much shorter than leaves, where many of them have one value)
    made = realloc(ranges.high, n * sizeof(uint64_t))
    ranges.high = <uint64_t*> made if made != NULL else ranges.high
    made = realloc(ranges.values, n * sizeof(uint32_t))
    ranges.values = <uint32_t*> made if made != NULL else ranges.values
    if has_low:
        made = realloc(ranges.low, n * sizeof(uint64_t))
        ranges.low = <uint64_t*> made if made != NULL else ranges.low
    return ranges_index(ranges)


cdef int _compare(const void* a, const void* b) noexcept nogil:
    """By their records, the lowest address of each first."""
    cdef const Seen* left = <const Seen*> a
    cdef const Seen* right = <const Seen*> b
    if left.record != right.record:
        return -1 if left.record < right.record else 1
    if left.at != right.at:
        return -1 if left.at < right.at else 1
    return 0


cdef Seen* _distinct(const Leaves* v4, const Leaves* v6, uint32_t* n) noexcept nogil:
    """Each record that there is, in ascending order, with the place of a leaf that has it: those of
    IPv4 come before those of IPv6. NULL without memory."""
    cdef uint64_t i, total = <uint64_t> v4.n + v6.n
    cdef Seen* all = <Seen*> malloc((total + 1) * sizeof(Seen))
    if all == NULL:
        return NULL
    for i in range(total):
        all[i].record = v4.records[i] if i < v4.n else v6.records[i - v4.n]
        all[i].at = i
    qsort(all, total, sizeof(Seen), _compare)
    n[0] = 0
    for i in range(total):
        if all[i].record and (n[0] == 0 or all[n[0] - 1].record != all[i].record):
            all[n[0]] = all[i]
            n[0] += 1
    return all


cdef void _translate(Leaves* leaves, const Seen* records, uint32_t n,
                     const uint32_t* values) noexcept nogil:
    """Put the values of records in their places."""
    cdef uint32_t i, begin, end, middle
    for i in range(leaves.n):
        if leaves.records[i] == 0:
            continue
        begin, end = 0, n
        while begin < end:
            middle = begin + (end - begin) // 2
            if records[middle].record < leaves.records[i]:
                begin = middle + 1
            else:
                end = middle
        leaves.records[i] = values[begin]


cdef int _take(Leaves* leaves, list begins) except -1:
    """Leaves of (number of an address, value)."""
    cdef uint32_t n = <uint32_t> len(begins), i
    leaves.high = <uint64_t*> malloc((n + 1) * sizeof(uint64_t))
    leaves.low = <uint64_t*> malloc((n + 1) * sizeof(uint64_t))
    leaves.records = <uint32_t*> malloc((n + 1) * sizeof(uint32_t))
    if leaves.high == NULL or leaves.low == NULL or leaves.records == NULL:
        raise MemoryError
    for i in range(n):
        address, value = begins[i]
        leaves.high[i], leaves.low[i] = address >> 64, address & 0xffffffffffffffff
        leaves.records[i] = value
    leaves.n = n
    return 0


cdef class GeoDatabase:
    """Networks with a value each: `walk` a file's tree and `use` what its records mean, or `lay`
    those out that are known."""

    def __dealloc__(self):
        self._let_go()
        ranges_free(&self.networks.table.v4)
        ranges_free(&self.networks.table.v6)

    cdef void _let_go(self) noexcept:
        leaves_free(&self._v4)
        leaves_free(&self._v6)
        free(self._records)
        memset(&self._v4, 0, sizeof(Leaves))
        memset(&self._v6, 0, sizeof(Leaves))
        self._records = NULL

    def walk(self, const uint8_t[::1] data, object nodes, int record_bits,
             int version) -> list[tuple[int, int]]:
        """Find all networks of a file. Returns an address of each record's: its family, and its
        number. ValueError says what is wrong with the file."""
        cdef Tree tree
        cdef int failure
        cdef uint32_t i
        cdef uint64_t at
        if self._is_begun:
            raise ValueError("this database has its networks already")
        self._is_begun = True
        if not 0 <= nodes < 1 << 32:
            raise ValueError("its search tree is longer than the file")
        tree.at = &data[0] if data.shape[0] else NULL
        tree.n_nodes = nodes
        tree.record_bits, tree.version = <uint8_t> record_bits, <uint8_t> version
        if not tree_fits(&tree, data.shape[0]):
            raise ValueError("its search tree is longer than the file")
        with nogil:
            failure = tree_walk(&tree, &self._v4, &self._v6, &self.networks)
            if failure == 0:
                self._records = _distinct(&self._v4, &self._v6, &self._n_records)
                failure = 0 if self._records != NULL else TREE_NO_MEMORY
        if failure == TREE_NO_MEMORY:
            raise MemoryError
        if failure:
            raise ValueError("its search tree is broken: " + (
                "it is deeper than addresses are long" if failure == TREE_TOO_DEEP
                else "it has loops"))
        found = []
        for i in range(self._n_records):
            at = self._records[i].at
            if at < self._v4.n:
                found.append((4, self._v4.high[at] >> 32))
            else:
                at -= self._v4.n
                found.append((6, <object> self._v6.high[at] << 64 | self._v6.low[at]))
        return found

    def use(self, const uint32_t[::1] values) -> None:
        """Take the values of the records, in the order of `walk`; 0: nothing is known."""
        cdef const uint32_t* first = &values[0] if values.shape[0] else NULL
        if self._records == NULL or values.shape[0] != self._n_records:
            raise ValueError("every record has a value")
        with nogil:
            _translate(&self._v4, self._records, self._n_records, first)
            _translate(&self._v6, self._records, self._n_records, first)
        self._finish()

    def lay(self, list v4, list v6) -> None:
        """Take (number of an address, value) where values begin, in ascending order."""
        if self._is_begun:
            raise ValueError("this database has its networks already")
        self._is_begun = True
        _take(&self._v4, [(address << 96, value) for address, value in v4])
        _take(&self._v6, v6)
        self._finish()

    def _finish(self) -> None:
        cdef bint done
        with nogil:
            done = _lay(&self.networks.table.v4, &self._v4) \
                and _lay(&self.networks.table.v6, &self._v6)
        self._let_go()
        if not done:
            raise MemoryError

    @property
    def ranges(self) -> int:
        """How often another value begins."""
        return self.networks.table.v4.n + self.networks.table.v6.n


cdef class Geography:
    """All databases together, and the networks that override them: `spots` has the place and the AS
    for each value of `overrides`, from 1 on."""

    def __cinit__(self, Places places not None, GeoDatabase country=None, GeoDatabase city=None,
                  GeoDatabase asn=None, GeoDatabase overrides=None, list spots=None):
        cdef uint32_t i
        spots = spots if spots is not None else []
        self.places = places
        self._held = (country, city, asn, overrides)
        self._spots = <Spot*> calloc(len(spots) + 1, sizeof(Spot))
        if self._spots == NULL:
            raise MemoryError
        for i in range(<uint32_t> len(spots)):
            self._spots[i].place, self._spots[i].asn = spots[i]
        self.table.spots = self._spots
        self.table.country = &country.networks if country is not None else NULL
        self.table.city = &city.networks if city is not None else NULL
        self.table.asn = &asn.networks if asn is not None else NULL
        self.table.overrides = &overrides.networks if overrides is not None else NULL

    def __dealloc__(self):
        free(self._spots)

    def find(self, str address) -> tuple[str, str, str, int]:
        """The country, continent, region and AS of an address; empty, and 0, where nothing is
        known. ValueError: it is none."""
        cdef Address found
        cdef Spot spot
        cdef Place* place
        cdef bytes text = address.encode()
        if not parse_address(text_of(<const uint8_t*> <const char*> text, <uint32_t> len(text)),
                             &found):
            raise ValueError(f"{address!r} is not an address")
        spot = geo_find(&self.table, &found)
        place = &self.places.all[spot.place]
        return ((<const char*> &place.country)[:place.country_size].decode(),
                (<const char*> &place.continent)[:place.continent_size].decode(),
                (<const char*> place.region)[:place.region_size].decode(), spot.asn)
