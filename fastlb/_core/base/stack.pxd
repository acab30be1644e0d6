# A lock-free stack that any thread pushes to, and one thread takes whole. Items begin with a
# pointer to the next one.
from libc.stdint cimport uint64_t


cdef void stack_push(uint64_t* stack, void* item) noexcept nogil
cdef void* stack_take(uint64_t* stack) noexcept nogil
