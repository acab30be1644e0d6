from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport NAME_BLOCK, NAME_BLOCKS
from fastlb._core.ext.atomic cimport fl_load_pointer, fl_store_pointer


cdef class Names:
    """Only grows, so that a name can be read at any time, by any thread. 0 is "", and whatever
    comes when there are NAME_BLOCK * NAME_BLOCKS names."""

    def __cinit__(self):
        self.all = []
        self._ids = {}
        self.id("")

    def __dealloc__(self):
        cdef int i
        for i in range(NAME_BLOCKS):
            free(self._blocks[i])

    cdef uint32_t id(self, str name) except? 0:
        cdef Text* block
        cdef uint32_t id
        cdef bytes text
        known = self._ids.get(name)
        if known is not None:
            return known
        id = <uint32_t> len(self.all)
        if id == NAME_BLOCK * NAME_BLOCKS:
            return 0
        block = self._blocks[id // NAME_BLOCK]
        if block == NULL:
            block = <Text*> calloc(NAME_BLOCK, sizeof(Text))
            if block == NULL:
                raise MemoryError
        text = name.encode("utf-8", "surrogateescape")
        block[id % NAME_BLOCK].at = <const unsigned char*> <const char*> text
        block[id % NAME_BLOCK].size = <uint32_t> len(text)
        self._ids[name] = id
        self.all.append((name, text))       # which keeps the bytes
        fl_store_pointer(<void**> &self._blocks[id // NAME_BLOCK], block)
        return id

    cdef Text text(self, uint32_t id) noexcept nogil:
        cdef Text* block = <Text*> fl_load_pointer(<void**> &self._blocks[id // NAME_BLOCK])
        return block[id % NAME_BLOCK]
