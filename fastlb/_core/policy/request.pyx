# cython: nonecheck=True
# What a policy sees of a request or a connection. One that is made by hand is empty, and raises
# instead of crashing (nonecheck). The engine's own cut of the head is copied with
# the bytes that it points to, in one block, so that nothing is parsed twice and that a Request may
# be kept; texts are made when somebody asks: most look at a header or the path.
cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from fastlb._core.base.head cimport FIELD_COOKIE, FIELD_OTHER, Field, Head, Text
from fastlb._core.base.limits cimport FIELDS_MAX, PROXY_FACTS, TLS_FACTS
from fastlb._core.base.parts cimport About, TlsFacts
from fastlb._core.base.text cimport lower, text_of
from fastlb._core.base.tlsfacts cimport make_facts
from fastlb._core.facts.about cimport about_drop, about_tell
from fastlb._core.http.admit cimport normalise
from fastlb._core.proto.http1 cimport parse_request
from fastlb._core.proto.llhttp cimport llhttp_known
from fastlb._core.tables.caller cimport Caller

from fastlb._core.facts.registry import RECORDED as _RECORDED

cdef extern from "Python.h":
    bint PyUnicode_IS_ASCII(object text)


# --- heads that last ---

cdef size_t _cut_bytes(const Head* head) noexcept nogil:
    """Of the part of a head that is in use."""
    return sizeof(Head) - (FIELDS_MAX - head.n_fields) * sizeof(Field)


cdef size_t kept_bytes(const Head* head, Text body) noexcept nogil:
    """Room for a copy of both. (Path and query may lie elsewhere: normalised.)"""
    return _cut_bytes(head) + head.size + body.size + head.path.size + head.query.size


cdef Text _moved(const Head* head, uint32_t size, Text text, uint8_t* data,
                 uint8_t** end) noexcept nogil:
    cdef size_t at = <size_t> text.at - <size_t> head.bytes
    if text.at == NULL:
        return text
    if at <= size and text.size <= size - at:
        return text_of(data + at, text.size)
    text = text_of(end[0], text.size) if text.size == 0 else text_of(
        <uint8_t*> memcpy(end[0], text.at, text.size), text.size)
    end[0] += text.size
    return text


cdef void keep_head(Head* into, const Head* head, Text body) noexcept nogil:
    """Copy it, and the body behind it; `into` has kept_bytes()."""
    cdef uint8_t* data = <uint8_t*> into + _cut_bytes(head)
    cdef uint32_t size = head.size
    cdef uint8_t* end = data + size + body.size
    memcpy(into, head, _cut_bytes(head))
    memcpy(data, head.bytes, size)
    if body.size:
        memcpy(data + size, body.at, body.size)
    into.bytes = data
    into.host = _moved(head, size, head.host, data, &end)
    into.authority = _moved(head, size, head.authority, data, &end)
    into.path = _moved(head, size, head.path, data, &end)
    into.query = _moved(head, size, head.query, data, &end)
    into.sent = into.path


cdef inline bint _is_hidden(const Field* field) noexcept nogil:
    """Whether nobody is to see it: what the client may not say."""
    return field.drop and field.kind == FIELD_OTHER


cdef bint _same(const uint8_t* a, const uint8_t* b, uint32_t size) noexcept nogil:
    """In any case."""
    cdef uint32_t i
    for i in range(size):
        if a[i] != b[i] and lower(a[i]) != lower(b[i]):
            return False
    return True


cdef tuple _texts(const Text* all, int n):
    cdef int i
    return tuple([_text(all[i]) for i in range(n)])


cdef str _text(Text text):
    return (<const char*> text.at)[:text.size].decode("latin-1") if text.size else ""


cdef class Asked:
    """A client that a policy is asked about."""

    def __dealloc__(self):
        about_drop(&self._about)

    @property
    def client_host(self) -> str:
        return self._about.ip[:self._about.ip_size].decode("latin-1")

    @property
    def client_port(self) -> int:
        return self._about.port

    @property
    def listener(self) -> str:
        """The name of the listener that it came to."""
        return self._caller.listener

    @property
    def secured(self) -> tuple[str, str, str, str] | None:
        """The facts that TLS knows of the client, in the order of TlsFact. None without TLS."""
        return _texts(self._about.secured.all, TLS_FACTS) if self._about.secured != NULL else None

    @property
    def told(self) -> tuple[str, str, str, str, str] | None:
        """The facts that a trusted proxy sent, in the order of ProxyFact. None if it sent none."""
        return _texts(self._about.others, PROXY_FACTS) if self._about.is_told else None

    @property
    def facts(self) -> dict[str, str]:
        """All facts of the client that there are, by their names: "tls.sni", "proxy.authority"."""
        cdef uint32_t i
        found = {}
        for i in range(TLS_FACTS if self._about.secured != NULL else 0):
            if self._about.secured.all[i].size:
                found[_RECORDED[i]] = _text(self._about.secured.all[i])
        for i in range(self._about.n_others):
            if self._about.others[i].size:
                found[_RECORDED[i + <uint32_t> TLS_FACTS]] = _text(self._about.others[i])
        return found


