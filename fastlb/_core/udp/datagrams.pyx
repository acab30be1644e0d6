# Datagrams both ways: received many at a time, sorted by session, sent many at a time. What is
# heard in a turn leaves in that turn; nothing is kept, so that nobody is waited for.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastlb._core.base.address cimport address_plain
from fastlb._core.base.batch cimport (
    Batch, batch_bytes, batch_client, batch_count, batch_cut, batch_receive, batch_receive_one,
    is_gone, sending_flush, sending_put,
)
from fastlb._core.base.enums cimport (
    POLLER_EPOLL, REASON_CONNECT_REFUSED, REASON_DONE, REASON_SERVER_RESET, STAGE_SESSION,
)
from fastlb._core.base.limits cimport (
    ANSWERS_MAX, DATAGRAMS_MAX, GATHERED_MIN, HEARD_MAX, RECEIVES_MAX, RESUME_MS,
)
from fastlb._core.base.net cimport net_gather, net_write_datagram
from fastlb._core.base.parts cimport Address
from fastlb._core.base.poller cimport poller_add_level, poller_remove
from fastlb._core.base.random cimport random64
from fastlb._core.base.sessions cimport (
    DROP_DENIED, DROP_NO_SERVER, DROP_POLICY, DROP_TO_CLIENT, DROP_TO_SERVER, DROP_UNASKED,
    Datagrams, SESSION_ANSWERED, SESSION_APART, SESSION_ASKED, SESSION_CLIENT, SESSION_GATHERS,
    SESSION_QUERY, SESSION_SERVER, SESSION_TRIAL, Session, datagrams_close, datagrams_open,
    same_address, session_at, session_key,
)
from fastlb._core.base.timers cimport timer_touch
from fastlb._core.base.types cimport Acceptor, Core, Exchange, Snapshot, Stream
from fastlb._core.exchange.lifecycle cimport finish, let_server_go
from fastlb._core.ext.atomic cimport fl_count, likely, unlikely
from fastlb._core.http.sources cimport is_on_list
from fastlb._core.udp.admission cimport is_refused
from fastlb._core.udp.drops cimport drop
from fastlb._core.udp.policy cimport CONSULTED_GO, consult_session
from fastlb._core.udp.proxy_header cimport send_introduced, unwrap
from fastlb._core.udp.sessions cimport (
    begin_session, choose_server, move_session, server_answered, server_has_left, server_is_gone,
)


cdef bint begin_datagrams(Core* core) noexcept nogil:
    """Memory for them, once there is a listener; False when there is none left."""
    if core.datagrams != NULL:
        return True
    core.datagrams = <Datagrams*> calloc(1, sizeof(Datagrams))
    if core.datagrams == NULL:
        return False
    if datagrams_open(core.datagrams, random64(core)):
        return True
    end_datagrams(core)
    return False


cdef void end_datagrams(Core* core) noexcept nogil:
    if core.datagrams != NULL:
        datagrams_close(core.datagrams)
        free(core.datagrams)
        core.datagrams = NULL


# --- from clients ---

cdef Exchange* _find(Core* core, Acceptor* acceptor, const Address* peer, const Address* client,
                     const void* towards) noexcept nogil:
    """`peer`: NULL where all that goes to one server is of one session."""
    cdef uint64_t key = session_key(core.datagrams, acceptor.id, peer, client, towards)
    cdef Session* session = session_at(core.datagrams, key)
    cdef Exchange* x
    while session != NULL:
        if session.key == key and session.acceptor == acceptor and session.towards == towards:
            x = <Exchange*> session.exchange
            if peer == NULL or likely(same_address(&session.sender, peer) and (
                    client == peer or same_address(&x.peer, client))):
                return x
        session = session.next
    return NULL


