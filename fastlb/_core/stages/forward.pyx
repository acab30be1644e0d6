# Carry a request to its server and the response to its client. Heads are rewritten, and bodies are
# streamed.
# Reads x.http and both streams; writes what is left of both bodies, and how far the exchange is.
# Ends: NEXT (all is written), AGAIN, TUNNEL, RETRY, ELSEWHERE, ANSWER (x.status), FAIL (x.reason).
from fastlb._core.base.enums cimport (
    AGAIN, ANSWER, ERROR, EXCHANGE_CLOSE, FAIL, HANGUP, HTTP_DISCARD, HTTP_HALF_CLOSED,
    HTTP_HEAD_DONE, NEXT, PEER_SHUT, READABLE, REASON_CLIENT_GONE, STREAM_EOF, TRY_SENT,
    TRY_UPLOAD_CUT,
)
from fastlb._core.base.flow cimport broken
from fastlb._core.base.reasons cimport is_of_client
from fastlb._core.base.routing cimport CLOSE_CANCELS_HALF, CLOSE_DRAINS
from fastlb._core.base.stream cimport drop_pending
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Core, Exchange, Http
from fastlb._core.ext.atomic cimport unlikely
from fastlb._core.failing.hedging cimport hedge_timer, may_hedge
from fastlb._core.http.body cimport fail
from fastlb._core.http.download cimport download
from fastlb._core.http.upload cimport upload


cdef int _look_at_client(Core* core, Exchange* x) noexcept nogil:
    """It has closed: what it asked for is cancelled, or carried through for nobody. One that has
    only nothing more to say waits for its answer, unless on_client_close says otherwise."""
    cdef Http* http = x.http
    cdef bint is_broken = x.client.ready & ERROR
    if http.flags & HTTP_DISCARD:
        return NEXT
    if http.response.done and http.flags & HTTP_HEAD_DONE:
        return broken(x, &x.client) if is_broken else NEXT
    if not x.client.ready & (ERROR | HANGUP) and (
            http.route.on_close != CLOSE_CANCELS_HALF
            or http.flags & HTTP_HALF_CLOSED or not http.request.done):
        return NEXT                     # (an end in the middle of its body is met by reading it)
    if http.route.on_close != CLOSE_DRAINS or not http.request.done:
        return broken(x, &x.client) if is_broken else fail(x, REASON_CLIENT_GONE)
    _discard(core, x)
    return NEXT


cdef void _discard(Core* core, Exchange* x) noexcept nogil:
    """Nobody reads the answer any more: go on with it for its server's sake."""
    x.http.flags |= HTTP_DISCARD
    x.flags |= EXCHANGE_CLOSE
    drop_pending(core, &x.client)


cdef bint _carries_through(Core* core, Exchange* x) noexcept nogil:
    """Whether a request is carried through whose client is found to have gone by writing to it."""
    if not is_of_client(x.reason) or x.http.route.on_close != CLOSE_DRAINS \
            or not x.http.request.done or x.http.flags & HTTP_DISCARD:
        return False
    _discard(core, x)
    return True


cdef int forward_step(Core* core, Exchange* x) noexcept nogil:
    cdef Http* http = x.http
    cdef int verdict
    cdef bint was_sent
    if unlikely(x.client.ready & (ERROR | HANGUP | PEER_SHUT)):
        if _look_at_client(core, x) == FAIL:
            return FAIL
    if not x.attempt.flags & TRY_UPLOAD_CUT and (
            not x.attempt.flags & TRY_SENT or not http.request.done or x.to_server.pending != NULL
            or x.to_server.pipe != NULL):
        was_sent = x.attempt.flags & TRY_SENT
        verdict = upload(core, x)
        if verdict == FAIL:
            return FAIL
        if unlikely(x.pool.hedge.budget != 0) and not was_sent and x.attempt.flags & TRY_SENT \
                and may_hedge(x):
            timer_start(core, &http.pause_timer, hedge_timer(core, x.pool))
        if verdict == ANSWER:
            return ANSWER if not http.flags & HTTP_HEAD_DONE else FAIL
    if not x.to_server.ready & READABLE and not x.to_server.flags & STREAM_EOF \
            and not http.flags & HTTP_HEAD_DONE:
        return AGAIN                    # no response yet, and nothing of it to write
    verdict = download(core, x)
    if unlikely(verdict == FAIL) and _carries_through(core, x):
        verdict = download(core, x)
    return verdict
