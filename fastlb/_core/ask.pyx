# A policy is asked: here, on the engine's thread, or on the control plane. What it returns becomes
# a Decision.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc
from libc.string cimport memcpy

from fastlb._core.base.enums cimport STAGE_POLICY, STAGE_REQUEST
from fastlb._core.base.head cimport Text
from fastlb._core.base.mem cimport chunk_bytes
from fastlb._core.base.net cimport address_port
from fastlb._core.base.routing cimport (
    DECISION_POOL, DECISION_REPLY, DECISION_ROUTE, EDIT_ADD, EDIT_REMOVE, EDIT_SET, Decision, Edit,
    PART_TEXT, Part, Policy,
)
from fastlb._core.base.sys cimport clock_ns
from fastlb._core.base.turn cimport enter_turn, leave_turn
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, fl_store64, unlikely
from fastlb._core.facts cimport make_request
from fastlb._core.http.decided cimport as_the_route_says, failed, give_decision
from fastlb._core.questions cimport ask_control, stop_asking
from fastlb._core.tables.caller cimport Caller
from fastlb._core.tables.hashring cimport crc32
from fastlb._core.tables.live cimport Live, Pool, Server


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
    """What a policy returned: None, the name of a pool, or what has a `_decision()`. Raises
    ValueError or TypeError where it makes no sense."""
    cdef Decision* decision
    cdef Edit* edits
    cdef Part* parts
    cdef _Block block
    cdef Live live = caller.servers
    cdef Pool pool
    cdef Server server
    cdef size_t size, n_edits
    if result is None:
        return as_the_route_says()
    if type(result) is str:
        fields = (result, None, None, None, (), ())
    else:
        say = getattr(result, "_decision", None)
        if say is None:
            raise TypeError(f"a policy can't return {result!r}")
        fields = say()
    name, address, key, reply, request_edits, response_edits = fields
    n_edits = len(request_edits) + len(response_edits)
    size = sum([len(text) for text in reply[1:]]) if reply is not None else 0
    for op, field, value in (*request_edits, *response_edits):
        size += len(field) + len(value)
    if name is not None and not live.has_pool(name):
        raise ValueError(f"there is no pool {name!r}")
    decision = <Decision*> calloc(
        1, sizeof(Decision) + n_edits * (sizeof(Edit) + sizeof(Part)) + size)
    if decision == NULL:
        raise MemoryError
    decision.users = 1
    decision.kind = DECISION_ROUTE
    edits = <Edit*> (decision + 1)
    parts = <Part*> (edits + n_edits)
    block = _Block()
    block.at = <uint8_t*> (parts + n_edits)
    block.end = block.at + size
    if reply is not None:
        decision.kind = DECISION_REPLY
        decision.reply.status = reply[0]
        decision.reply.content_type = block.text(reply[1])
        decision.reply.content = block.text(reply[2])
        decision.reply.lines = block.text(reply[3])
    elif name is not None:
        decision.kind = DECISION_POOL
        pool = live.pool(name)
        decision.pool = &pool.live
        if address is not None:
            if not live.knows(name, address):
                raise ValueError(f"pool {name!r} has no server {address!r}")
            server = live.server(name, address)
            decision.server = &server.live
        if key is not None:
            decision.is_hashed = True
            decision.hash = crc32(<const uint8_t*> <const char*> key, len(key))
    decision.request_edits = edits
    decision.n_request_edits = <uint32_t> len(request_edits)
    decision.response_edits = edits + decision.n_request_edits
    decision.n_response_edits = <uint32_t> len(response_edits)
    for i, (op, field, value) in enumerate((*request_edits, *response_edits)):
        edits[<size_t> i].op = _OPS[op]
        edits[<size_t> i].name = block.text(field)
        edits[<size_t> i].value.n_parts = 1
        edits[<size_t> i].value.parts = &parts[<size_t> i]
        parts[<size_t> i].kind = PART_TEXT
        parts[<size_t> i].text = block.text(value)
    return decision


cdef Decision* _call(Core* core, Exchange* x) noexcept with gil:
    """NULL: it failed, and that is told."""
    cdef Caller caller = <Caller> x.policy.caller
    cdef uint32_t head = core.http.head.size
    cdef uint32_t size = x.input.end - x.input.start
    if size > head + x.policy.body_max:
        size = head + x.policy.body_max
    try:
        return decision_of(caller, caller.function(make_request(
            caller, chunk_bytes(x.input) + x.input.start, head, size, x.client_ip,
            x.client_ip_size, address_port(&x.peer))))
    except Exception as error:
        try:
            caller.failed(error)
        except Exception:
            pass                        # (a logger that fails; there is nobody left to tell)
        return NULL


cdef void _ask_here(Core* core, Exchange* x) noexcept nogil:
    cdef Policy* policy = x.policy
    cdef uint64_t begin_ns = clock_ns()
    cdef Decision* decision
    core.asked_policy = policy.id
    fl_store64(&core.asked_ns, begin_ns)
    leave_turn(core)                    # what it does may fork, or wait for a fork of others
    decision = _call(core, x)
    enter_turn(core)
    fl_store64(&core.asked_ns, 0)
    if clock_ns() - begin_ns > <uint64_t> policy.deadline_ms * 1000000:
        fl_count(&policy.live.counters[core.id].late, 1)
        if decision != NULL:
            give_decision(decision)
        decision = failed()
    elif decision == NULL:
        fl_count(&policy.live.counters[core.id].failures, 1)
        decision = failed()
    x.decision = decision
    core.now_ns = clock_ns()
    core.now_ms = core.now_ns // 1000000


cdef bint ask(Core* core, Exchange* x) noexcept nogil:
    """Whether the answer is there, and the request goes on."""
    cdef Policy* policy = x.policy
    fl_count(&policy.live.counters[core.id].calls, 1)
    if policy.is_sync:
        _ask_here(core, x)
        return True
    if unlikely(not ask_control(core, x)):
        fl_count(&policy.live.counters[core.id].refused, 1)
        x.decision = failed()
        return True
    x.stage = STAGE_POLICY
    return False


cdef void give_up_asking(Core* core, Exchange* x) noexcept nogil:
    """Its deadline is over."""
    fl_count(&x.policy.live.counters[core.id].late, 1)
    stop_asking(core, x)
    x.decision = failed()
    x.stage = STAGE_REQUEST
