# HTTP/2 requests as HTTP/1.1, and answers the other way (RFC 9113, 8). nghttp2 has seen to what RFC
# 9113, 8.2 forbids: upper case, line ends and zeros, fields of connections; a length that disagrees
# with the body. What comes out of here is parsed as strictly as any request.
from libc.stdint cimport uint32_t, uint8_t
from libc.string cimport memchr, memcmp, memcpy

from fastlb._core.base.enums cimport (
    H2_AUTHORITY, H2_BEGUN, H2_CHUNKED, H2_ENDED, H2_HEAD_READ, H2_LENGTH, H2_TUNNEL,
)
from fastlb._core.base.h2stream cimport h2_feed_text, h2_room
from fastlb._core.base.limits cimport H2_HEAD_BYTES_MAX, H2_INPUT_CLASS
from fastlb._core.base.mem cimport chunk_bytes, give_held
from fastlb._core.base.random cimport random_below
from fastlb._core.base.text cimport head_end, is_literal, lower
from fastlb._core.base.types cimport Core, H2Stream
from fastlb._core.ext.atomic cimport likely, unlikely
from fastlb._core.ext.nghttp2 cimport NGHTTP2_NV_FLAG_NONE, nghttp2_nv

cdef enum:                      # where in st.pseudo
    PSEUDO_METHOD = 0
    PSEUDO_PATH = 1
    PSEUDO_AUTHORITY = 2
    PSEUDO_PROTOCOL = 3


cdef bint _take_pseudo(H2Stream* st, const uint8_t* name, uint32_t name_size,
                       const uint8_t* value, uint32_t size) noexcept nogil:
    """In any order: kept until all are here, in what will be the answer's place."""
    cdef int which
    if is_literal(name, name_size, b":method"):
        which = PSEUDO_METHOD
    elif is_literal(name, name_size, b":path"):
        which = PSEUDO_PATH
    elif is_literal(name, name_size, b":authority"):
        which = PSEUDO_AUTHORITY
    elif is_literal(name, name_size, b":protocol"):
        which = PSEUDO_PROTOCOL
    else:
        return True             # (:scheme says nothing that we don't know)
    if not h2_room(<Core*> st.core, &st.output, size, H2_INPUT_CLASS):
        return False
    st.pseudo_at[which] = st.output.end
    st.pseudo_size[which] = size
    memcpy(chunk_bytes(st.output) + st.output.end, value, size)
    st.output.end += size
    return True


cdef bint _feed_pseudo(H2Stream* st, int which) noexcept nogil:
    if st.pseudo_size[which] == 0:
        return True
    return h2_feed_text(st, chunk_bytes(st.output) + st.pseudo_at[which], st.pseudo_size[which])


