# Connections of HTTP/2 to servers, which requests share. Each engine has its own.
from fastlb._core.base.types cimport Core, Exchange, H2


cdef H2* find_h2(Core* core, Exchange* x) noexcept nogil
cdef H2* add_h2(Core* core, Exchange* x) noexcept nogil
cdef bint join_h2(Core* core, Exchange* x, H2* h2) noexcept nogil
cdef bint rest_or_work(Core* core, H2* h2) noexcept nogil
cdef void leave_h2(Core* core, Exchange* x) noexcept nogil
