# Maglev's lookup table (Eisenbud and others: Maglev, 2016, 3.4). Each server has a permutation of
# the places, and they take turns in claiming the next one that is free.
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.limits cimport NO_SERVER
from fastlb._core.base.text cimport mix64

cdef struct Claim:
    uint64_t next               # place in its permutation
    uint64_t skip
    double owed                 # turns by weight, in turns of the heaviest


cdef bint maglev_fill(uint16_t* table, uint32_t size, const uint64_t* hashes,
                      const uint32_t* weights, uint32_t n) noexcept nogil:
    """Fill a table of a prime size; False when memory is gone. All places are NO_SERVER if no
    server has a weight."""
    cdef Claim* claims = <Claim*> calloc(n if n else 1, sizeof(Claim))
    cdef uint32_t i, heaviest = 0, filled = 0
    if claims == NULL:
        return False
    for i in range(size):
        table[i] = NO_SERVER
    for i in range(n):
        claims[i].next = hashes[i] % size
        claims[i].skip = mix64(hashes[i]) % (size - 1) + 1
        if weights[i] > heaviest:
            heaviest = weights[i]
    while heaviest and filled < size:
        for i in range(n):
            claims[i].owed += <double> weights[i] / heaviest
            if claims[i].owed < 1:
                continue
            claims[i].owed -= 1
            while table[claims[i].next] != NO_SERVER:
                claims[i].next += claims[i].skip
                if claims[i].next >= size:
                    claims[i].next -= size
            table[claims[i].next] = <uint16_t> i
            filled += 1
            if filled == size:
                break
    free(claims)
    return True
