# The keys that are counted most, in constant space, for one writer and any reader.
#
# This is Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k
# Elements in Data Streams, 2005).
# A key that isn't known takes the place of the one with the lowest count, and begins with that
# count, which it may not have had (`over`). So no key with more than 1/TOP_KEYS of all counts is
# missing.
# One engine writes. Readers copy, and look whether it wrote meanwhile.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastlb._core.base.head cimport Text
from fastlb._core.base.rates cimport TOP_KEYS, TOP_TEXT_BYTES, TopKey, TopKeys
from fastlb._core.ext.atomic cimport fl_fence, fl_load64, fl_store64

cdef enum:
    COPIES_MAX = 1000           # tries of a reader, each of them some hundred ns


cdef void top_count(TopKeys* top, uint64_t hash, Text text, bint is_source) noexcept nogil:
    """Count a key once. `hash` is its identity, and never 0; `text` is what people see."""
    cdef TopKey* least = &top.all[0]
    cdef TopKey* key
    cdef uint32_t i
    for i in range(<uint32_t> TOP_KEYS):
        key = &top.all[i]
        if key.hash == hash:
            fl_store64(&key.count, key.count + 1)
            return
        if key.count < least.count:
            least = key
    fl_store64(&top.version, top.version + 1)
    fl_fence()
    least.hash = hash
    least.over = least.count
    least.count += 1
    least.size = <uint8_t> (text.size if text.size < <uint32_t> TOP_TEXT_BYTES else TOP_TEXT_BYTES)
    least.is_source = is_source
    if least.size:
        memcpy(least.text, text.at, least.size)
    fl_fence()
    fl_store64(&top.version, top.version + 1)


cdef bint top_copy(TopKeys* top, TopKeys* copy) noexcept nogil:
    """Copy all keys as they were at one moment; False: the writer was never quiet for so long."""
    cdef uint64_t version
    cdef int i
    for i in range(<int> COPIES_MAX):
        version = fl_load64(&top.version)
        if version & 1:
            continue
        fl_fence()
        memcpy(copy, top, sizeof(TopKeys))
        fl_fence()
        if fl_load64(&top.version) == version:
            return True
    return False