cdef Exchange* _decide(Core* core, Acceptor* acceptor, uint32_t slot) noexcept nogil:
    """Where each datagram is decided about: pick its server, and then find who goes there."""
    cdef Exchange chosen
    cdef Exchange* x
    cdef int kind = acceptor.bind.udp.kind
    cdef const Address* peer = &core.datagrams.incoming.peers[slot]
    cdef const Address* client = batch_client(&core.datagrams.incoming, slot)
    memset(&chosen, 0, sizeof(chosen))
    chosen.peer = client[0]
    address_plain(&chosen.peer)
    chosen.bind = acceptor.bind
    chosen.pool = acceptor.bind.pool
    chosen.listener = acceptor.bind.listener
    chosen.snapshot = <Snapshot*> core.snapshot
    chosen.client.fd = acceptor.stream.fd       # (where it came to)
    if unlikely(acceptor.bind.policy != NULL) and consult_session(
            core, acceptor, &chosen, slot) != CONSULTED_GO:
        drop(core, acceptor, DROP_POLICY, batch_count(&core.datagrams.incoming, slot))
        return NULL
    if not choose_server(core, &chosen):
        drop(core, acceptor, DROP_NO_SERVER, batch_count(&core.datagrams.incoming, slot))
        return NULL
    if kind == SESSION_QUERY:
        return begin_session(core, acceptor, slot, &chosen)
    if kind == SESSION_SERVER:
        peer = NULL                     # (all clients share the one)
    x = _find(core, acceptor, peer, client, chosen.attempt.target)
    if x == NULL:
        return begin_session(core, acceptor, slot, &chosen)
    let_server_go(core, &chosen)
    return x


cdef Exchange* _session_of(Core* core, Acceptor* acceptor, uint32_t slot) noexcept nogil:
    """NULL: it goes nowhere, which is counted."""
    cdef const Address* peer = &core.datagrams.incoming.peers[slot]
    cdef Exchange* x
    cdef int why
    if unlikely(acceptor.bind.proxy != NULL) and not unwrap(core, acceptor, slot):
        return NULL
    if likely(acceptor.bind.udp.kind == SESSION_CLIENT):
        x = _find(core, acceptor, peer, batch_client(&core.datagrams.incoming, slot), NULL)
        if likely(x != NULL):
            if likely(x.stage == STAGE_SESSION):
                return x
            drop(core, acceptor, DROP_POLICY, batch_count(&core.datagrams.incoming, slot))
            return NULL
    why = is_refused(core, acceptor, peer)
    if unlikely(acceptor.bind.access != NULL) and why < 0 and is_on_list(
            core, acceptor.bind, acceptor.bind.access,
            batch_client(&core.datagrams.incoming, slot)):
        why = DROP_DENIED
    if why >= 0:
        drop(core, acceptor, why, batch_count(&core.datagrams.incoming, slot))
        return NULL
    if acceptor.bind.udp.kind == SESSION_CLIENT:
        return begin_session(core, acceptor, slot, NULL)
    return _decide(core, acceptor, slot)


cdef inline void _touch(Datagrams* datagrams, Session* session, uint32_t slot) noexcept nogil:
    if session.first == 0:
        session.first = slot + 1
        session.touched = datagrams.touched
        datagrams.touched = session
    else:
        datagrams.incoming.next[session.last - 1] = slot + 1
    session.last = slot + 1


cdef int _send_all(Core* core, Exchange* x, uint32_t first, uint32_t* lost) noexcept nogil:
    """0, or the -errno that says that the server is gone."""
    cdef Datagrams* datagrams = core.datagrams
    cdef Batch* incoming = &datagrams.incoming
    cdef bint whole = not x.session.flags & SESSION_APART
    cdef uint32_t slot = first
    cdef long n
    cdef int error
    if unlikely(x.session.header != NULL):
        return send_introduced(core, x, first, lost)
    if likely(incoming.next[first - 1] == 0 and incoming.segments[first - 1] == 0):
        n = net_write_datagram(x.server.fd, batch_bytes(incoming, first - 1),
                               incoming.sizes[first - 1])
        if unlikely(n < 0):
            if is_gone(n):
                return <int> n
            lost[0] += 1
        return 0
    while slot:
        sending_put(&datagrams.sending, incoming, slot - 1, NULL, NULL, whole)
        slot = incoming.next[slot - 1]
    error = sending_flush(&datagrams.sending, x.server.fd, lost, &whole)
    if not whole:
        x.session.flags |= SESSION_APART
    return error


cdef void _count_in(Core* core, Exchange* x, uint32_t first, uint32_t lost) noexcept nogil:
    cdef Batch* incoming = &core.datagrams.incoming
    cdef uint32_t slot = first
    cdef uint64_t n = 0, size = 0
    while slot:
        n += batch_count(incoming, slot - 1)
        size += incoming.sizes[slot - 1]
        slot = incoming.next[slot - 1]
    x.books.bytes_in += size
    fl_count(&x.attempt.counters.bytes_to_server, size)
    fl_count(&x.listener.counters[core.id].datagrams_in, n - lost)