cdef class Request(Asked):
    """A request as its routes see it: path and query are normalised, header fields as they came."""

    def __dealloc__(self):
        free(self._head)

    cdef Head* _cut(self) except NULL:
        if self._head == NULL:
            raise ValueError("a request that nobody sent; fastlb.testing.request() makes some")
        return self._head

    @property
    def method(self) -> str:
        """In upper case, as it came."""
        cdef Head* head = self._cut()
        return (<const char*> head.bytes + head.method_at)[:head.method_size].decode("latin-1")

    @property
    def path(self) -> str:
        """As routes match it: normalised, and percent-encoded where that means something."""
        return _text(self._cut().path)

    @property
    def query(self) -> str:
        """What follows the "?", as it came; "" if nothing does."""
        return _text(self._cut().query)

    @property
    def authority(self) -> str:
        """The host that was asked, with its port if that was named."""
        return _text(self._cut().authority)

    @property
    def host(self) -> str:
        """The same in lower case, without the port."""
        return _text(self._cut().host).lower()

    @property
    def http_version(self) -> str:
        return f"{self._cut().major}.{self._cut().minor}"

    @property
    def scheme(self) -> str:
        return self._caller.scheme

    @property
    def route(self) -> str:
        """The name of the route that asks."""
        return self._caller.route

    @property
    def segment_names(self) -> tuple[str, ...]:
        """Of the route's path; "" for literal ones."""
        return self._caller.names

    @property
    def body(self) -> bytes:
        """The start of the body, as much as the route asks for, without the framing of chunks."""
        cdef Head* head = self._cut()
        return (<const char*> head.bytes)[head.size:self._size]

    cdef str _find(self, str name):
        """The value of the first field of a name, or None."""
        cdef Head* head = self._cut()
        cdef const uint8_t* data = head.bytes
        cdef const uint8_t* wanted
        cdef Field* field
        cdef Py_ssize_t size
        cdef uint32_t i
        if not PyUnicode_IS_ASCII(name):
            return None
        wanted = <const uint8_t*> PyUnicode_DATA(name)
        size = PyUnicode_GET_LENGTH(name)
        for i in range(head.n_fields):
            field = &head.fields[i]
            if field.name_size == size and not _is_hidden(field) and _same(
                    data + field.name_at, wanted, field.name_size):
                return (<const char*> data + field.value_at)[:field.value_size].decode("latin-1")
        return None

    @property
    def headers(self) -> RequestHeaders:
        cdef RequestHeaders headers = RequestHeaders.__new__(RequestHeaders)
        headers._request = self
        return headers

    def fields(self) -> list[tuple[str, str]]:
        """All header fields as they came, names in lower case."""
        cdef Head* head = self._cut()
        cdef const char* data = <const char*> head.bytes
        cdef uint32_t i
        found = []
        for i in range(head.n_fields):
            if _is_hidden(&head.fields[i]):
                continue
            found.append((
                data[head.fields[i].name_at:head.fields[i].name_at + head.fields[i].name_size]
                .decode("latin-1").lower(),
                data[head.fields[i].value_at:head.fields[i].value_at + head.fields[i].value_size]
                .decode("latin-1"),
            ))
        return found

    def cookie_fields(self) -> list[str]:
        """The values of all Cookie fields."""
        cdef Head* head = self._cut()
        cdef const char* data = <const char*> head.bytes
        cdef uint32_t i
        found = []
        for i in range(head.n_fields):
            if head.fields[i].kind == FIELD_COOKIE:
                found.append(data[
                    head.fields[i].value_at:head.fields[i].value_at + head.fields[i].value_size
                ].decode("latin-1"))
        return found

    @property
    def known(self) -> dict[str, object]:
        """What was found out already: for whoever computes something from it once."""
        if self._known is None:
            self._known = {}
        return self._known


