from fastlb._core.base.types cimport Acceptor, BindEntry, Core, Exchange

cdef int accept_step(Core* core, Acceptor* acceptor, Exchange** accepted) noexcept nogil
cdef bint have_scratch(Core* core, BindEntry* bind) noexcept nogil
cdef void begin(Core* core, Exchange* x) noexcept nogil
cdef void begin_first(Core* core, Exchange* x) noexcept nogil
cdef void belong(Exchange* x, BindEntry* bind) noexcept nogil
cdef bint is_let_in(Core* core, Exchange* x) noexcept nogil
cdef bint secure_or_begin(Core* core, Exchange* x) noexcept nogil
