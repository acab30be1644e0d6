# Asks a policy, on the engine's thread or on the control plane, and makes a Decision
# of what it returns.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from fastlb._core.base.clock cimport engine_ns
from fastlb._core.base.enums cimport (
    ERROR, EXCHANGE_HTTP, HANGUP, PEER_SHUT, REASON_CLIENT_GONE, STAGE_FIRST, STAGE_POLICY,
    STAGE_REQUEST,
)
from fastlb._core.base.facts cimport FactRef
from fastlb._core.base.flow cimport broken
from fastlb._core.base.head cimport Head, Text
from fastlb._core.base.mem cimport chunk_bytes
from fastlb._core.base.parts cimport About
from fastlb._core.base.questions cimport Question
from fastlb._core.base.routing cimport (
    CLOSE_CANCELS_HALF, DECISION_POOL, DECISION_REPLY, DECISION_ROUTE, Decision, EDIT_ADD,
    EDIT_REMOVE, EDIT_SET, Edit, Policy,
)
from fastlb._core.base.sys cimport clock_ns
from fastlb._core.base.text cimport text_of
from fastlb._core.base.tls cimport tls_forget
from fastlb._core.base.turn cimport enter_turn, leave_turn
from fastlb._core.base.types cimport Acceptor, Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_store64, unlikely
from fastlb._core.ext.linux cimport _exit
from fastlb._core.facts.about cimport about_drop, about_take
from fastlb._core.http.decision cimport (
    as_the_route_says, close_it, failed, give_decision, shown_body, wants_more,
)
from fastlb._core.policy.questions cimport ask_control, make_question, stop_asking, take_questions
from fastlb._core.policy.request cimport keep_head, kept_bytes, make_connection, make_request
from fastlb._core.tables.caller cimport Caller
from fastlb._core.tables.hashring cimport crc32
from fastlb._core.tables.live cimport Live
from fastlb._core.tables.states cimport Pool, Server


# --- what it returned ---

cdef class _Block:
    """Room for a decision and all that it refers to, handed out from front to back."""

    cdef uint8_t* at
    cdef uint8_t* end

    cdef Text text(self, bytes text) except *:
        cdef Text made
        cdef uint32_t size = <uint32_t> len(text)
        if size > self.end - self.at:
            raise MemoryError
        memcpy(self.at, <const char*> text, size)
        made.at = self.at
        made.size = size
        self.at += size
        return made


_OPS = {"set": EDIT_SET, "add": EDIT_ADD, "remove": EDIT_REMOVE}


cdef Decision* decision_of(Caller caller, object result) except NULL:
    """What a policy returned: None, the name of a pool, or what has a `_decided`. Raises ValueError
    or TypeError where it makes no sense."""
    cdef tuple fields
    if result is None:
        return as_the_route_says()
    if type(result) is str:
        return _to_pool(caller, result, None, None, NULL)
    decided = getattr(result, "_decided", None)
    if type(decided) is str:
        if not caller.of_connections:
            raise TypeError(f"only the policy of a tcp listener can return {result!r}")
        return wants_more() if decided == "more" else close_it()
    if type(decided) is not tuple:
        hint = ""
        if hasattr(result, "__await__"):
            hint = ": it runs an async function and is none itself; write it with async def"
            getattr(result, "close", bool)()
        raise TypeError(f"a policy can't return {result!r}{hint}")
    fields = decided
    name, address, key, reply, request_edits, response_edits = fields
    if reply is None and not request_edits and not response_edits:
        return as_the_route_says() if name is None else _to_pool(caller, name, address, key, NULL)
    if caller.of_connections:
        raise TypeError(f"the policy of a tcp listener can't return {result!r}")
    return _with_texts(caller, fields)


cdef Decision* _to_pool(Caller caller, str name, str address, bytes key,
                        Decision* decision) except NULL:
    """Of a decision that is there already, or a new one."""
    cdef Live live = caller.servers
    cdef Pool pool
    cdef Server server = None
    pool = live.known_pool(name)
    if pool is None:
        raise ValueError(f"there is no pool {name!r}")
    if address is not None:
        if not live.knows(name, address):
            raise ValueError(f"pool {name!r} has no server {address!r}")
        server = live.server(name, address)
    if decision == NULL:
        decision = <Decision*> calloc(1, sizeof(Decision))
        if decision == NULL:
            raise MemoryError
        decision.users = 1
    decision.kind = DECISION_POOL
    decision.pool = &pool.live
    if server is not None:
        decision.server = &server.live
    if key is not None:
        decision.is_hashed = True
        decision.hash = crc32(<const uint8_t*> <const char*> key, len(key))
    return decision


