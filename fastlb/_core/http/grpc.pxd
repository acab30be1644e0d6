# What is different when a request is a call of gRPC (its PROTOCOL-HTTP2.md): how long it may take
# stands in its head, how it went in the answer's trailers, and errors are answers of 200.
from libc.stdint cimport uint16_t, uint32_t, uint8_t

from fastlb._core.base.routing cimport HttpEntry
from fastlb._core.base.text cimport Text, Writer
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.http.edits cimport Edits


cdef bint is_grpc(Text content_type) noexcept nogil
cdef uint16_t grpc_timer(Core* core, const HttpEntry* entry) noexcept nogil
cdef void note_grpc_head(Core* core, Http* http) noexcept nogil
cdef void note_grpc_trailers(Http* http, const uint8_t* section, uint32_t size) noexcept nogil
cdef uint32_t grpc_status(const Exchange* x, int reason) noexcept nogil
cdef void put_grpc_error(Core* core, Exchange* x, const char* phrase, const Edits* edits,
                         Writer* w) noexcept nogil
