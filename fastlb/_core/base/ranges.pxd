# Which of many ranges of addresses an address lies in: found in a few steps, however many there
# are. Addresses are numbers of 128 bits, in two halves; an IPv4 address fills the upper half of the
# first.
from libc.stdint cimport int32_t, uint32_t, uint64_t, uint8_t

cdef struct RangeSlot:
    uint32_t first              # boundary
    uint32_t child              # node with slots of its own; 0: none

cdef struct RangeNode:          # spreads addresses from `base` on over slots of equal size
    uint64_t base
    uint32_t slot               # its first one
    uint32_t n_slots            # followed by one more, where its boundaries end
    uint8_t shift

cdef struct Ranges:             # of one family
    uint32_t n                  # boundaries, in ascending order: a range begins at each
    uint64_t* high
    uint64_t* low               # NULL: all are 0
    uint32_t* values            # of the range that begins there; NULL: every other one is in
    uint32_t n_nodes
    uint32_t n_slots
    RangeNode* nodes            # the first one is the root; NULL: there are few boundaries
    RangeSlot* slots

# Sets of networks are made of ranges. They stand here, and not in base/networks, as tables of
# routes name them.
cdef struct NetworkTable:
    Ranges v4
    Ranges v6

cdef struct NetworkCounters:    # one a set and engine, a cache line each
    uint64_t denied             # connections, sessions and requests
    uint64_t reported           # would have been denied
    uint64_t[6] padding

cdef struct NetworkLive:        # a set of networks while it runs: see tables/networks
    NetworkTable* table         # NULL: nobody is in it. It is replaced as a whole
    NetworkTable* added         # networks that were added by hand; NULL: none
    NetworkCounters* counters   # [engine]; NULL: a list without a name

cdef struct NetworkList:        # an address is in it if it is in one of its sets
    uint32_t n
    NetworkLive** all

cdef bint ranges_index(Ranges* ranges) noexcept nogil
cdef void ranges_free(Ranges* ranges) noexcept nogil


cdef inline uint32_t _range_before(const Ranges* ranges, uint32_t begin, uint32_t end,
                                   uint64_t high, uint64_t low) noexcept nogil:
    """How many boundaries are not above an address; it is known to be from `begin` to `end`."""
    cdef uint32_t middle
    cdef bint above
    while begin < end:
        middle = begin + (end - begin) // 2
        above = ranges.high[middle] > high
        if ranges.low != NULL and ranges.high[middle] == high:
            above = ranges.low[middle] > low
        if above:
            end = middle
        else:
            begin = middle + 1
    return begin


cdef inline uint32_t range_value(const Ranges* ranges, uint64_t high, uint64_t low) noexcept nogil:
    """The value of the range that an address lies in; 0: none. Without values it is 1."""
    cdef const RangeNode* node = ranges.nodes
    cdef const RangeSlot* slot
    cdef uint32_t begin = 0, end = ranges.n
    cdef uint64_t at
    while node != NULL:
        if high < node.base:
            end = ranges.slots[node.slot].first
            break
        at = (high - node.base) >> node.shift
        if at >= node.n_slots:
            begin = ranges.slots[node.slot + node.n_slots].first
            break
        slot = &ranges.slots[node.slot + at]
        begin = slot.first
        end = slot[1].first
        node = &ranges.nodes[slot.child] if slot.child else NULL
    begin = _range_before(ranges, begin, end, high, low)
    if ranges.values == NULL:
        return begin & 1
    return ranges.values[begin - 1] if begin else 0
