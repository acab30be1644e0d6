# A door to what is made of streams of HTTP/2, for tests and fuzzing: a client's bytes go through a
# session of nghttp2's, as those of a connection do.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastlb._core.base.enums cimport H2_ENDED, H2_FAILED, H2_HEAD_READ, READABLE
from fastlb._core.base.h2stream cimport give_h2_stream, h2_read, h2_room, take_h2_stream
from fastlb._core.base.limits cimport H2_INPUT_CLASS
from fastlb._core.base.mem cimport chunk_bytes
from fastlb._core.base.types cimport Core, Exchange, H2, H2Stream, Stream
from fastlb._core.ext.nghttp2 cimport nghttp2_nv
from fastlb._core.h2.session cimport h2_begin, h2_end, h2_receive, h2_take
from fastlb._core.h2.text cimport NV_MAX, h2_answer_head, h2_lines


# For all of them: to make one takes longer than what is done on it.
cdef Core* _core = <Core*> calloc(1, sizeof(Core))
if _core == NULL:
    raise MemoryError
_core.now_ms = 1000
_core.random = 1


cdef class Connection:
    """Of a client, without a socket, whose requests nobody serves."""

    cdef Exchange* carrier
    cdef H2* h2

    def __cinit__(self):
        self.carrier = <Exchange*> calloc(1, sizeof(Exchange))
        if self.carrier == NULL:
            raise MemoryError
        self.h2 = h2_take(_core, self.carrier, &self.carrier.client)
        if self.h2 == NULL or not h2_begin(self.h2):
            raise MemoryError
        self.h2.inside = True           # (nobody waits for its turn)

    def __dealloc__(self):
        if self.h2 != NULL:
            h2_end(self.carrier, False)
        free(self.carrier)

    @property
    def held(self) -> int:
        """Chunks, by all connections."""
        return _core.counters.chunks

    def receive(self, bytes data) -> bool:
        return h2_receive(self.h2, <const uint8_t*> <const char*> data, <uint32_t> len(data))

    def requests(self, size_t room=16384):
        """[(stream, whether it has ended, its text)] of those whose head is whole."""
        found = []
        cdef H2Stream* st = self.h2.streams
        while st != NULL:
            if st.flags & H2_HEAD_READ and not st.flags & H2_FAILED:
                found.append((st.id, bool(st.flags & H2_ENDED), _text(st, room)))
            st = st.next
        return sorted(found)

    def answer(self, bytes head, bytes trailers=b""):
        """The fields that are made of an answer's head, and of its trailers: lists, or a number
        (0: not whole, -1: none)."""
        cdef H2Stream* st = take_h2_stream(_core, self.h2)
        cdef nghttp2_nv[NV_MAX] fields
        cdef uint8_t[3] status
        cdef uint32_t size = 0
        cdef int n
        cdef uint8_t* lines
        if st == NULL or not h2_room(_core, &st.output, <uint32_t> len(head), H2_INPUT_CLASS) \
                or not h2_room(_core, &st.trailers, <uint32_t> len(trailers), H2_INPUT_CLASS):
            raise MemoryError
        memcpy(chunk_bytes(st.output), <const char*> head, len(head))
        st.output.end = <uint32_t> len(head)
        n = h2_answer_head(st, fields, status, &size)
        made = _list(fields, n)
        lines = chunk_bytes(st.trailers)
        memcpy(lines, <const char*> trailers, len(trailers))
        ends = _list(fields, h2_lines(lines, lines + len(trailers), fields, 0))
        give_h2_stream(st)
        return made, ends


cdef object _list(nghttp2_nv* fields, int n):
    if n < 0:
        return n
    return [((<const char*> fields[i].name)[:fields[i].namelen],
             (<const char*> fields[i].value)[:fields[i].valuelen]) for i in range(n)]


cdef bytes _text(H2Stream* st, size_t room):
    """What an exchange would read."""
    cdef Stream s
    cdef bytearray piece = bytearray(room)
    cdef uint8_t* into = piece
    cdef ssize_t n
    memset(&s, 0, sizeof(s))
    s.h2 = st
    s.ready = READABLE
    text = b""
    while True:
        n = h2_read(&s, into, room)
        if n <= 0:
            return text
        text += piece[:n]
