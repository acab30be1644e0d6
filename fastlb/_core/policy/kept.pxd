from fastlb._core.base.head cimport Text
from fastlb._core.base.routing cimport Decision, Policy
from fastlb._core.base.types cimport Core


cdef Decision* find_kept(Core* core, const Policy* policy, Text key) noexcept nogil
cdef void keep_decision(Core* core, const Policy* policy, Text key,
                        Decision* decision) noexcept nogil
cdef void drop_kept(Core* core) noexcept nogil
