# Deny requests by lists of networks.
# request: ANSWER with 403 where the route doesn't serve the client, as trusted proxies saw it.
from fastlb._core.base.access cimport Access
from fastlb._core.base.enums cimport ANSWER, NEXT, REASON_DENIED
from fastlb._core.base.filters cimport (
    FILTER_ALLOW, FILTER_DENY, FilterKind, register_filter,
)
from fastlb._core.base.parts cimport Address
from fastlb._core.base.routing cimport Filter
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.facts.client cimport client_address
from fastlb._core.http.sources cimport is_on_list
from fastlb._core.tables.httptable cimport fill_networks
from fastlb._core.tables.room cimport Room

cdef FilterKind _kind           # of both: what differs is in their tables


cdef int _on_request(Core* core, Exchange* x, const Filter* filter, void* given) noexcept nogil:
    cdef Address address
    if not client_address(x, &address):
        address.family = 0              # (in no network, and not served where only some are)
    if is_on_list(core, x.bind, <const Access*> filter.table, &address):
        x.status = 403
        x.reason = REASON_DENIED
        return ANSWER
    return NEXT


cdef void* _make_deny(object room, object spec) except? NULL:
    cdef Access* access = <Access*> (<Room> room).take(1, sizeof(Access))
    fill_networks(room, &access.deny, spec.networks)
    access.deny_reports = spec.report
    return access


cdef void* _make_allow(object room, object spec) except? NULL:
    cdef Access* access = <Access*> (<Room> room).take(1, sizeof(Access))
    fill_networks(room, &access.allow, spec.networks)
    access.allow_reports = spec.report
    return access


_kind.request = _on_request
register_filter(FILTER_DENY, "deny", &_kind, _make_deny)
register_filter(FILTER_ALLOW, "allow", &_kind, _make_allow)
