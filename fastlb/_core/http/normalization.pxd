from fastlb._core.base.head cimport Head
from fastlb._core.base.text cimport Writer


cdef void put_length(Head* head, Writer* w) noexcept nogil
cdef void put_upgrade(Head* head, Writer* w) noexcept nogil
