# An index over the boundaries of ranges. A node cuts its part of the addresses into slots of equal
# size, about one for four boundaries; a slot that has got many has a node of its own. So evenly
# spread networks take one step, and crowded ones a few.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, realloc

cdef enum:
    FEW = 16                    # boundaries that are searched by halves: two cache lines
    PER_SLOT = 4
    DEPTH_MAX = 6


cdef void ranges_free(Ranges* ranges) noexcept nogil:
    free(ranges.high)
    free(ranges.low)
    free(ranges.values)
    free(ranges.nodes)
    free(ranges.slots)


cdef uint32_t _slots_of(uint32_t n) noexcept nogil:
    """A power of two."""
    cdef uint32_t slots = 4
    while slots < n // PER_SLOT:
        slots *= 2
    return slots


cdef bint _grow(Ranges* ranges, uint32_t nodes, uint32_t slots) noexcept nogil:
    """Make room for so many more; False without memory."""
    cdef void* made = realloc(ranges.nodes, (ranges.n_nodes + nodes) * sizeof(RangeNode))
    if made == NULL:
        return False
    ranges.nodes = <RangeNode*> made
    made = realloc(ranges.slots, (ranges.n_slots + slots) * sizeof(RangeSlot))
    if made == NULL:
        return False
    ranges.slots = <RangeSlot*> made
    return True


cdef bint _add_node(Ranges* ranges, uint32_t begin, uint32_t end, int depth) noexcept nogil:
    """A node for the boundaries from `begin` to `end`, which are not all of one upper half."""
    cdef uint32_t n_slots = _slots_of(end - begin), first = ranges.n_slots, i, at, child, stop
    cdef uint64_t base = ranges.high[begin], span = ranges.high[end - 1] - base
    cdef uint8_t shift = 0
    while span >> shift >= n_slots:
        shift += 1
    if not _grow(ranges, 1, n_slots + 1):
        return False
    ranges.nodes[ranges.n_nodes].base = base
    ranges.nodes[ranges.n_nodes].slot = first
    ranges.nodes[ranges.n_nodes].n_slots = n_slots
    ranges.nodes[ranges.n_nodes].shift = shift
    ranges.n_nodes += 1
    ranges.n_slots += n_slots + 1
    # A slot's first boundary is one before those that lie in it: that one's range reaches into it.
    at = begin
    for i in range(n_slots + 1):
        while at < end and (ranges.high[at] - base) >> shift < i:
            at += 1
        ranges.slots[first + i].first = at
        ranges.slots[first + i].child = 0
    if depth == DEPTH_MAX:
        return True
    for i in range(n_slots):
        at, stop = ranges.slots[first + i].first, ranges.slots[first + i + 1].first
        if stop - at > FEW and ranges.high[at] != ranges.high[stop - 1]:
            child = ranges.n_nodes
            if not _add_node(ranges, at, stop, depth + 1):
                return False
            ranges.slots[first + i].child = child
    return True


cdef bint ranges_index(Ranges* ranges) noexcept nogil:
    """Make the index of boundaries that are there; False without memory."""
    if ranges.n <= FEW or ranges.high[0] == ranges.high[ranges.n - 1]:
        return True
    return _add_node(ranges, 0, ranges.n, 1)
