# A door into base/topkeys for tests.
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.rates cimport TOP_KEYS, TopKeys
from fastlb._core.base.text cimport text_of
from fastlb._core.base.topkeys cimport top_copy, top_count


def top_counted(list keys):
    """By key: its count, and what of that may be another's, after these were counted in their
    order. It is the reader's copy."""
    cdef TopKeys* top = <TopKeys*> calloc(1, sizeof(TopKeys))
    cdef TopKeys copy
    cdef bytes key
    cdef int i
    for key in keys:
        top_count(top, <uint64_t> hash(key) | 1 << 63, text_of(
            <const unsigned char*> <const char*> key, <uint32_t> len(key)), False)
    assert top_copy(top, &copy)
    free(top)
    return {(<const char*> copy.all[i].text)[:copy.all[i].size]:
            (copy.all[i].count, copy.all[i].over)
            for i in range(<int> TOP_KEYS) if copy.all[i].hash}
