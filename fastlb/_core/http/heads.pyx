# Heads of responses: what they mean, and how they are passed on.
# Reads core.http.head and x.http; writes the output chunk, and the scratch chunk before the body.
from libc.errno cimport EAGAIN
from libc.stdint cimport int32_t, uint32_t, uint8_t
from libc.string cimport memcpy, memmove

from fastlb._core.base.enums cimport (
    ERROR, HTTP_DISCARD, HTTP_OLD_CLIENT, HTTP_UPGRADE, HTTP_WEBSOCKET, NEXT, REASON_BAD_RESPONSE,
    REASON_LARGE_RESPONSE, WRITABLE,
)
from fastlb._core.base.flow cimport broken, count_write
from fastlb._core.base.head cimport FIELD_WEBSOCKET_ACCEPT, Head, Text
from fastlb._core.base.limits cimport INTERIM_MAX
from fastlb._core.base.mem cimport chunk_bytes, chunk_size
from fastlb._core.base.stream cimport stream_write
from fastlb._core.base.text cimport Writer, equal
from fastlb._core.base.timers cimport timer_start
from fastlb._core.base.types cimport Chunk, Core, Exchange, Http, Stream
from fastlb._core.ext.atomic cimport fl_store32, unlikely
from fastlb._core.http.body cimport Region, fail
from fastlb._core.http.rewrite cimport write_response
from fastlb._core.proto.http1 cimport field_value
from fastlb._core.tables.hashring cimport crc32_nocase
from fastlb._core.tables.live cimport live_notify


cdef bint switches_protocol(Core* core, Exchange* x) noexcept nogil:
    """Whether a 101 answers the upgrade that was asked for (RFC 6455, 4.1)."""
    cdef Head* head = &core.http.head
    cdef Http* http = x.http
    cdef Text value
    if not http.flags & HTTP_UPGRADE:
        return False
    value = field_value(head, &head.fields[head.upgrade])
    if crc32_nocase(value.at, value.size) != http.upgrade:
        return False
    if not http.flags & HTTP_WEBSOCKET:
        return True
    if head.websocket_key < 0 or \
            head.fields[head.websocket_key].kind != FIELD_WEBSOCKET_ACCEPT:
        return False
    value = field_value(head, &head.fields[head.websocket_key])
    return equal(value.at, value.size, http.websocket_accept, 28)


cdef bint put_head(Core* core, Exchange* x, uint32_t* size) noexcept nogil:
    """The head for the client, into the output chunk: its place is known when the body is."""
    cdef Writer w
    w.at = chunk_bytes(core.http.output)
    w.end = w.at + chunk_size(core.http.output.klass) // 2
    w.full = False
    if not write_response(core, x, &w):
        return False
    size[0] = <uint32_t> (w.at - chunk_bytes(core.http.output))
    return True


cdef bint place_head(Core* core, Chunk* chunk, Region* out, uint32_t size) noexcept nogil:
    """Copy the head from the output chunk to right before a region of `chunk`, which is moved if
    it has to be."""
    cdef uint8_t* bytes = chunk_bytes(chunk)
    cdef uint32_t shift
    if unlikely(size > out.at):
        shift = size - out.at
        if out.end + shift > chunk_size(chunk.klass):
            return False
        memmove(bytes + out.at + shift, bytes + out.at, out.end - out.at)
        out.at += shift
        out.end += shift
    out.at -= size
    memcpy(bytes + out.at, chunk_bytes(core.http.output), size)
    return True


cdef int _write_interim(Core* core, Exchange* x, Region* out) noexcept nogil:
    """Write a response of 1xx at once; who can't take it does without."""
    cdef ssize_t n
    cdef Stream* to = &x.client
    if to.pending != NULL or to.pipe != NULL or not to.ready & WRITABLE \
            or x.http.flags & HTTP_DISCARD:
        return NEXT
    n = stream_write(to, chunk_bytes(core.http.scratch) + out.at, out.end - out.at, False)
    # (of TLS, what wasn't taken has to be written before anything else: nobody would do that)
    if n == <ssize_t> (out.end - out.at) or (n == -EAGAIN and to.tls == NULL):
        count_write(x, to)
        return NEXT
    x.client.ready |= ERROR
    return broken(x, to)            # half a head can't be taken back


cdef int pass_interim(Core* core, Exchange* x, uint32_t at) noexcept nogil:
    """Pass a response of 1xx on, which ends at `at`: NEXT or FAIL. It says that the server is at
    work, so that its time begins anew (RFC 9110, 15.2); how many may come in a second is bounded,
    and how many in all isn't."""
    cdef Http* http = x.http
    cdef Region out
    cdef uint32_t size = 0
    cdef uint32_t now_s = <uint32_t> (core.now_ms // 1000)
    if http.interim_s != now_s:
        http.interim_s = now_s
        http.interim = 0
    http.interim += 1
    if http.interim > INTERIM_MAX or not put_head(core, x, &size):
        return fail(x, REASON_BAD_RESPONSE)
    timer_start(core, &x.timer, http.route.response_timer if http.request.done
                else http.route.body_timer)
    if http.flags & HTTP_OLD_CLIENT and x.carrier == NULL:
        return NEXT
    out.at = out.end = at
    if not place_head(core, core.http.scratch, &out, size):
        return fail(x, REASON_BAD_RESPONSE)
    return _write_interim(core, x, &out)


cdef int refuse_large(Core* core, Exchange* x, uint32_t size) noexcept nogil:
    """A response's head, or its trailers, have `size` bytes at least, and that is too much. The
    control plane says so."""
    fl_store32(&x.attempt.target.large_head, <int32_t> size)
    live_notify(core.live)
    return fail(x, REASON_LARGE_RESPONSE)
