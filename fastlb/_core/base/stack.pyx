# A lock-free stack; see stack.pxd.
from libc.stdint cimport uint64_t

from fastlb._core.ext.atomic cimport fl_cas64, fl_load64


cdef struct _Item:              # what all of them begin with
    void* next


cdef void stack_push(uint64_t* stack, void* item) noexcept nogil:
    cdef uint64_t first
    while True:
        first = fl_load64(stack)
        (<_Item*> item).next = <void*> <size_t> first
        if fl_cas64(stack, first, <uint64_t> <size_t> item):
            return


cdef void* stack_take(uint64_t* stack) noexcept nogil:
    """The earliest first."""
    cdef uint64_t first
    cdef void* item
    cdef void* following
    cdef void* earliest = NULL
    while True:
        first = fl_load64(stack)
        if first == 0:
            return NULL
        if fl_cas64(stack, first, 0):
            break
    item = <void*> <size_t> first
    while item != NULL:
        following = (<_Item*> item).next
        (<_Item*> item).next = earliest
        earliest = item
        item = following
    return earliest