cdef bint _begin_tunnel(H2Stream* st) noexcept nogil:
    """A WebSocket's handshake, as RFC 6455, 4.1 has it. Whoever answers has to know the key, and
    nobody else is asked: it need not be hard to guess."""
    cdef Core* core = <Core*> st.core
    cdef const char* letters = "abcdefghijklmnopABCDEFGHIJKLMNOP"
    cdef uint8_t[24] key
    cdef int i
    for i in range(21):
        key[i] = letters[random_below(core, 32)]
    key[21], key[22], key[23] = 65, 61, 61          # (16 bytes in base64 end with A== or the like)
    st.flags |= H2_TUNNEL
    return (
        h2_feed_text(st, b"GET ", 4) and _feed_pseudo(st, PSEUDO_PATH)
        and h2_feed_text(st, b" HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                    b"sec-websocket-key: ", 71)
        and h2_feed_text(st, key, 24) and h2_feed_text(st, b"\r\n", 2)
    )


cdef bint _is_tunnel(H2Stream* st) noexcept nogil:
    """Whether it is the extended CONNECT of RFC 8441, 4."""
    return (st.pseudo_size[PSEUDO_METHOD] == 7 and st.pseudo_size[PSEUDO_PROTOCOL] == 9
            and memcmp(chunk_bytes(st.output) + st.pseudo_at[PSEUDO_METHOD], b"CONNECT", 7) == 0
            and memcmp(chunk_bytes(st.output) + st.pseudo_at[PSEUDO_PROTOCOL], b"websocket",
                       9) == 0)


cdef bint _begin(H2Stream* st) noexcept nogil:
    """The request's line, and its host."""
    cdef bint fine
    st.flags |= H2_BEGUN
    fine = _begin_tunnel(st) if st.pseudo_size[PSEUDO_PROTOCOL] and _is_tunnel(st) else (
        st.pseudo_size[PSEUDO_PROTOCOL] == 0
        and _feed_pseudo(st, PSEUDO_METHOD)
        and h2_feed_text(st, b" ", 1)
        and _feed_pseudo(st, PSEUDO_PATH if st.pseudo_size[PSEUDO_PATH] else PSEUDO_AUTHORITY)
        and h2_feed_text(st, b" HTTP/1.1\r\n", 11)
    )
    if fine and st.pseudo_size[PSEUDO_AUTHORITY]:
        st.flags |= H2_AUTHORITY
        fine = (h2_feed_text(st, b"host: ", 6) and _feed_pseudo(st, PSEUDO_AUTHORITY)
                and h2_feed_text(st, b"\r\n", 2))
    return fine


cdef bint _add_cookie(H2Stream* st, const uint8_t* value, uint32_t size) noexcept nogil:
    """Those of several fields are one (RFC 9113, 8.2.3)."""
    cdef bint first = st.cookies == NULL
    if not h2_room(<Core*> st.core, &st.cookies, size + 2, H2_INPUT_CLASS):
        return False
    if not first:
        memcpy(chunk_bytes(st.cookies) + st.cookies.end, b"; ", 2)
        st.cookies.end += 2
    memcpy(chunk_bytes(st.cookies) + st.cookies.end, value, size)
    st.cookies.end += size
    return True


cdef bint _is_authority(H2Stream* st, const uint8_t* value, uint32_t size) noexcept nogil:
    """Whether a Host is what :authority says (RFC 9113, 8.3.1), in any case."""
    cdef const uint8_t* name = chunk_bytes(st.output) + st.pseudo_at[PSEUDO_AUTHORITY]
    cdef uint32_t i
    if st.pseudo_size[PSEUDO_AUTHORITY] != size:
        return False
    for i in range(size):
        if lower(name[i]) != lower(value[i]):
            return False
    return True


cdef bint h2_take_field(H2Stream* st, const uint8_t* name, uint32_t name_size,
                        const uint8_t* value, uint32_t size) noexcept nogil:
    """False: it is too much, or wrong."""
    st.head_bytes += name_size + size + 32          # (as RFC 9113, 6.5.2 counts)
    st.h2.head_bytes += name_size + size + 32
    if unlikely(st.head_bytes > H2_HEAD_BYTES_MAX):
        return False
    if st.flags & H2_HEAD_READ:
        return True                                 # a trailer
    if name_size and name[0] == c':':
        return _take_pseudo(st, name, name_size, value, size)
    if not st.flags & H2_BEGUN and not _begin(st):
        return False
    if is_literal(name, name_size, b"cookie"):
        return _add_cookie(st, value, size)
    if is_literal(name, name_size, b"host") and st.flags & H2_AUTHORITY:
        return _is_authority(st, value, size)
    if is_literal(name, name_size, b"http2-settings"):
        return True
    if is_literal(name, name_size, b"content-length"):
        st.flags |= H2_LENGTH
    return (h2_feed_text(st, name, name_size) and h2_feed_text(st, b": ", 2)
            and h2_feed_text(st, value, size) and h2_feed_text(st, b"\r\n", 2))


cdef bint h2_end_head(H2Stream* st, bint ended) noexcept nogil:
    cdef Core* core = <Core*> st.core
    cdef bint fine = st.flags & H2_BEGUN or _begin(st)
    if fine and st.cookies != NULL:
        fine = (h2_feed_text(st, b"cookie: ", 8)
                and h2_feed_text(st, chunk_bytes(st.cookies), st.cookies.end)
                and h2_feed_text(st, b"\r\n", 2))
    give_held(core, st.cookies)
    give_held(core, st.output)
    st.cookies = st.output = NULL
    if not ended and not st.flags & (H2_LENGTH | H2_TUNNEL):
        st.flags |= H2_CHUNKED      # (h2stream makes them of what comes)
        fine = fine and h2_feed_text(st, b"transfer-encoding: chunked\r\n", 28)
    st.flags |= <uint32_t> (H2_HEAD_READ | (H2_ENDED if ended else 0))
    return fine and h2_feed_text(st, b"\r\n", 2)


cdef bint _is_of_connection(const uint8_t* name, uint32_t size) noexcept nogil:
    """What has no place in HTTP/2 (RFC 9113, 8.2.2)."""
    return (is_literal(name, size, b"connection") or is_literal(name, size, b"keep-alive")
            or is_literal(name, size, b"transfer-encoding") or is_literal(name, size, b"upgrade")
            or is_literal(name, size, b"proxy-connection")
            or is_literal(name, size, b"sec-websocket-accept"))


cdef int h2_lines(uint8_t* line, uint8_t* end, nghttp2_nv* fields, int n) noexcept nogil:
    """Lines of HTTP/1.1 as fields from `n` on, names in lower case: how many there are then, or -1.
    They point into the lines."""
    cdef uint8_t* stop
    cdef uint8_t* colon
    while line < end:
        stop = <uint8_t*> memchr(line, 13, end - line)
        if stop == NULL or n == NV_MAX:
            return -1
        colon = line
        while colon < stop and colon[0] != 58:
            colon[0] = lower(colon[0])
            colon += 1
        if colon == stop:
            return -1
        fields[n].name, fields[n].namelen = line, colon - line
        colon += 1
        while colon < stop and (colon[0] == 32 or colon[0] == 9):
            colon += 1
        line = stop + 2
        while stop > colon and ((stop - 1)[0] == 32 or (stop - 1)[0] == 9):
            stop -= 1
        fields[n].value, fields[n].valuelen = colon, stop - colon
        fields[n].flags = NGHTTP2_NV_FLAG_NONE
        if likely(not _is_of_connection(fields[n].name, <uint32_t> fields[n].namelen)):
            n += 1
    return n


cdef int h2_answer_head(H2Stream* st, nghttp2_nv* fields, uint8_t* status,
                        uint32_t* head_size) noexcept nogil:
    """The fields of the answer's head, `:status` first: how many, 0 if it isn't whole, -1 if it is
    none. They point into what was written, and `status` (3 bytes)."""
    cdef uint8_t* at = chunk_bytes(st.output) + st.output.start
    cdef uint32_t size = st.output.end - st.output.start
    cdef uint8_t* end = <uint8_t*> head_end(at, at + size)
    if end == NULL:
        return 0
    head_size[0] = <uint32_t> (end - at) + 2
    if end - at < 12:
        return -1
    memcpy(status, at + 9, 3)
    fields[0].name, fields[0].namelen = <uint8_t*> b":status", 7
    if memcmp(status, b"101", 3) == 0:
        memcpy(status, b"200", 3)                   # (RFC 8441, 5)
    fields[0].value, fields[0].valuelen = status, 3
    fields[0].flags = NGHTTP2_NV_FLAG_NONE
    return h2_lines(<uint8_t*> memchr(at, 10, size) + 1, end, fields, 1)
