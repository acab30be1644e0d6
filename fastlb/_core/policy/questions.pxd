from libc.stdint cimport uint64_t

from fastlb._core.base.live cimport LiveTable
from fastlb._core.base.questions cimport Answered, Question
from fastlb._core.base.routing cimport Decision
from fastlb._core.base.types cimport Core, Exchange


cdef bint ask_control(Core* core, Exchange* x, Question* question) noexcept nogil
cdef Question* make_question(Core* core, Exchange* x, size_t size) noexcept nogil
cdef void stop_asking(Core* core, Exchange* x, bint late) noexcept nogil
cdef bint take_answer(Core* core, Exchange* x, Answered* answered) noexcept nogil
cdef Question* take_questions(LiveTable* table) noexcept nogil
cdef Answered* take_answers(Core* core) noexcept nogil
cdef bint put_answer(Core* core, uint64_t ticket, void* x, Decision* decision) noexcept nogil
cdef void free_answers(Core* core) noexcept nogil
