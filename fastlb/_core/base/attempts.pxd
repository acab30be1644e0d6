# What an exchange keeps about its tries, for the log and for explain.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from fastlb._core.base.limits cimport TRIES_LOGGED
from fastlb._core.base.observations cimport Tried
from fastlb._core.base.places cimport PLACE_UNASKED
from fastlb._core.base.types cimport Exchange, ServerLive


cdef inline void note_left(Exchange* x, const ServerLive* server, int outcome,
                           uint64_t now_ns) noexcept nogil:
    """A server is left for another one: why is a reason, or the status that it answered."""
    cdef Tried* tried
    if x.books.n_left < TRIES_LOGGED:
        tried = &x.books.left[x.books.n_left]
        tried.server = server.name
        tried.outcome = <uint16_t> outcome
        tried.us = <uint32_t> ((now_ns - x.attempt.picked_ns) // 1000)
        x.books.n_left += 1
    x.attempt.connect_ns = x.attempt.sent_ns = 0


cdef inline void forget_times(Exchange* x) noexcept nogil:
    """A request is over: the next one begins with nothing."""
    x.books.begin_ns = x.books.answered_ns = 0
    x.attempt.picked_ns = x.attempt.connect_ns = x.attempt.sent_ns = 0
    x.books.bytes_in = x.books.bytes_out = 0
    x.books.n_left = 0
    x.place = PLACE_UNASKED
