# HTTP/2 flow control windows that grow with the bandwidth-delay product. A window is too small when
# half of it is taken within about one round trip; then it grows, within what its connection and its
# engine may hold. Reads round trips, writes windows.
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastlb._core.base.enums cimport H2_CLOSED, H2_ENDED
from fastlb._core.base.limits cimport (
    H2_WINDOW_BYTES, H2_WINDOW_GROWTH, H2_WINDOW_SHARE, H2_WINDOWS_BYTES_MAX,
)
from fastlb._core.base.parts cimport Window
from fastlb._core.base.types cimport H2, Core, H2Stream
from fastlb._core.ext.atomic cimport likely
from fastlb._core.ext.nghttp2 cimport (
    NGHTTP2_FLAG_NONE, nghttp2_session, nghttp2_session_get_effective_local_window_size,
    nghttp2_session_get_effective_recv_data_length, nghttp2_session_set_local_window_size,
    nghttp2_submit_ping, nghttp2_submit_window_update,
)


cdef enum:
    GROWTH_FAR = 256                # of a window that came whole over a long way, at once
    FAR_NS = 5000000                # 5 ms: a round trip within a country; 64 KiB carry 13 MB/s


cdef uint32_t _growth(const H2* h2, Window* window, uint32_t taken) noexcept nogil:
    """How many times as large it has to be; 0: it is large enough. Its peer waits for it where half
    of it is taken within one and a half round trips, and mostly waits where the way is long and
    that takes an eighth of one. What isn't taken yet, because whoever gets it is slow, needs no
    larger window."""
    cdef uint64_t now_ns = (<Core*> h2.core).now_ns
    cdef uint64_t trip_ns, since_ns
    window.taken += taken
    if likely(window.taken < window.size // 2):
        return 0
    # (as long as our settings weren't answered, the way is at least as long as they have gone)
    trip_ns = h2.rtt_ns if h2.rtt_ns else now_ns - h2.asked_ns
    since_ns = now_ns - window.since_ns
    window.taken = 0
    window.since_ns = now_ns
    if since_ns > trip_ns + trip_ns // 2:
        return 0
    if h2.rtt_ns >= FAR_NS and since_ns < trip_ns // 8:
        return GROWTH_FAR
    return H2_WINDOW_GROWTH


cdef void _measure(H2* h2) noexcept nogil:
    """Ask for the time of a round trip, when windows are about to depend on it."""
    if not h2.pinging and nghttp2_submit_ping(
            <nghttp2_session*> h2.session, NGHTTP2_FLAG_NONE, NULL) == 0:
        h2.pinging = True
        h2.asked_ns = (<Core*> h2.core).now_ns


cdef void _grow_connection(H2* h2, uint64_t size) noexcept nogil:
    """Up to `size`, as far as its own limit and the engine's allow."""
    cdef Core* core = <Core*> h2.core
    cdef uint64_t left = H2_WINDOWS_BYTES_MAX - core.http.h2_extra
    cdef uint64_t most = <uint64_t> h2.window_base + h2.window_max
    size = size if size < most else most
    if size <= h2.window.size:
        return
    left //= H2_WINDOW_SHARE
    if size - h2.window.size > left:
        size = h2.window.size + left
    if nghttp2_session_set_local_window_size(
            <nghttp2_session*> h2.session, NGHTTP2_FLAG_NONE, 0, <int32_t> size):
        h2.failed = True
        return
    core.http.h2_extra += size - h2.window.size
    h2.window.size = <uint32_t> size


cdef void _grow_stream(H2* h2, H2Stream* st, uint32_t growth) noexcept nogil:
    """What it grows by is the connection's too, so that streams don't wait for one another."""
    cdef uint64_t more = <uint64_t> st.window.size * (growth - 1)
    cdef uint32_t room
    _grow_connection(h2, h2.window_base + h2.extra + more)
    room = h2.window.size - h2.window_base
    room = room - h2.extra if room > h2.extra else 0
    more = more if more < room else room
    if more == 0:
        return
    if nghttp2_session_set_local_window_size(
            <nghttp2_session*> h2.session, NGHTTP2_FLAG_NONE, st.id,
            <int32_t> (st.window.size + more)):
        h2.failed = True
        return
    st.window.size += <uint32_t> more
    st.extra += <uint32_t> more
    h2.extra += <uint32_t> more


cdef void h2_taken(H2* h2, H2Stream* st, uint32_t size) noexcept nogil:
    """So much of a body was taken, and its peer may send that again."""
    cdef uint32_t growth
    if st.window.size == 0:
        st.window.size = H2_WINDOW_BYTES
        st.window.since_ns = (<Core*> h2.core).now_ns
    growth = _growth(h2, &h2.window, size)
    if growth:
        _grow_connection(h2, <uint64_t> h2.window.size * growth)
        _measure(h2)
    growth = _growth(h2, &st.window, size)
    if growth and not st.flags & (H2_CLOSED | H2_ENDED):
        _grow_stream(h2, st, growth)
        _measure(h2)


cdef void h2_say_taken(H2* h2) noexcept nogil:
    """Tell the peer what was taken of the connection's window, before that is all it waits for.
    nghttp2 tells it of half a window. That is too late where streams that nobody takes hold the
    other half: they would hold up all others."""
    cdef nghttp2_session* session = <nghttp2_session*> h2.session
    cdef int32_t come = nghttp2_session_get_effective_recv_data_length(session)
    cdef int32_t left = nghttp2_session_get_effective_local_window_size(session) - come
    cdef int32_t untold = come - <int32_t> h2.untaken
    if likely(untold <= 0 or untold < left):
        return
    if nghttp2_submit_window_update(session, NGHTTP2_FLAG_NONE, 0, untold):
        h2.failed = True


cdef void h2_answered(H2* h2) noexcept nogil:
    """The peer has answered our settings, or the PING that measures."""
    cdef uint64_t now_ns = (<Core*> h2.core).now_ns
    h2.pinging = False
    h2.rtt_ns = now_ns - h2.asked_ns if now_ns > h2.asked_ns else 1


cdef void h2_begin_windows(H2* h2, uint32_t base) noexcept nogil:
    h2.window.size = h2.window_base = base
    h2.asked_ns = (<Core*> h2.core).now_ns
    h2.pinging = True                   # (our settings are answered as well)


cdef void h2_end_windows(H2* h2) noexcept nogil:
    """What they had grown by is for others."""
    (<Core*> h2.core).http.h2_extra -= h2.window.size - h2.window_base
