# llhttp's C interface, as httptools' extension exports it. Nothing of it is linked: proto/llhttp
# finds the functions when it is bound. The structs are those of llhttp 9.
from libc.stdint cimport uint8_t

cdef enum:
    LLHTTP_BYTES = 256          # of an llhttp_t, which has 96 in llhttp 9
    LLHTTP_SLOTS = 40           # of an llhttp_settings_t, which has 26
    LLHTTP_REQUEST = 1
    LLHTTP_RESPONSE = 2
    LLHTTP_OK = 0
    LLHTTP_PAUSED = 21          # what a callback returns to stop, and then the result

ctypedef int (*llhttp_callback)(void* parser, const char* at, size_t size) noexcept nogil
ctypedef void (*llhttp_init_function)(void* parser, int type, const void* settings) noexcept nogil
ctypedef int (*llhttp_execute_function)(void* parser, const char* data, size_t n) noexcept nogil
ctypedef const char* (*llhttp_position_function)(const void* parser) noexcept nogil
ctypedef uint8_t (*llhttp_number_function)(void* parser) noexcept nogil
ctypedef int (*llhttp_status_function)(void* parser) noexcept nogil