cdef Decision* _with_texts(Caller caller, tuple fields) except NULL:
    """An answer, or other header fields: texts, which follow the decision in its memory."""
    cdef Decision* decision
    cdef Edit* edits
    cdef FactRef* parts
    cdef _Block block
    cdef size_t size, n_edits, i = 0
    name, address, key, reply, request_edits, response_edits = fields
    n_edits = len(request_edits) + len(response_edits)
    size = sum([len(text) for text in reply[1:]]) if reply is not None else 0
    for op, field, value in (*request_edits, *response_edits):
        size += len(field) + len(value)
    decision = <Decision*> calloc(
        1, sizeof(Decision) + n_edits * (sizeof(Edit) + sizeof(FactRef)) + size)
    if decision == NULL:
        raise MemoryError
    decision.users = 1
    decision.kind = DECISION_ROUTE
    edits = <Edit*> (decision + 1)
    parts = <FactRef*> (edits + n_edits)
    block = _Block()
    block.at = <uint8_t*> (parts + n_edits)
    block.end = block.at + size
    decision.request_edits.all = edits
    decision.request_edits.n = <uint32_t> len(request_edits)
    decision.response_edits.all = edits + decision.request_edits.n
    decision.response_edits.n = <uint32_t> len(response_edits)
    try:
        if reply is not None:
            decision.kind = DECISION_REPLY
            decision.reply.status = reply[0]
            decision.reply.content_type = block.text(reply[1])
            decision.reply.content = block.text(reply[2])
            decision.reply.lines = block.text(reply[3])
        elif name is not None:
            _to_pool(caller, name, address, key, decision)
        for op, field, value in (*request_edits, *response_edits):
            edits[i].op = _OPS[op]
            edits[i].name = block.text(field)
            edits[i].value.n_parts = 1
            edits[i].value.parts = &parts[i]
            parts[i].name = block.text(value)       # (FACT_NONE: a text)
            i += 1
    except BaseException:
        free(decision)
        raise
    return decision


# --- on the engine's thread ---

cdef inline Text _shown(Core* core, Exchange* x) noexcept nogil:
    return shown_body(x.policy, &core.http.head, &core.http.match)


cdef int _local_fd(const Exchange* x) noexcept nogil:
    """The socket that its client has connected to, or sends to."""
    if x.session != NULL:
        return (<Acceptor*> x.session.acceptor).stream.fd
    return x.carrier.client.fd if x.carrier != NULL else x.client.fd


cdef uint32_t _first(Exchange* x) noexcept nogil:
    """Bytes of x.input, of tcp, that its policy gets to see; of udp it is a datagram."""
    cdef uint32_t size = x.input.end - x.input.start if x.input != NULL else 0
    if x.bind.udp != NULL or size < x.policy.body_max:
        return size
    return x.policy.body_max


cdef object _about(Core* core, Exchange* x, Caller caller):
    """The Request or Connection that it is asked about."""
    cdef About about
    cdef const uint8_t* data = NULL
    cdef uint32_t size = 0
    try:
        if not about_take(core, x, -1 if x.flags & EXCHANGE_HTTP else _local_fd(x), &about):
            raise MemoryError
        if x.flags & EXCHANGE_HTTP:
            return make_request(caller, &core.http.head, _shown(core, x), &about)
        if x.input != NULL:
            data = chunk_bytes(x.input) + x.input.start
            size = _first(x)
        return make_connection(caller, data, size, &about)
    finally:
        about_drop(&about)


cdef Decision* _call(Core* core, Exchange* x) noexcept with gil:
    """NULL: it failed, and that is told."""
    cdef Caller caller = <Caller> x.policy.caller
    try:
        return decision_of(caller, caller.function(_about(core, x, caller)))
    except BaseException as error:
        try:
            caller.failed(error)
        except Exception:
            pass                        # (a logger that fails; there is nobody left to tell)
        return NULL


