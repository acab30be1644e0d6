from fastlb._core.base.types cimport Core, Exchange, PoolEntry

cdef Exchange* copy_request(Core* core, Exchange* x, PoolEntry* pool) noexcept nogil
