# Memory of one snapshot.
from libc.stdlib cimport calloc, free, realloc

from fastlb._core.base.head cimport Text


cdef class Arena:
    """Memory of one snapshot, given back with it."""

    def __cinit__(self):
        self._things = []

    def __dealloc__(self):
        cdef size_t i
        for i in range(self._n_blocks):
            free(self._blocks[i])
        free(self._blocks)

    cdef void* take(self, size_t n, size_t size) except NULL:
        """Zeroed room for `n` of `size` bytes."""
        cdef void** blocks
        cdef void* block = calloc(n if n else 1, size)
        if block == NULL:
            raise MemoryError
        if self._n_blocks == self._size:
            blocks = <void**> realloc(self._blocks, (self._size * 2 + 16) * sizeof(void*))
            if blocks == NULL:
                free(block)
                raise MemoryError
            self._blocks = blocks
            self._size = self._size * 2 + 16
        self._blocks[self._n_blocks] = block
        self._n_blocks += 1
        return block

    cdef void hold(self, object thing):
        """Let it live as long as the arena."""
        self._things.append(thing)

    cdef const unsigned char* keep(self, bytes text) except NULL:
        """The bytes of a text, which lives as long as the arena."""
        self._things.append(text)
        return <const unsigned char*> <const char*> text

    cdef Text text(self, bytes text):
        cdef Text made
        made.at = self.keep(text)
        made.size = len(text)
        return made
