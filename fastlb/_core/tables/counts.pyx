# What all engines together have counted, as it is now.

from fastlb._core.base.limits cimport SERIES_SLOTS
from fastlb._core.base.observations cimport SERIES_GRPC, SERIES_UNANSWERED, Histogram, SeriesSlot
from fastlb._core.base.parts cimport Counters
from fastlb._core.ext.atomic cimport fl_load_pointer, fl_read
from fastlb._core.tables.histogram cimport Times
from fastlb._core.tables.live cimport Live

from fastlb._core.tables.reasons import REASONS as _REASONS


# Why datagrams go nowhere: Drop of base/sessions.
DROPS = ("sessions_full", "source_full", "loop", "from_server", "no_server", "to_server",
         "to_client", "unasked", "policy", "stopping", "proxy_header", "denied", "source_rate")


def series_of(Live live) -> tuple:
    """({(listener, route, pool): {code: n}}, the same for calls of gRPC, {(listener, route, pool):
    Times}, n): ends by their codes, which are statuses (0: no answer), or 1000 and a reason for
    sessions of tcp; calls, which are among them, by gRPC's status; how long all of them took; and
    how many were of kinds that there was no room for."""
    cdef SeriesSlot* slots
    cdef SeriesSlot* slot
    cdef Histogram* durations
    cdef Times times
    cdef int i, k
    counts, calls, durations_of, others = {}, {}, {}, 0
    for i in range(live.engines):
        others += fl_read(&live.table.series[i].others)
        slots = <SeriesSlot*> fl_load_pointer(<void**> &live.table.series[i].slots)
        if slots == NULL:
            continue
        for k in range(SERIES_SLOTS):
            slot = &slots[k]
            durations = <Histogram*> fl_load_pointer(<void**> &slot.durations)
            if durations == NULL:
                continue
            key = (live.names.name(slot.listener), live.names.name(slot.route),
                   live.names.name(slot.pool))
            if slot.code >= SERIES_GRPC:
                codes = calls.setdefault(key, {})
                code = slot.code - SERIES_GRPC
                codes[code] = codes.get(code, 0) + fl_read(&slot.count)
                continue
            if slot.code:
                codes = counts.setdefault(key, {})
                code = 0 if slot.code == SERIES_UNANSWERED else slot.code
                codes[code] = codes.get(code, 0) + fl_read(&slot.count)
                continue
            times = durations_of.get(key)
            if times is None:
                times = durations_of[key] = Times()
            times.add(durations)
    return counts, calls, durations_of, others


cdef dict totals_of(const Counters* counters):
    """What has happened on one engine since its start, by name."""
    cdef int i
    totals = {
        "turns": fl_read(&counters.turns),
        "accepted": fl_read(&counters.accepted),
        "accept_errors": fl_read(&counters.accept_errors),
        "connect_failures": fl_read(&counters.connect_failures),
        "requests": fl_read(&counters.requests),
        "hedged": fl_read(&counters.hedged),
        "hedges_won": fl_read(&counters.hedges_won),
        "hedges_denied": fl_read(&counters.hedges_denied),
        "retries": fl_read(&counters.retries),
        "retries_denied": fl_read(&counters.retries_denied),
        "keys_missing": fl_read(&counters.keys_missing),
        "places_found": fl_read(&counters.places_found),
        "places_unknown": fl_read(&counters.places_unknown),
        "denials_reported": fl_read(&counters.denials_reported),
        "mirrored": fl_read(&counters.mirrored),
        "mirrors_dropped": fl_read(&counters.mirrors_dropped),
        "compressed": fl_read(&counters.compressed),
        "compressed_in": fl_read(&counters.compressed_in),
        "compressed_out": fl_read(&counters.compressed_out),
        "compressions_denied": fl_read(&counters.compressions_denied),
        "bodies_unread": fl_read(&counters.bodies_unread),
        "protocols_unknown": fl_read(&counters.protocols_unknown),
        "proxy_headers": fl_read(&counters.proxy_headers),
        "h2_abused": fl_read(&counters.h2_abused),
        "handshakes": fl_read(&counters.handshakes),
        "resumed": fl_read(&counters.resumed),
        "handshakes_failed": fl_read(&counters.handshakes_failed),
        "server_handshakes": fl_read(&counters.server_handshakes),
        "server_resumed": fl_read(&counters.server_resumed),
        "server_handshakes_failed": fl_read(&counters.server_handshakes_failed),
    }
    for i, name in enumerate(DROPS):
        totals[f"dropped_{name}"] = fl_read(&counters.dropped[i])
    for name, reason in _REASONS.items():
        totals[f"ended_{name}"] = fl_read(&counters.ended[<int> reason])
    return totals
