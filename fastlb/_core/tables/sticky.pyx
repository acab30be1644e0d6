# The tokens that bind clients to servers, made beforehand for every server and secret.
# compile/sticky makes them, so that nothing is signed or verified here: one that we didn't make
# isn't here.
from libc.stdint cimport uint32_t, uint64_t

from fastlb._core.base.head cimport Text
from fastlb._core.base.text cimport equal, hash_bytes, hash_seed
from fastlb._core.base.parts cimport Sticky


cdef void sticky_add(Sticky* sticky, Text token, unsigned int server) noexcept nogil:
    """`server` is counted from 1. There has to be room."""
    cdef uint64_t hash = hash_bytes(hash_seed(), token.at, token.size)
    cdef uint32_t place = <uint32_t> hash & sticky.mask
    while sticky.tokens[place].server:
        place = (place + 1) & sticky.mask
    sticky.tokens[place].hash = hash
    sticky.tokens[place].text = token
    sticky.tokens[place].server = server


cdef unsigned int sticky_find(const Sticky* sticky, Text token) noexcept nogil:
    """The server of a token, counted from 1; 0 if it is none of ours."""
    cdef uint64_t hash = hash_bytes(hash_seed(), token.at, token.size)
    cdef uint32_t place = <uint32_t> hash & sticky.mask
    while sticky.tokens[place].server:
        if sticky.tokens[place].hash == hash and equal(
                token.at, token.size, sticky.tokens[place].text.at,
                sticky.tokens[place].text.size):
            return sticky.tokens[place].server
        place = (place + 1) & sticky.mask
    return 0
