from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.ranges cimport NetworkList
from fastlb._core.base.routing cimport (
    Condition, EditList, HttpEntry, Policy, Reply, Retry, Route, Share, StatusSet,
)
from fastlb._core.tables.arena cimport Arena
from fastlb._core.tables.room cimport Room


cdef FactRef fact_ref(Arena arena, object spec)
cdef Share* share_table(Room room, object specs) except NULL
cdef Condition* condition_table(Room room, object specs, Route* routes) except NULL
cdef int fill_networks(Room room, NetworkList* into, object spec) except -1
cdef int fill_statuses(StatusSet* into, object statuses) except -1
cdef EditList edit_list(Arena arena, object specs)
cdef int fill_reply(Arena arena, Reply* reply, object spec) except -1
cdef int fill_retry(Retry* into, object spec) except -1
cdef HttpEntry* http_table(Room room, object spec) except NULL
cdef Policy* policy_table(Room room, object spec) except NULL
