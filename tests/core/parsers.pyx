# Doors to the parsers, for tests, fuzzing and benchmarks. What they read lies in memory of exactly
# its size, so that the sanitizers see every byte read beyond it.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.head cimport Body, Head, Members, Text
from fastlb._core.base.limits cimport TRAILER_BYTES_MAX
from fastlb._core.base.net cimport address_text
from fastlb._core.base.parts cimport Address
from fastlb._core.base.routing cimport HttpEntry, Match, Route
from fastlb._core.base.text cimport Writer, text_of
from fastlb._core.base.types cimport Core, Exchange
from fastlb._core.ext.linux cimport INET6_ADDRSTRLEN
from fastlb._core.http.routes cimport route_find
from fastlb._core.proto.addresses cimport parse_address
from fastlb._core.proto.chunked cimport Piece, chunked_next
from fastlb._core.proto.form cimport form_members
from fastlb._core.proto.http1 cimport parse_request, parse_response
from fastlb._core.proto.json cimport json_members
from fastlb._core.proto.logline cimport LogLine, parse_line
from fastlb._core.proto.uri cimport (
    query_decoded, uri_has_double_slash, uri_is_plain, uri_merge_slashes, uri_normalise, uri_query,
    uri_rewritten,
)
from fastlb._core.tables.snapshot cimport Snapshot

from fastlb.process.machine import bind_llhttp


bind_llhttp()


cdef class Bytes:
    """A copy of a text in memory of its own."""

    cdef uint8_t* at
    cdef uint32_t size

    def __cinit__(self, bytes text):
        self.size = len(text)
        self.at = <uint8_t*> malloc(self.size if self.size else 1)
        if self.at == NULL:
            raise MemoryError
        memcpy(self.at, <const char*> text, self.size)

    def __dealloc__(self):
        free(self.at)


cdef bytes _bytes(Text text):
    return (<const char*> text.at)[:text.size] if text.at != NULL else b""


cdef object _described(int used, Head* head, bint request):
    if used <= 0:
        return used
    fields = []
    for i in range(head.n_fields):
        fields.append((
            (<const char*> head.bytes)[head.fields[i].name_at:
                                       head.fields[i].name_at + head.fields[i].name_size],
            (<const char*> head.bytes)[head.fields[i].value_at:
                                       head.fields[i].value_at + head.fields[i].value_size],
            bool(head.fields[i].drop),
        ))
    return {
        "used": used, "size": head.size, "minor": head.minor, "status": head.status,
        "fields": fields, "kind": head.body.kind, "left": head.body.left,
        "done": bool(head.body.done), "flags": head.flags,
        "method": (<const char*> head.bytes)[head.method_at:head.method_at + head.method_size]
        if request else b"",
        "path": _bytes(head.path), "query": _bytes(head.query), "host": _bytes(head.host),
    }


def request(bytes text, fields_max=100, uri_max=8192):
    """What a request's head says: a dictionary, 0 (incomplete), or minus the status."""
    cdef Bytes data = Bytes(text)
    cdef Head head
    memset(&head, 0, sizeof(head))
    return _described(
        parse_request(&head, data.at, data.size, fields_max, uri_max), &head, True)


def response(bytes text, bint no_body=False):
    cdef Bytes data = Bytes(text)
    cdef Head head
    memset(&head, 0, sizeof(head))
    return _described(parse_response(&head, data.at, data.size, no_body), &head, False)


def unchunk(pieces, of_server=False):
    """(content, bytes used, whether it is done, trailers) of a chunked body read piece by piece;
    None if it is none."""
    cdef Body body
    cdef Bytes data
    cdef Piece piece
    cdef Writer w
    cdef int step
    cdef uint32_t at
    cdef bytearray room = bytearray(TRAILER_BYTES_MAX)
    cdef uint8_t* start = room
    memset(&body, 0, sizeof(body))
    body.of_server, body.trailers_max = of_server, TRAILER_BYTES_MAX
    w.at, w.end, w.full = start, start + len(room), False
    content, used = b"", 0
    for part in pieces:
        data = Bytes(part)
        at = 0
        while at < data.size and not body.done:
            step = chunked_next(&body, data.at + at, data.size - at, &piece, &w)
            if step < 0:
                return None
            if step == 0 or piece.at + piece.size > data.size - at:
                raise AssertionError("it went nowhere, or too far")
            content += (<const char*> data.at)[at + piece.at:at + piece.at + piece.size]
            at += step
        used += at
    return content, used, bool(body.done), bytes(room[:w.at - start])


cdef object _made(int n, uint8_t* into):
    return (<const char*> into)[:n] if n >= 0 else None