cdef void _pass_on(Core* core, Session* session) noexcept nogil:
    """Send a session's datagrams of this batch to its server."""
    cdef Exchange* x = <Exchange*> session.exchange
    cdef Acceptor* acceptor = <Acceptor*> session.acceptor
    cdef uint32_t first = session.first, lost = 0
    # (where each datagram is decided about, the next one goes elsewhere by itself)
    cdef bint moves = acceptor.bind.udp.moves and session.kind == SESSION_CLIENT
    cdef int error
    session.first = 0
    session.flags |= SESSION_ASKED
    if unlikely(moves and server_has_left(x)) and not move_session(core, x):
        drop(core, acceptor, DROP_NO_SERVER, _count(core, first))
        return
    error = _send_all(core, x, first, &lost)
    if unlikely(error < 0):
        server_is_gone(core, x, error)
        if moves and server_has_left(x) and not move_session(core, x):
            drop(core, acceptor, DROP_NO_SERVER, _count(core, first))
            return
        # (what was told is of an earlier datagram; these weren't sent)
        lost = 0
        if _send_all(core, x, first, &lost) < 0:
            lost = _count(core, first)
    if unlikely(lost != 0):
        drop(core, acceptor, DROP_TO_SERVER, lost)
    _count_in(core, x, first, lost)
    timer_touch(core, &x.timer)


cdef uint32_t _count(Core* core, uint32_t first) noexcept nogil:
    cdef uint32_t slot = first, n = 0
    while slot:
        n += batch_count(&core.datagrams.incoming, slot - 1)
        slot = core.datagrams.incoming.next[slot - 1]
    return n


cdef int hear_clients(Core* core, Acceptor* acceptor) noexcept nogil:
    """A listener's socket has datagrams: send them on, by session, in the order in which they
    came. How many; with HEARD_MAX, there may be more."""
    cdef Datagrams* datagrams = core.datagrams
    cdef Batch* incoming = &datagrams.incoming
    cdef Exchange* x
    cdef Session* session
    cdef int round, n, heard = 0
    cdef uint32_t slot
    for round in range(RECEIVES_MAX):
        batch_cut(incoming, 0)
        n = batch_receive(incoming, acceptor.stream.fd, DATAGRAMS_MAX)
        if n <= 0:
            return heard                # (errors are of what was sent, and of no concern here)
        heard += n
        for slot in range(<uint32_t> n):
            x = _session_of(core, acceptor, slot)
            if likely(x != NULL):
                _touch(datagrams, x.session, slot)
        session = datagrams.touched
        datagrams.touched = NULL
        while session != NULL:
            x = <Exchange*> session.exchange
            session = session.touched
            _pass_on(core, x.session)
        if n < DATAGRAMS_MAX:
            break
    return heard


# --- resting ---

cdef void _rest(Core* core, Acceptor* acceptor, uint32_t ns) noexcept nogil:
    """Let what comes next wait in the socket for a while, so that more of it leaves at once."""
    acceptor.look_ns = core.now_ns + ns
    if core.datagrams.look_ns == 0 or acceptor.look_ns < core.datagrams.look_ns:
        core.datagrams.look_ns = acceptor.look_ns


cdef void hear_and_rest(Core* core, Acceptor* acceptor) noexcept nogil:
    """The poller tells of datagrams. These go on at once; those that follow them may be held up."""
    cdef int heard = hear_clients(core, acceptor)
    if unlikely(acceptor.bind.udp.coalesce_ns != 0) and 0 < heard < HEARD_MAX \
            and core.poller.kind == POLLER_EPOLL:
        poller_remove(&core.poller, &acceptor.stream)
        acceptor.paused = True
        _rest(core, acceptor, acceptor.bind.udp.coalesce_ns)


cdef void look_again(Core* core) noexcept nogil:
    """At listeners that have rested: whose clients are quiet by now is left to the poller."""
    cdef Acceptor* acceptor = core.acceptors
    cdef int heard
    core.datagrams.look_ns = 0
    while acceptor != NULL:
        if acceptor.look_ns > core.now_ns:
            if core.datagrams.look_ns == 0 or acceptor.look_ns < core.datagrams.look_ns:
                core.datagrams.look_ns = acceptor.look_ns
        elif acceptor.look_ns:
            acceptor.look_ns = 0
            heard = hear_clients(core, acceptor)
            if 0 < heard < HEARD_MAX and acceptor.bind.udp.coalesce_ns:
                _rest(core, acceptor, acceptor.bind.udp.coalesce_ns)
            elif likely(poller_add_level(
                    &core.poller, &acceptor.stream, acceptor.bind.shared) == 0):
                acceptor.paused = False
            else:                       # there is no memory for it: it rests on
                _rest(core, acceptor, RESUME_MS * 1000000)
        acceptor = acceptor.next


