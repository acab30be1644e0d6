from fastlb._core.base.head cimport Text

cdef Text reason_text(int reason) noexcept nogil
