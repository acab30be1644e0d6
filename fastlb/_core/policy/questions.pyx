# Questions to policies on the control plane, and their answers: two stacks. A question has a
# ticket; an answer with a ticket that nobody holds any more is thrown away.
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc

from fastlb._core.base.gate cimport gate_give, gate_take
from fastlb._core.base.live cimport LiveTable
from fastlb._core.base.questions cimport Answered, Question
from fastlb._core.base.routing cimport DECISION_FAILED, Decision
from fastlb._core.base.stack cimport stack_push, stack_take
from fastlb._core.base.sys cimport event_set
from fastlb._core.base.timers cimport timer_cancel, timer_start
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.atomic cimport fl_count, likely
from fastlb._core.http.decision cimport give_decision
from fastlb._core.tables.live cimport live_ask


cdef Question* make_question(Core* core, Exchange* x, size_t size) noexcept nogil:
    """With room for `size` bytes behind it; NULL when memory is gone."""
    cdef Question* question = <Question*> calloc(1, sizeof(Question) + size)
    if question == NULL:
        return NULL
    question.exchange = x
    question.engine = core.id
    question.policy = x.policy.id
    return question


cdef bint ask_control(Core* core, Exchange* x, Question* question) noexcept nogil:
    """Ask x.policy; False, and the question is the caller's, if too many wait for it already."""
    if not gate_take(&x.policy.live.pending, x.policy.pending_max):
        return False
    core.tickets += 1
    question.ticket = x.ticket = core.tickets
    stack_push(&core.live.questions, question)
    live_ask(core.live)
    timer_start(core, &x.timer, x.policy.timer)
    return True


cdef void stop_asking(Core* core, Exchange* x, bint late) noexcept nogil:
    """Nobody waits for the answer any more; `late`: because the deadline is over."""
    cdef Question* question
    if likely(x.ticket == 0):
        return
    question = make_question(core, x, 0)
    if question != NULL:                # (or the policy runs on for nobody)
        question.ticket = x.ticket
        question.is_withdrawn = True
        question.is_late = late
        stack_push(&core.live.questions, question)
        live_ask(core.live)
    gate_give(&x.policy.live.pending)
    x.ticket = 0
    timer_cancel(&x.timer)


cdef bint take_answer(Core* core, Exchange* x, Answered* answered) noexcept nogil:
    """Whether x has waited for this."""
    if x.ticket != answered.ticket:
        give_decision(answered.decision)
        return False
    if answered.decision.kind == DECISION_FAILED:
        fl_count(&x.policy.live.counters[core.id].failures, 1)
    gate_give(&x.policy.live.pending)
    x.ticket = 0
    x.decision = answered.decision
    timer_cancel(&x.timer)
    return True


cdef bint put_answer(Core* core, uint64_t ticket, void* x, Decision* decision) noexcept nogil:
    """Of the control plane's thread; the decision is the engine's from here on."""
    cdef Answered* answered = <Answered*> malloc(sizeof(Answered))
    if answered == NULL:
        give_decision(decision)
        return False                    # its deadline ends it
    answered.ticket = ticket
    answered.exchange = x
    answered.decision = decision
    stack_push(&core.answers, answered)
    event_set(core.wake_fd)
    return True


cdef Question* take_questions(LiveTable* table) noexcept nogil:
    return <Question*> stack_take(&table.questions)


cdef Answered* take_answers(Core* core) noexcept nogil:
    return <Answered*> stack_take(&core.answers)


cdef void free_answers(Core* core) noexcept nogil:
    cdef Answered* answered = take_answers(core)
    cdef Answered* following
    while answered != NULL:
        following = answered.next
        give_decision(answered.decision)
        free(answered)
        answered = following
