# What a policy sees of a request or a connection. The bytes are copied, and cut up when somebody
# asks: most look at a header or the path.
from libc.stdint cimport uint32_t, uint8_t
from libc.stdlib cimport free, malloc

from fastlb._core.base.head cimport FIELD_COOKIE, Head, Text
from fastlb._core.base.limits cimport FIELDS_MAX
from fastlb._core.base.text cimport equal_nocase
from fastlb._core.http.admit cimport normalise
from fastlb._core.proto.http1 cimport parse_request
from fastlb._core.proto.llhttp cimport llhttp_known
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
        if not llhttp_known():
            raise RuntimeError("there is no parser yet: a balancer that starts binds it")
        head = <Head*> malloc(sizeof(Head))     # (parsing leaves nothing of it as it was)
        if head == NULL:
            raise MemoryError
        # (As the engine did, so that it can't go otherwise.)
        if parse_request(head, data, self._head_size, FIELDS_MAX, <uint32_t> self._head_size) <= 0:
            free(head)
            raise ValueError("not a request's head")
        # (Each of their bytes may become three, and a path that isn't there one.)
        self._made = <uint8_t*> malloc(3 * (head.path.size + head.query.size) + 1)
        if self._made == NULL:
            free(head)
            raise MemoryError
        if not normalise(head, self._caller.merge_slashes, self._made):
            free(head)
            free(self._made)
            self._made = NULL
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
        """The same in lower case, without the port."""
        return self._text(self._parsed().host).lower()

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

    cdef str _find(self, str name):
        """The value of the first field of a name, or None."""
        cdef Head* head = self._parsed()
        cdef const uint8_t* at
        cdef bytes small
        cdef uint32_t i
        if not name.isascii():
            return None
        small = name.lower().encode("ascii")
        at = <const uint8_t*> <const char*> small
        for i in range(head.n_fields):
            if equal_nocase(head.bytes + head.fields[i].name_at, head.fields[i].name_size, at,
                            <uint32_t> len(small)):
                return (<const char*> head.bytes + head.fields[i].value_at)[
                    :head.fields[i].value_size].decode("latin-1")
        return None

    @property
    def headers(self) -> RequestHeaders:
        cdef RequestHeaders headers = RequestHeaders.__new__(RequestHeaders)
        headers._request = self
        return headers

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


cdef class RequestHeaders:
    """Header fields by name, in any case. Of several of a name, the first, as routes see it; all
    are in `getlist(name)`. Made by `Request.headers`."""

    def __getitem__(self, str name) -> str:
        value = self._request._find(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, str name, default=None):
        value = self._request._find(name)
        return default if value is None else value

    def __contains__(self, name) -> bool:
        return isinstance(name, str) and self._request._find(name) is not None

    def getlist(self, str name) -> list[str]:
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


cdef class Connection:
    """A connection as a tcp listener's policy sees it: who has connected, to what, and `data`, the
    first bytes that the client has sent (b"" if it waits for the server to begin)."""

    @property
    def listener(self) -> str:
        """The name of the listener that it came to."""
        return self._caller.listener


cdef Request make_request(Caller caller, const uint8_t* data, size_t head_size, size_t size,
                          const char* client_ip, size_t client_ip_size, int client_port):
    cdef object kind = caller.request_class
    cdef Request request = kind.__new__(kind)
    request._caller = caller
    request._raw = (<const char*> data)[:size]
    request._head_size = head_size
    request.client_host = client_ip[:client_ip_size].decode("latin-1")
    request.client_port = client_port
    return request


cdef Connection make_connection(
        Caller caller, const uint8_t* data, size_t size, const char* client_ip,
        size_t client_ip_size, int client_port, const char* local_ip, size_t local_ip_size,
        int local_port):
    cdef object kind = caller.request_class
    cdef Connection connection = kind.__new__(kind)
    connection._caller = caller
    connection.data = (<const char*> data)[:size]
    connection.client_host = client_ip[:client_ip_size].decode("latin-1")
    connection.client_port = client_port
    connection.local_host = local_ip[:local_ip_size].decode("latin-1")
    connection.local_port = local_port
    return connection


def request_of(Caller caller, bytes head, bytes body, str client_host, int client_port) -> Request:
    """A request of these bytes, as for a test. Raises ValueError where they are none."""
    cdef bytes raw = head + body
    cdef bytes ip = client_host.encode("latin-1")
    cdef Request request = make_request(
        caller, <const uint8_t*> <const char*> raw, len(head), len(raw), <const char*> ip,
        len(ip), client_port)
    request._parsed()
    return request


def connection_of(
    Caller caller, bytes data, str client_host, int client_port, str local_host, int local_port
) -> Connection:
    """A connection whose client has sent these bytes, as for a test."""
    cdef bytes ip = client_host.encode("latin-1")
    cdef bytes local = local_host.encode("latin-1")
    return make_connection(
        caller, <const uint8_t*> <const char*> data, len(data), <const char*> ip, len(ip),
        client_port, <const char*> local, len(local), local_port)