@cython.freelist(8)
cdef class RequestHeaders:
    """Header fields by name, in any case. Of several of a name, the first, as routes see it; all
    are in `getlist(name)`. Made by `Request.headers`."""

    def __getitem__(self, str name not None) -> str:
        value = self._request._find(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, str name not None, default=None):
        value = self._request._find(name)
        return default if value is None else value

    def __contains__(self, name) -> bool:
        return isinstance(name, str) and self._request._find(name) is not None

    def getlist(self, str name not None) -> list[str]:
        small = name.lower()
        return [value for key, value in self._request.fields() if key == small]

    def keys(self) -> list[str]:
        return list(dict(self._request.fields()))

    def values(self) -> list[str]:
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[str, str]]:
        found = {}
        for key, value in self._request.fields():
            found.setdefault(key, value)
        return list(found.items())

    def __iter__(self):
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def __repr__(self) -> str:
        return f"RequestHeaders({dict(self.items())!r})"


cdef class Connection(Asked):
    """A connection as a tcp listener's policy sees it: who has connected, to what, and `data`, the
    first bytes that the client has sent (b"" if it waits for the server to begin)."""

    @property
    def local_host(self) -> str:
        return self._about.local_ip[:self._about.local_ip_size].decode("latin-1")

    @property
    def local_port(self) -> int:
        return self._about.local_port


cdef tuple _NOTHING = ()


cdef object _new(object kind):
    """kind.__new__(kind), without looking it up."""
    return (<PyTypeObject*> kind).tp_new(kind, <PyObject*> _NOTHING, NULL)


cdef void _take(Asked asked, Caller caller, About* about) noexcept:
    """Move `about` into `asked`, which frees it when it is deleted."""
    asked._caller = caller
    asked._about = about[0]
    about.secured = NULL
    about.others = NULL


cdef Request make_request(Caller caller, const Head* head, Text body, About* about):
    cdef Request request = _new(caller.request_class)
    _take(request, caller, about)
    request._head = <Head*> malloc(kept_bytes(head, body))
    if request._head == NULL:
        raise MemoryError
    keep_head(request._head, head, body)
    request._size = head.size + body.size
    return request


cdef Connection make_connection(Caller caller, const uint8_t* data, size_t size, About* about):
    cdef Connection connection = _new(caller.request_class)
    _take(connection, caller, about)
    connection.data = (<const char*> data)[:size]
    return connection


cdef TlsFacts* facts_of(object told) except? NULL:
    """Of four texts, in the order of TlsFact, with one holder; None: no TLS."""
    cdef Text[TLS_FACTS] all
    cdef TlsFacts* facts
    cdef int i
    if told is None:
        return NULL
    texts = [text.encode("ascii") for text in told]     # (which the list holds)
    for i in range(TLS_FACTS):
        all[i] = text_of(<const uint8_t*> <const char*> <bytes> texts[i], len(texts[i]))
    facts = make_facts(all)
    if facts == NULL:
        raise MemoryError
    return facts


cdef list _view(object told, Text* all):
    """Five texts, in the order of ProxyFact, for as long as what this returns."""
    cdef int i
    texts = [text.encode("ascii") for text in told]
    for i in range(PROXY_FACTS):
        all[i] = text_of(<const uint8_t*> <const char*> <bytes> texts[i],
                         <uint32_t> len(texts[i]))
    return texts


def request_of(Caller caller, bytes head, bytes body, str client_host, int client_port,
               secured=None, told=None) -> Request:
    """A request of these bytes, as for a test. Raises ValueError where they are none."""
    cdef About about
    cdef Text[PROXY_FACTS] texts
    cdef bytes raw = head + body
    cdef bytes ip = client_host.encode("latin-1")
    cdef const uint8_t* data = <const uint8_t*> <const char*> raw
    cdef uint32_t size = <uint32_t> len(head)
    cdef uint8_t* room
    cdef Head* cut
    if not llhttp_known():
        raise RuntimeError("there is no parser yet: a balancer that starts binds it")
    if len(ip) > <int> sizeof(about.ip):
        raise ValueError("not the text of an address")
    memset(&about, 0, sizeof(about))
    about.ip_size, about.port = len(ip), client_port
    memcpy(about.ip, <const char*> ip, len(ip))
    # Normalised, each of the target's bytes may become six, and a path that isn't there one.
    cut = <Head*> malloc(sizeof(Head) + 6 * size + 1)
    if cut == NULL:
        raise MemoryError
    room = <uint8_t*> (cut + 1)
    try:                                # as the engine does it
        about.secured = facts_of(secured)
        kept = _view(told, texts) if told is not None else None
        if kept is not None and not about_tell(&about, texts):
            raise MemoryError
        if parse_request(cut, data, size, FIELDS_MAX, size) != <int> size:
            raise ValueError("not a request's head")
        if normalise(cut, caller.merge_slashes, room) == NULL:
            raise ValueError("not a request's path")
        return make_request(
            caller, cut, text_of(data + size, <uint32_t> (len(raw) - size)), &about)
    finally:
        free(cut)
        about_drop(&about)
