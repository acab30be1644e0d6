# What a policy sees of a request. The bytes are copied, and cut up when somebody asks: most look at
# a header or the path.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport calloc, free, malloc

from fastlb._core.base.head cimport FIELD_COOKIE, Head, Text
from fastlb._core.base.limits cimport FIELDS_MAX
from fastlb._core.base.text cimport equal_nocase
from fastlb._core.http.admit cimport normalise
from fastlb._core.proto.http1 cimport parse_request
from fastlb._core.tables.caller cimport Caller


cdef class Request:
    """A request as its routes see it: path and query are normalised, header fields as they came."""

    def __dealloc__(self):
        free(self._head)
        free(self._made)

    cdef Head* _parsed(self) except NULL:
        cdef const uint8_t* data = <const uint8_t*> <const char*> self._raw
        cdef Head* head
        if self._head != NULL:
            return self._head
        head = <Head*> calloc(1, sizeof(Head))
        if head == NULL:
            raise MemoryError
        # (As the engine did, so that it can't go otherwise.)
        if parse_request(head, data, self._head_size, FIELDS_MAX, <uint32_t> self._head_size) <= 0:
            free(head)
            raise ValueError("not a request's head")
        self._made = <uint8_t*> malloc(2 * (head.path.size + head.query.size) + 16)
        if self._made == NULL:
            free(head)
            raise MemoryError
        if not normalise(head, self._caller.merge_slashes, self._made):
            free(head)
            raise ValueError("not a request's path")
        self._head = head
        return head

    cdef str _text(self, Text text):
        return (<const char*> text.at)[:text.size].decode("latin-1") if text.size else ""

    @property
    def method(self) -> str:
        """In upper case, as it came."""
        cdef Head* head = self._parsed()
        return (<const char*> head.bytes + head.method_at)[:head.method_size].decode("latin-1")

    @property
    def path(self) -> str:
        """As routes match it: normalised, and percent-encoded where that means something."""
        return self._text(self._parsed().path)

    @property
    def query(self) -> str:
        """What follows the "?", as it came; "" if nothing does."""
        return self._text(self._parsed().query)

    @property
    def authority(self) -> str:
        """The host that was asked, with its port if that was named."""
        return self._text(self._parsed().authority)

    @property
    def host(self) -> str:
        """The same without the port."""
        return self._text(self._parsed().host)

    @property
    def http_version(self) -> str:
        return f"{self._parsed().major}.{self._parsed().minor}"

    @property
    def scheme(self) -> str:
        return self._caller.scheme

    @property
    def listener(self) -> str:
        """The name of the listener that it came to."""
        return self._caller.listener

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
        """The start of the body, as much as the route asks for; of one whose length isn't known
        beforehand nothing."""
        return self._raw[self._head_size:]

    def header(self, bytes name) -> str | None:
        """The first field of a name in lower case, or None."""
        cdef Head* head = self._parsed()
        cdef const uint8_t* at = <const uint8_t*> <const char*> name
        cdef uint32_t i
        for i in range(head.n_fields):
            if equal_nocase(head.bytes + head.fields[i].name_at, head.fields[i].name_size, at,
                            <uint32_t> len(name)):
                return (<const char*> head.bytes + head.fields[i].value_at)[
                    :head.fields[i].value_size].decode("latin-1")
        return None

    def fields(self) -> list[tuple[str, str]]:
        """All header fields as they came, names in lower case."""
        cdef Head* head = self._parsed()
        cdef const char* data = <const char*> head.bytes
        cdef uint32_t i
        found = []
        for i in range(head.n_fields):
            found.append((
                data[head.fields[i].name_at:head.fields[i].name_at + head.fields[i].name_size]
                .decode("latin-1").lower(),
                data[head.fields[i].value_at:head.fields[i].value_at + head.fields[i].value_size]
                .decode("latin-1"),
            ))
        return found

    def cookie_fields(self) -> list[str]:
        """The values of all Cookie fields."""
        cdef Head* head = self._parsed()
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


cdef Request make_request(Caller caller, const uint8_t* data, size_t head_size, size_t size,
                          const char* client_ip, size_t client_ip_size, int client_port):
    cdef object kind = caller.request_class
    cdef Request request = kind.__new__(kind)
    request._caller = caller
    request._raw = (<const char*> data)[:size]
    request._head_size = head_size
    request.client_host = client_ip[:client_ip_size].decode("ascii")
    request.client_port = client_port
    return request


def request_of(Caller caller, bytes head, bytes body, str client_host, int client_port) -> Request:
    """A request of these bytes, as for a test. Raises ValueError where they are none."""
    cdef bytes raw = head + body
    cdef bytes ip = client_host.encode("ascii")
    cdef Request request = make_request(
        caller, <const uint8_t*> <const char*> raw, len(head), len(raw), <const char*> ip,
        len(ip), client_port)
    request._parsed()
    return request
