from libc.stdint cimport uint64_t, uint8_t

from fastlb._core.base.routing cimport Decision
from fastlb._core.base.types cimport Answered, Core, Exchange, LiveTable, Question


cdef bint ask_control(Core* core, Exchange* x) noexcept nogil
cdef void stop_asking(Core* core, Exchange* x) noexcept nogil
cdef bint take_answer(Exchange* x, Answered* answered) noexcept nogil
cdef Question* take_questions(LiveTable* table) noexcept nogil
cdef Answered* take_answers(Core* core) noexcept nogil
cdef bint put_answer(Core* core, uint64_t ticket, Exchange* x, Decision* decision) noexcept nogil
cdef void free_answers(Core* core) noexcept nogil
cdef uint8_t* question_bytes(Question* question) noexcept nogil