def normalise(bytes text):
    """The path that servers get, and the one that routes see once slashes are merged; or None."""
    cdef Bytes data = Bytes(text)
    cdef uint8_t* into = <uint8_t*> malloc(6 * data.size + 1)
    cdef uint32_t merged
    cdef int n
    try:
        n = uri_normalise(text_of(data.at, data.size), into)
        if data.size and uri_is_plain(text_of(data.at, data.size)) and text[0] == 47:
            if n != <int> data.size or uri_has_double_slash(text_of(into, <uint32_t> n)):
                raise AssertionError("a plain path isn't normal")
        if n < 0:
            return None
        merged = uri_merge_slashes(text_of(into, <uint32_t> n), into + n)
        return _made(n, into), _made(<int> merged, into + n)
    finally:
        free(into)


def decoded(bytes text):
    """A name or value of a query, as rules see it."""
    cdef Bytes data = Bytes(text)
    cdef uint8_t* room = <uint8_t*> malloc(data.size if data.size else 1)
    cdef Text made
    try:
        made = query_decoded(text_of(data.at, data.size), room)
        return (<const char*> made.at)[:made.size]
    finally:
        free(room)


def address(bytes text):
    """The one form of an address that is written in any, or None."""
    cdef Bytes data = Bytes(text)
    cdef Address made
    cdef char[INET6_ADDRSTRLEN] ip
    if not parse_address(text_of(data.at, data.size), &made):
        return None
    return (<const char*> ip)[:address_text(&made, ip)]


def rewritten(bytes text):
    cdef Bytes data = Bytes(text)
    cdef uint8_t* into = <uint8_t*> malloc(3 * data.size + 1)
    try:
        return _made(uri_rewritten(text_of(data.at, data.size), into), into)
    finally:
        free(into)


def query(bytes text):
    cdef Bytes data = Bytes(text)
    cdef uint8_t* into = <uint8_t*> malloc(3 * data.size + 1)
    try:
        return _made(uri_query(text_of(data.at, data.size), into), into)
    finally:
        free(into)


def members(bytes text, bint form=False):
    """The members of JSON or of a form: [(name, value or None)], or 0 (broken), or -1 (twice)."""
    cdef Bytes data = Bytes(text)
    cdef uint8_t* room = <uint8_t*> malloc(data.size if data.size else 1)
    cdef Members* made = <Members*> calloc(1, sizeof(Members))
    cdef int state
    try:
        if form:
            state = form_members(text_of(data.at, data.size), made, room)
        else:
            state = json_members(text_of(data.at, data.size), made, room)
        if state != 1:
            return state
        return [
            (_bytes(made.all[i].name), _bytes(made.all[i].value) if made.all[i].is_plain else None)
            for i in range(made.n)
        ]
    finally:
        free(room)
        free(made)


def log_line(bytes text):
    """(kind, texts by name, port, bytes) of an access log's line; kinds are 1 unknown, 2 request,
    3 connection."""
    cdef Bytes data = Bytes(text)
    cdef uint8_t* room = <uint8_t*> malloc(data.size if data.size else 1)
    cdef Members* made = <Members*> calloc(1, sizeof(Members))
    cdef LogLine line
    try:
        kind = parse_line(text_of(data.at, data.size), &line, made, room)
        texts = {
            "listener": _bytes(line.listener), "client_ip": _bytes(line.client_ip),
            "method": _bytes(line.method), "target": _bytes(line.target),
            "query": _bytes(line.query), "host": _bytes(line.host),
            "referer": _bytes(line.referer), "user_agent": _bytes(line.user_agent),
        }
        return kind, texts, line.client_port, line.bytes
    finally:
        free(room)
        free(made)


cdef class Router:
    """The routes of a snapshot's first listener."""

    cdef Snapshot snapshot
    cdef HttpEntry* entry
    cdef Core* core
    cdef Exchange x
    cdef Bytes data

    def __cinit__(self, Snapshot snapshot, bytes request):
        self.snapshot = snapshot
        self.entry = snapshot.table.binds[0].http
        self.data = Bytes(request)
        memset(&self.x, 0, sizeof(Exchange))
        self.core = <Core*> calloc(1, sizeof(Core))
        if self.core == NULL:
            raise MemoryError
        if parse_request(&self.core.http.head, self.data.at, self.data.size, 100, 8192) <= 0:
            raise ValueError("not a request")

    def __dealloc__(self):
        free(self.core)

    def find(self, int rounds=1):
        """The name of the route that the request takes."""
        cdef Route* route = NULL
        cdef int i
        memset(&self.core.http.match, 0, sizeof(Match))
        for i in range(rounds):
            route = route_find(self.core, &self.x, self.entry)
        return _bytes(route.name).decode() if route != NULL else None


def spin_request(bytes text, int rounds):
    """Parse a request so many times."""
    cdef Head head
    cdef const uint8_t* data = text
    cdef uint32_t size = len(text)
    cdef int i, used = 0
    for i in range(rounds):
        used += parse_request(&head, data, size, 100, 8192)
    return used
