# Which sources may begin a session, and the places that a session takes.

from fastlb._core.base.address cimport address_plain
from fastlb._core.base.enums cimport REASON_EVICTED
from fastlb._core.base.gate cimport Gate, gate_give, gate_take
from fastlb._core.base.listeners cimport is_listening
from fastlb._core.base.net cimport address_port
from fastlb._core.base.parts cimport Address, Link
from fastlb._core.base.sessions cimport (
    DROP_LOOP, DROP_SERVER, DROP_SESSIONS, DROP_SOURCE, DROP_SOURCE_RATE, DROP_STOPPING,
    SESSION_SERVER, Session, is_server, session_oldest,
)
from fastlb._core.base.sources cimport source_give, source_take
from fastlb._core.base.types cimport Acceptor, BindEntry, Core, Exchange, Snapshot
from fastlb._core.exchange.lifecycle cimport finish
from fastlb._core.ext.atomic cimport fl_exchange32, fl_load32, likely, unlikely
from fastlb._core.http.sources cimport is_too_fast
from fastlb._core.tables.live cimport live_notify


cdef int is_refused(Core* core, Acceptor* acceptor, const Address* peer) noexcept nogil:
    """Return why a session with this source is refused (Drop), or -1."""
    cdef Address plain = peer[0]
    cdef int port = address_port(peer)
    address_plain(&plain)
    if core.closing or acceptor.is_dropped:
        return DROP_STOPPING
    if port == 0 or fl_load32(&core.live.own_ports[port]) == port_mark(&plain) \
            or is_listening(core.datagrams, &plain):
        return DROP_LOOP
    if is_server(acceptor.bind.udp, &plain):
        return DROP_SERVER
    return -1


cdef bint _take(Core* core, Gate* gate, int limit, const Link* waiting) noexcept nogil:
    """A place, that of the oldest session without an answer if need be. A source that was made up
    is never answered, or its session is of a server's that anybody can have answer."""
    cdef Session* oldest
    if likely(gate_take(gate, limit)):
        return True
    if fl_load32(&core.live.crowded) == 0 and fl_exchange32(&core.live.crowded, 1) == 0:
        live_notify(core.live)
    oldest = session_oldest(waiting)
    if oldest == NULL:
        return False
    (<Exchange*> oldest.exchange).reason = REASON_EVICTED
    finish(core, <Exchange*> oldest.exchange)
    return gate_take(gate, limit)


cdef int take_places(Core* core, Acceptor* acceptor, const Address* peer) noexcept nogil:
    """Take the places of one session more: Drop, or -1. Those of its source come first: a source
    that has as many as it may ends nobody else's."""
    cdef Snapshot* snapshot = <Snapshot*> core.snapshot
    cdef BindEntry* bind = acceptor.bind
    cdef Link* waiting = &core.datagrams.waiting
    if unlikely(bind.access != NULL) and bind.udp.kind != SESSION_SERVER \
            and is_too_fast(core, bind, peer):
        return DROP_SOURCE_RATE
    if counts_sources(bind) and not source_take(
            &bind.listener.sources, peer, bind.udp.source_max):
        return DROP_SOURCE
    if _take(core, &bind.listener.connections, bind.max_connections, &acceptor.waiting):
        if _take(core, &core.live.sessions, snapshot.max_sessions, waiting):
            if _take(core, &core.live.connections, snapshot.max_connections, waiting):
                return -1
            gate_give(&core.live.sessions)
        gate_give(&bind.listener.connections)
    if counts_sources(bind):
        source_give(&bind.listener.sources, peer)
    return DROP_SESSIONS


cdef void give_places(Core* core, Acceptor* acceptor, const Address* peer) noexcept nogil:
    """Give back what take_places took for a session that could not be made."""
    cdef BindEntry* bind = acceptor.bind
    if counts_sources(bind):
        source_give(&bind.listener.sources, peer)
    gate_give(&bind.listener.connections)
    gate_give(&core.live.sessions)
    gate_give(&core.live.connections)
