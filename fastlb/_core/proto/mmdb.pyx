# The search tree of a MaxMind DB file (version 2.0 of its format), walked once from end to end. A
# node has a record for each value of a bit: another node, data, or nothing.
# It comes from a file that may be broken: every way through it is bounded.
from libc.stddef cimport size_t
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, realloc

from fastlb._core.base.limits cimport GEO_ALIASES_MAX
from fastlb._core.base.places cimport GeoAlias, GeoNetworks

cdef enum:
    V4_BITS = 32
    V6_BITS = 128
    V4_AT = V6_BITS - V4_BITS   # IPv4 is below so many zeroes in a tree of IPv6
    WAYS_MAX = V6_BITS + 1      # that are open at a time
    VISITS_EACH = 4             # of a node, on average: files may let several ways lead to one

cdef struct Way:                # that is still to go
    uint32_t node
    uint8_t depth
    uint64_t high, low


cdef bint tree_fits(const Tree* tree, size_t size) noexcept nogil:
    """Whether a file of this size can have such a tree."""
    return ((tree.record_bits == 24 or tree.record_bits == 28 or tree.record_bits == 32)
            and (tree.version == 4 or tree.version == 6)
            and <size_t> tree.n_nodes * (tree.record_bits // 4) <= size)


cdef inline uint32_t _record(const Tree* tree, uint32_t node, int bit) noexcept nogil:
    cdef const uint8_t* at = tree.at + <size_t> node * (tree.record_bits // 4)
    if tree.record_bits == 24:
        at += 3 * bit
        return <uint32_t> at[0] << 16 | <uint32_t> at[1] << 8 | at[2]
    if tree.record_bits == 28:          # (the byte in the middle has the highest bits of both)
        if bit:
            return ((<uint32_t> at[3] & 15) << 24 | <uint32_t> at[4] << 16
                    | <uint32_t> at[5] << 8 | at[6])
        return ((<uint32_t> at[3] >> 4) << 24 | <uint32_t> at[0] << 16
                | <uint32_t> at[1] << 8 | at[2])
    at += 4 * bit
    return <uint32_t> at[0] << 24 | <uint32_t> at[1] << 16 | <uint32_t> at[2] << 8 | at[3]


cdef bint _add(Leaves* leaves, const Way* way, uint32_t record) noexcept nogil:
    """Note which record begins at this address. False: memory is gone."""
    cdef uint32_t room
    cdef void* made
    if leaves.n and leaves.records[leaves.n - 1] == record:
        return True
    if leaves.n == leaves.room:
        room = leaves.room * 2 if leaves.room else 1024
        made = realloc(leaves.high, room * sizeof(uint64_t))
        if made == NULL:
            return False
        leaves.high = <uint64_t*> made
        made = realloc(leaves.low, room * sizeof(uint64_t))
        if made == NULL:
            return False
        leaves.low = <uint64_t*> made
        made = realloc(leaves.records, room * sizeof(uint32_t))
        if made == NULL:
            return False
        leaves.records, leaves.room = <uint32_t*> made, room
    leaves.high[leaves.n], leaves.low[leaves.n] = way.high, way.low
    leaves.records[leaves.n] = record
    leaves.n += 1
    return True


cdef void leaves_free(Leaves* leaves) noexcept nogil:
    free(leaves.high)
    free(leaves.low)
    free(leaves.records)


cdef uint32_t _start_of_v4(const Tree* tree) noexcept nogil:
    cdef uint32_t node = 0
    cdef int i
    if tree.version == 6:
        for i in range(V4_AT):
            if node >= tree.n_nodes:
                break
            node = _record(tree, node, 0)
    return node


cdef bint _note_alias(GeoNetworks* into, const Way* way) noexcept nogil:
    cdef GeoAlias* alias = &into.aliases[into.n_aliases]
    if into.n_aliases == GEO_ALIASES_MAX:
        return False
    alias.high, alias.low, alias.depth = way.high, way.low, way.depth
    into.n_aliases += 1
    return True


cdef int _walk(const Tree* tree, uint32_t start, uint32_t v4, int bits, Leaves* leaves,
               GeoNetworks* into, uint64_t* visits) noexcept nogil:
    """Walk all that is below `start`. Where the IPv4 networks, below `v4`, come once more, that is
    noted as an alias. 0, or what is wrong."""
    cdef Way[WAYS_MAX] open
    cdef Way way
    cdef int n = 1
    open[0].node, open[0].depth, open[0].high, open[0].low = start, 0, 0, 0
    while n:
        n -= 1
        way = open[n]
        if bits == V6_BITS and way.node == v4 and v4 < tree.n_nodes and way.depth <= V4_AT:
            if not _note_alias(into, &way):
                return TREE_TOO_LONG
            if not _add(leaves, &way, 0):
                return TREE_NO_MEMORY
            continue
        if way.node >= tree.n_nodes:
            if not _add(leaves, &way, way.node if way.node > tree.n_nodes else 0):
                return TREE_NO_MEMORY
            continue
        if way.depth == bits:
            return TREE_TOO_DEEP
        if visits[0] == 0:
            return TREE_TOO_LONG
        visits[0] -= 1
        # The way of the lower addresses goes on top.
        open[n] = way
        open[n].node = _record(tree, way.node, 1)
        open[n].depth = way.depth + 1
        if way.depth < 64:
            open[n].high |= <uint64_t> 1 << (63 - way.depth)
        else:
            open[n].low |= <uint64_t> 1 << (127 - way.depth)
        open[n + 1] = way
        open[n + 1].node = _record(tree, way.node, 0)
        open[n + 1].depth = way.depth + 1
        n += 2
    return 0


cdef int tree_walk(const Tree* tree, Leaves* v4, Leaves* v6, GeoNetworks* into) noexcept nogil:
    """All records of a tree that fits, by the addresses where they begin; `into` gets the aliases
    of IPv4. 0, or what is wrong (TreeFailure)."""
    cdef uint64_t visits = <uint64_t> tree.n_nodes * VISITS_EACH
    cdef uint32_t start = _start_of_v4(tree)
    cdef int failure = _walk(tree, start, start, V4_BITS, v4, into, &visits)
    if failure == 0 and tree.version == 6:
        failure = _walk(tree, 0, start, V6_BITS, v6, into, &visits)
    return failure
