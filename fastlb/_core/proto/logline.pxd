from libc.stdint cimport uint32_t, uint64_t, uint8_t

from fastlb._core.base.head cimport Members, Text

cdef enum LineKind:
    LINE_UNKNOWN = 1            # nothing that is understood
    LINE_REQUEST = 2
    LINE_CONNECTION = 3         # of tcp

cdef struct LogLine:            # what a line of an access log says; a text may be empty
    Text listener
    Text client_ip
    Text method
    Text target                 # with the query, if that isn't given by itself
    Text query
    Text host
    Text referer
    Text user_agent
    uint32_t client_port
    uint64_t bytes              # of the answer
    uint64_t time_ms            # when it began, since 1970; 0: it isn't told, or not understood

cdef int parse_line(Text text, LogLine* line, Members* members, uint8_t* room) noexcept nogil
