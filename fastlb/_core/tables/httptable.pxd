from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.routing cimport (
    Condition, EditList, HttpEntry, Network, Policy, Reply, Retry, Route, Share,
    StatusSet,
)
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.live cimport Live


cdef FactRef fact_ref(Arena arena, object spec)
cdef int pool_index(object index, int n_pools) except -1
cdef Share* share_table(Arena arena, object specs, int n_pools) except NULL
cdef Condition* condition_table(Arena arena, object specs, Route* routes) except NULL
cdef Network* network_table(Arena arena, object specs) except NULL
cdef int fill_statuses(StatusSet* into, object statuses) except -1
cdef EditList edit_list(Arena arena, object specs)
cdef int fill_reply(Arena arena, Reply* reply, object spec) except -1
cdef int fill_retry(Retry* into, object spec) except -1
cdef HttpEntry* http_table(Live live, Arena arena, object spec, int n_pools) except NULL
cdef Policy* policy_table(Live live, Arena arena, object spec, int on_close,
                         int n_pools) except NULL
