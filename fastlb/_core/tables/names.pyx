# Names of listeners, routes, pools and servers as numbers, for records and series.
# A name can be read by any thread at any time; a number that nobody holds is used again later.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from fastlb._core.base.head cimport Text
from fastlb._core.base.limits cimport FORGET_MS, NAME_BLOCK, NAME_BLOCKS, NAME_REST_MS
from fastlb._core.ext.atomic cimport fl_load_pointer, fl_store_pointer


cdef class Names:
    """A name can be read at any time, by any thread. 0 is "", and whatever comes when there are
    NAME_BLOCK * NAME_BLOCKS names.

    A name that nobody holds any more rests before its number is used again: records that carry the
    number may still wait to be written.
    """

    def __cinit__(self):
        self._texts = []
        self._holders = []
        self._ids = {}
        self._resting, self._leaving, self._unused = [], [], []
        self.id("")

    def __dealloc__(self):
        cdef int i, k
        for i in range(NAME_BLOCKS):
            if self._blocks[i] != NULL:
                for k in range(NAME_BLOCK):
                    free(self._blocks[i][k])
            free(self._blocks[i])
        for _, pointer in self._leaving:
            free(<void*> <size_t> pointer)

    cdef uint32_t id(self, str name) except? 0:
        """Its number, held from now on: see `let_go`."""
        cdef uint32_t id
        known = self._ids.get(name)
        if known is None:
            if not self._unused and len(self._texts) == NAME_BLOCK * NAME_BLOCKS:
                return 0
            id = self._unused.pop() if self._unused else <uint32_t> len(self._texts)
            self._put(id, name.encode("utf-8", "surrogateescape"))
            if id == len(self._texts):
                self._texts.append(name)
                self._holders.append(0)
            else:
                self._texts[id] = name
            self._ids[name] = id
            known = id
        self._holders[known] += 1
        return known

    cdef int _put(self, uint32_t id, bytes text) except -1:
        cdef Name** block = self._blocks[id // NAME_BLOCK]
        cdef Name* name = <Name*> malloc(sizeof(Name) + len(text))
        if name == NULL:
            raise MemoryError
        if block == NULL:
            block = <Name**> calloc(NAME_BLOCK, sizeof(void*))
            if block == NULL:
                free(name)
                raise MemoryError
            fl_store_pointer(<void**> &self._blocks[id // NAME_BLOCK], block)
        name.text.at = <const uint8_t*> (name + 1)
        name.text.size = <uint32_t> len(text)
        memcpy(name + 1, <const char*> text, len(text))
        fl_store_pointer(<void**> &block[id % NAME_BLOCK], name)
        return 0

    cdef void let_go(self, uint32_t id, uint64_t now_ms):
        """One who held it needs it no more."""
        if id:
            self._resting.append((now_ms, id))

    cdef int sweep(self, uint64_t now_ms) except -1:
        """Give back what has rested for long enough."""
        cdef Name** block
        cdef uint32_t id
        cdef size_t i = 0
        for since_ms, pointer in self._leaving:
            if now_ms < since_ms + FORGET_MS:
                break
            free(<void*> <size_t> pointer)
            i += 1
        del self._leaving[:i]
        i = 0
        for since_ms, held in self._resting:
            if now_ms < since_ms + NAME_REST_MS:
                break
            i += 1
            id = held
            self._holders[id] -= 1
            if self._holders[id] == 0:
                block = self._blocks[id // NAME_BLOCK]
                # (who has just read the pointer reads the text a moment longer)
                self._leaving.append((now_ms, <size_t> block[id % NAME_BLOCK]))
                fl_store_pointer(<void**> &block[id % NAME_BLOCK], NULL)
                del self._ids[self._texts[id]]
                self._texts[id] = ""
                self._unused.append(id)
        del self._resting[:i]
        return 0

    cdef Text text(self, uint32_t id) noexcept nogil:
        cdef Name** block = <Name**> fl_load_pointer(<void**> &self._blocks[id // NAME_BLOCK])
        cdef Name* name = <Name*> fl_load_pointer(<void**> &block[id % NAME_BLOCK])
        return name.text if name != NULL else self._blocks[0][0].text

    def name(self, uint32_t id) -> str:
        return self._texts[id]

    @property
    def count(self) -> int:
        """How many are known now."""
        return len(self._ids)