# --- from servers ---

cdef void send_answers(Core* core) noexcept nogil:
    """All that were heard in this turn, by the sockets that their clients know."""
    cdef Datagrams* datagrams = core.datagrams
    cdef Batch* answers = &datagrams.answers
    cdef uint32_t i, lost = 0
    cdef bint whole
    cdef Acceptor* acceptor
    for i in range(answers.n):
        sending_put(&datagrams.sending, answers, i, &answers.peers[i], &answers.locals[i],
                    answers.follows[i])
        if i + 1 < answers.n and answers.owners[i + 1] == answers.owners[i]:
            continue
        acceptor = <Acceptor*> answers.owners[i]
        whole = True
        lost = 0
        sending_flush(&datagrams.sending, acceptor.stream.fd, &lost, &whole)
        if unlikely(lost != 0):
            drop(core, acceptor, DROP_TO_CLIENT, lost)
    batch_cut(answers, 0)


cdef void _server_left(Core* core, Exchange* x, int error) noexcept nogil:
    """Its socket says that nobody is there. It moves with the next datagram of its client."""
    cdef Acceptor* acceptor = <Acceptor*> x.session.acceptor
    server_is_gone(core, x, error)
    if x.session.kind == SESSION_QUERY:
        x.reason = REASON_CONNECT_REFUSED
        finish(core, x)
    elif acceptor.is_dropped:
        x.reason = REASON_SERVER_RESET
        finish(core, x)
    else:
        x.session.flags &= <uint8_t> ~SESSION_TRIAL


cdef void hear_server(Core* core, Stream* s) noexcept nogil:
    """A session's server has said something."""
    cdef Exchange* x = s.exchange
    cdef Batch* answers = &core.datagrams.answers
    cdef Session* session = x.session
    cdef uint32_t first, i
    cdef uint64_t size = 0, count = 0
    cdef int n
    if unlikely(x.stage != STAGE_SESSION):
        return
    if answers.n + ANSWERS_MAX > DATAGRAMS_MAX:
        send_answers(core)
    first = answers.n
    # Most answer what they were asked, once; the others are met again, and then in bulk.
    if likely((session.flags & (SESSION_ASKED | SESSION_GATHERS)) == SESSION_ASKED):
        n = batch_receive_one(answers, s.fd)
    else:
        n = batch_receive(answers, s.fd, ANSWERS_MAX)
    session.flags &= <uint8_t> ~SESSION_ASKED
    if unlikely(n <= 0):
        if is_gone(n):
            _server_left(core, x, n)
        return
    for i in range(first, answers.n):
        answers.peers[i] = session.sender
        answers.locals[i] = session.local
        answers.owners[i] = session.acceptor
        answers.follows[i] = i > first
        size += answers.sizes[i]
        count += batch_count(answers, i)
    if unlikely(session.kind == SESSION_SERVER):
        batch_cut(answers, first)       # nobody has asked
        drop(core, <Acceptor*> session.acceptor, DROP_UNASKED, count)
        return
    if unlikely(not session.flags & SESSION_ANSWERED):
        server_answered(core, x)
    x.books.bytes_out += size
    fl_count(&x.attempt.counters.bytes_to_client, size)
    fl_count(&x.listener.counters[core.id].datagrams_out, count)
    if session.kind == SESSION_QUERY:
        _end_query(core, x, first, count)
        return
    if unlikely(n >= GATHERED_MIN and not session.flags & SESSION_GATHERS):
        session.flags |= SESSION_GATHERS
        net_gather(s.fd)
    timer_touch(core, &x.timer)


cdef void _end_query(Core* core, Exchange* x, uint32_t first, uint64_t count) noexcept nogil:
    """It has its answer, and gets no other one."""
    cdef Batch* answers = &core.datagrams.answers
    if answers.n > first + 1:
        batch_cut(answers, first + 1)
        drop(core, <Acceptor*> x.session.acceptor, DROP_UNASKED, count - 1)
    x.reason = REASON_DONE
    finish(core, x)