cdef void _ask_here(Core* core, Exchange* x) noexcept nogil:
    cdef Policy* policy = x.policy
    cdef uint64_t begin_ns = clock_ns()
    cdef uint64_t end_ns
    cdef Decision* decision
    core.asked_policy = policy.id
    fl_store64(&core.asked_ns, begin_ns)
    leave_turn(core)                    # what it does may fork, or wait for a fork of others
    decision = _call(core, x)
    if unlikely(core.abandoned):        # it has forked, and this is the child: there is no engine
        _exit(0)                        # to go back to, and its thread is the only one
    enter_turn(core)
    tls_forget()
    fl_store64(&core.asked_ns, 0)
    end_ns = clock_ns()
    core.now_ns = engine_ns(core)
    core.now_ms = core.now_ns // 1000000
    if unlikely(end_ns - begin_ns > <uint64_t> policy.deadline_ms * 1000000):
        fl_count(&policy.live.counters[core.id].late, 1)
        if decision != NULL:
            give_decision(decision)
        decision = failed()
    elif unlikely(decision == NULL):
        fl_count(&policy.live.counters[core.id].failures, 1)
        decision = failed()
    x.decision = decision


# --- on the control plane ---

cdef void _free(Question* question) noexcept nogil:
    about_drop(&question.about)
    free(question)


cdef Question* _question(Core* core, Exchange* x) noexcept nogil:
    cdef bint is_http = x.flags & EXCHANGE_HTTP != 0
    cdef Question* question
    cdef Text body
    cdef uint32_t size
    if is_http:
        body = _shown(core, x)
        size = core.http.head.size + body.size
        question = make_question(core, x, kept_bytes(&core.http.head, body))
    else:
        size = _first(x)
        question = make_question(core, x, size)
    if question == NULL:
        return NULL
    question.size = size
    if not about_take(core, x, -1 if is_http else _local_fd(x), &question.about):
        _free(question)
        return NULL
    if is_http:
        keep_head(<Head*> (question + 1), &core.http.head, body)
    elif size:
        memcpy(<uint8_t*> (question + 1), chunk_bytes(x.input) + x.input.start, size)
    return question


cdef bint ask(Core* core, Exchange* x) noexcept nogil:
    """Ask x.policy about the request in core.http, or the bytes in x.input: whether the answer is
    there already."""
    cdef Policy* policy = x.policy
    cdef Question* question
    fl_count(&policy.live.counters[core.id].calls, 1)
    if policy.is_sync:
        _ask_here(core, x)
        return True
    question = _question(core, x)
    if unlikely(question == NULL or not ask_control(core, x, question)):
        if question != NULL:
            _free(question)
        fl_count(&policy.live.counters[core.id].refused, 1)
        x.decision = failed()
        return True
    x.stage = STAGE_POLICY
    if x.flags & EXCHANGE_HTTP:         # who had no more to say when it asked isn't gone
        x.half_closed = x.client.ready & PEER_SHUT != 0
    return False


cdef void give_up_asking(Core* core, Exchange* x) noexcept nogil:
    """Its deadline is over."""
    fl_count(&x.policy.live.counters[core.id].late, 1)
    stop_asking(core, x, True)
    x.decision = failed()
    x.stage = STAGE_REQUEST if x.flags & EXCHANGE_HTTP else STAGE_FIRST


cdef bint has_left(Exchange* x) noexcept nogil:
    """Whether the client is gone while a policy decides about it: x.reason."""
    if x.client.ready & ERROR:
        broken(x, &x.client)
        return True
    if x.client.ready & HANGUP or (
            x.client.ready & PEER_SHUT and x.policy.on_close == CLOSE_CANCELS_HALF
            and not x.half_closed):
        x.reason = REASON_CLIENT_GONE
        return True
    return False


cdef object _asked_about(Caller caller, Question* question):
    cdef const Head* head = <const Head*> (question + 1)
    cdef Text body
    if caller.of_connections:
        return make_connection(
            caller, <const uint8_t*> (question + 1), question.size, &question.about)
    body = text_of(head.bytes + head.size, question.size - head.size)
    return make_request(caller, head, body, &question.about)


def questions(Live live, callers) -> list[tuple]:
    """What engines want to know of policies on the control plane, the earliest first: (engine,
    ticket, exchange, caller, what it is about, whether its deadline is over), where what it is
    about is None if the question is withdrawn. `callers` has them by their ids; what is asked of
    others is dropped."""
    cdef Question* question = take_questions(&live.table)
    cdef Question* following
    found = []
    while question != NULL:
        following = question.next
        try:
            caller = callers.get(question.policy)
            if caller is not None or question.is_withdrawn:
                found.append((
                    question.engine, question.ticket, <size_t> question.exchange, caller,
                    None if question.is_withdrawn else _asked_about(caller, question),
                    question.is_late != 0,
                ))
        except MemoryError:
            pass                        # its deadline ends it
        _free(question)
        question = following
    return found
