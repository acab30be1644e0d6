# Questions to policies that run on the control plane, and their answers: two stacks that are pushed
# to and taken whole, without a lock. A question has a ticket; an answer with a ticket that nobody
# holds any more is thrown away.
from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.mem cimport chunk_bytes
from fastlb._core.base.net cimport address_port
from fastlb._core.base.routing cimport Decision, Policy
from fastlb._core.base.sys cimport event_set
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Answered, Core, Exchange, LiveTable, Question
from fastlb._core.ext.atomic cimport fl_cas64, fl_load64, likely
from fastlb._core.http.decided cimport give_decision
from fastlb._core.tables.live cimport live_ask


cdef struct _Item:              # what all of them begin with
    void* next


cdef void _push(uint64_t* stack, void* item) noexcept nogil:
    cdef uint64_t first
    while True:
        first = fl_load64(stack)
        (<_Item*> item).next = <void*> <size_t> first
        if fl_cas64(stack, first, <uint64_t> <size_t> item):
            return


cdef void* _take_all(uint64_t* stack) noexcept nogil:
    """The earliest first."""
    cdef uint64_t first
    cdef void* item
    cdef void* following
    cdef void* earliest = NULL
    while True:
        first = fl_load64(stack)
        if first == 0:
            return NULL
        if fl_cas64(stack, first, 0):
            break
    item = <void*> <size_t> first
    while item != NULL:
        following = (<_Item*> item).next
        (<_Item*> item).next = earliest
        earliest = item
        item = following
    return earliest


cdef uint8_t* question_bytes(Question* question) noexcept nogil:
    return <uint8_t*> (question + 1)


cdef Question* _question(Core* core, Exchange* x, uint32_t size) noexcept nogil:
    cdef Question* question = <Question*> malloc(sizeof(Question) + size)
    if question == NULL:
        return NULL
    question.ticket = x.ticket
    question.exchange = x
    question.engine = core.id
    question.policy = x.policy.id
    question.is_withdrawn = False
    question.size = size
    return question


cdef bint ask_control(Core* core, Exchange* x) noexcept nogil:
    """Ask x.policy about the request in x.input; False if it can't be asked now."""
    cdef const Policy* policy = x.policy
    cdef uint32_t head = core.http.head.size
    cdef uint32_t size = x.input.end - x.input.start
    cdef Question* question
    if size > head + policy.body_max:
        size = head + policy.body_max
    if not gate_take(&policy.live.pending, policy.pending_max):
        return False
    core.tickets += 1
    x.ticket = core.tickets
    question = _question(core, x, size)
    if question == NULL:
        gate_give(&policy.live.pending)
        x.ticket = 0
        return False
    question.head_size = head
    question.client_ip_size = x.client_ip_size
    question.client_port = address_port(&x.peer)
    memcpy(question.client_ip, x.client_ip, x.client_ip_size)
    memcpy(question_bytes(question), chunk_bytes(x.input) + x.input.start, size)
    _push(&core.live.questions, question)
    live_ask(core.live)
    timer_start(core, &x.timer, policy.timer)
    return True


cdef void stop_asking(Core* core, Exchange* x) noexcept nogil:
    """Nobody waits for the answer any more."""
    cdef Question* question
    if likely(x.ticket == 0):
        return
    question = _question(core, x, 0)
    if question != NULL:                # (or the policy runs on for nobody)
        question.is_withdrawn = True
        _push(&core.live.questions, question)
        live_ask(core.live)
    gate_give(&x.policy.live.pending)
    x.ticket = 0
    timer_cancel(&x.timer)


cdef bint take_answer(Exchange* x, Answered* answered) noexcept nogil:
    """Whether x has waited for this."""
    if x.ticket != answered.ticket:
        give_decision(answered.decision)
        return False
    gate_give(&x.policy.live.pending)
    x.ticket = 0
    x.decision = answered.decision
    timer_cancel(&x.timer)
    return True


cdef bint put_answer(Core* core, uint64_t ticket, Exchange* x, Decision* decision) noexcept nogil:
    """Of the control plane's thread; the decision is the engine's from here on."""
    cdef Answered* answered = <Answered*> malloc(sizeof(Answered))
    if answered == NULL:
        return False                    # its deadline ends it
    answered.ticket = ticket
    answered.exchange = x
    answered.decision = decision
    _push(&core.answers, answered)
    event_set(core.wake_fd)
    return True


cdef Question* take_questions(LiveTable* table) noexcept nogil:
    return <Question*> _take_all(&table.questions)


cdef Answered* take_answers(Core* core) noexcept nogil:
    return <Answered*> _take_all(&core.answers)


cdef void free_answers(Core* core) noexcept nogil:
    cdef Answered* answered = take_answers(core)
    cdef Answered* following
    while answered != NULL:
        following = answered.next
        give_decision(answered.decision)
        free(answered)
        answered = following
