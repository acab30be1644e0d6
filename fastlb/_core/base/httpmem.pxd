# Requests and server connections from free lists of one engine.
from fastlb._core.base.types cimport Core, Exchange, Http, Upstream


cdef Http* take_http(Core* core, Exchange* x) noexcept nogil
cdef void give_http(Core* core, Http* http) noexcept nogil
cdef Upstream* take_upstream(Core* core) noexcept nogil
cdef void give_upstream(Core* core, Upstream* upstream) noexcept nogil
cdef void free_http(Core* core) noexcept nogil
