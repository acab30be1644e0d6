"""What a policy sees and says: a Request or a Connection, and a pool, a server, an answer."""

from __future__ import annotations

import contextlib
import json as _json
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from fastlb._core.policy.request import Connection as _Connection
from fastlb._core.policy.request import Request as _Request
from fastlb._core.policy.request import RequestHeaders as RequestHeaders
from fastlb.config.limits import POLICY_ANSWER_MAX
from fastlb.config.patterns import check_edited_name

if TYPE_CHECKING:
    from fastlb.handles import Pool, RunningServer

Edit = tuple[str, bytes, bytes]         # set, add or remove; name; value
# Pool, server, what is hashed, (status, content type, content, lines), edits of both heads.
Fields = tuple[
    "str | None", "str | None", "bytes | None", "tuple[int, bytes, bytes, bytes] | None",
    "tuple[Edit, ...]", "tuple[Edit, ...]",
]

Headers = Mapping[str, str]

# The paths of functions that have been given a route, for tests that call them alone.
_paths: weakref.WeakKeyDictionary[Callable[..., Any], str] = weakref.WeakKeyDictionary()


def remember_path(function: Callable[..., Any], path: str) -> None:
    with contextlib.suppress(TypeError):        # what can't be remembered has no name either
        _paths[function] = path


def path_of(function: Callable[..., Any]) -> str:
    """The pattern of the route that a function was given. ValueError if it has none."""
    path = _paths.get(function)
    if path is None:
        raise ValueError(f"{function!r} has no route with a path")
    return path


class Address(NamedTuple):
    """An IP address ("unix:" of a unix socket), and a port."""

    host: str
    port: int


class Tls(NamedTuple):
    """What TLS knows of a client. `sni` is the name that it asked for, "" if none; `version` is
    "TLSv1.2" or "TLSv1.3". Of a certificate that was verified, `client_subject` is the subject, as
    RFC 4514 writes it, and `client_fingerprint` its SHA-256 in hexadecimal digits; else both are
    ""."""

    sni: str = ""
    version: str = "TLSv1.3"
    client_subject: str = ""
    client_fingerprint: str = ""


class Proxied(NamedTuple):
    """What a trusted proxy told of a client, by the PROXY protocol. `authority` is the name that
    the client asked the proxy for, `unique_id` the connection's id there, `alpn` the protocol that
    was chosen, `vpce` the id of its VPC endpoint (AWS), `dst` where it connected to, "IP:PORT".
    What wasn't told is ""."""

    authority: str = ""
    unique_id: str = ""
    alpn: str = ""
    vpce: str = ""
    dst: str = ""


class Request(_Request):
    """A request that a route asks a policy about. Names follow Starlette's.

    `method`, `path` (normalised, as routes match it), `query`, `host`, `authority` (with the port),
    `scheme`, `http_version`, `listener` and `route` are texts. `headers["x-tier"]` finds a field in
    any case; of several, the first, and `headers.getlist(name)` has all. `body` is as much of the
    body as the route's policy asks for (`body = "4KiB"`).
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    @property
    def client(self) -> Address:
        """Who asks: its address, as trusted proxies saw it, and the port of its connection."""
        return Address(self.client_host, self.client_port)

    @property
    def tls(self) -> Tls | None:
        """What TLS knows of the client; None where there is none."""
        secured = self.secured
        return Tls(*secured) if secured is not None else None

    @property
    def proxy(self) -> Proxied | None:
        """What a trusted proxy told of the client; None where none did."""
        told = self.told
        return Proxied(*told) if told is not None else None

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def query_params(self) -> dict[str, str]:
        """Decoded. Of several of a name, the first, as routes see it."""
        params = self.known.get("query_params")
        if params is None:
            params = self.known["query_params"] = _first(
                parse_qsl(self.query, keep_blank_values=True)
            )
        return params

    @property
    def cookies(self) -> dict[str, str]:
        """By name, as they came. Of several of a name, the first."""
        cookies = self.known.get("cookies")
        if cookies is None:
            pairs = (
                piece.strip().partition("=")
                for value in self.cookie_fields() for piece in value.split(";")
            )
            cookies = self.known["cookies"] = _first(
                (name, value.strip('"')) for name, equals, value in pairs if equals
            )
        return cookies

    @property
    def path_params(self) -> dict[str, str]:
        """The named segments of the route's path."""
        params = self.known.get("path_params")
        if params is None:
            segments = self.path.split("/")[1:]
            params = self.known["path_params"] = {
                name: value
                for name, value in zip(self.segment_names, segments, strict=False) if name
            }
        return params

    def json(self) -> Any:
        """The body, parsed. Raises ValueError where it isn't JSON, or isn't all there."""
        return _json.loads(self.body)


class Connection(_Connection):
    """A connection that a tcp listener asks a policy about.

    `data` are the first bytes that the client has sent, as far as the policy wants to see them
    (`first_bytes = "1KiB"`) and they came in time.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Connection of {self.client.host} to {self.listener}, {len(self.data)} bytes>"

    @property
    def client(self) -> Address:
        """Who has connected."""
        return Address(self.client_host, self.client_port)

    @property
    def tls(self) -> Tls | None:
        """What TLS knows of the client; None where there is none."""
        secured = self.secured
        return Tls(*secured) if secured is not None else None

    @property
    def proxy(self) -> Proxied | None:
        """What a trusted proxy told of the client; None where none did."""
        told = self.told
        return Proxied(*told) if told is not None else None

    @property
    def local(self) -> Address:
        """What it has connected to."""
        return Address(self.local_host, self.local_port)


def _first(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _value(text: str) -> bytes:
    """Of a header field (RFC 9110, 5.5)."""
    data = text.encode("latin-1")
    if any((byte < 32 and byte != 9) or byte == 127 for byte in data):
        raise ValueError(f"{text!r} has characters that a header field can't have")
    return data


def _name(text: str) -> bytes:
    return check_edited_name(text).encode("ascii")


_OCTETS = "application/octet-stream"


class _Decided:
    """What can be returned: `_decided` says what the engine is to do, and is made only once."""

    _decided: Fields


def _decide(what: _Decided, fields: Fields) -> None:
    object.__setattr__(what, "_decided", fields)        # (they are frozen)


@dataclass(frozen=True)
class Response(_Decided):
    """An answer of our own: `Response(401, json={"error": "who are you?"})`.

    `body` is text or bytes, or `json` anything that json.dumps() takes. Raises ValueError for what
    can't be sent.
    """

    status: int = 200
    body: str | bytes = b""
    _: KW_ONLY
    json: Any = None
    headers: Headers = field(default_factory=dict)
    content_type: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.status, int) and 200 <= self.status <= 599):
            write = "; write Response(200, \"text\")" if isinstance(self.status, str) else ""
            raise ValueError(f"{self.status!r} is not a status from 200 to 599{write}")
        content = self.body.encode() if isinstance(self.body, str) else self.body
        kind = "text/plain; charset=utf-8" if isinstance(self.body, str) else _OCTETS
        if self.json is not None:
            content = _json.dumps(self.json).encode()
            kind = "application/json"
        if content and self.status in (204, 304):
            raise ValueError(f"an answer with {self.status} has no body")
        lines = b""
        for name, value in self.headers.items():
            if _name(name) == b"content-type":
                kind = value
            else:
                lines += b"%b: %b\r\n" % (_name(name), _value(value))
        if len(content) + len(lines) > POLICY_ANSWER_MAX:
            raise ValueError(f"an answer of more than {POLICY_ANSWER_MAX} bytes is for a server")
        kind = self.content_type or kind
        _decide(self, (None, None, None, (self.status, _value(kind), content, lines), (), ()))


@dataclass(frozen=True)
class Redirect(_Decided):
    """Send the client elsewhere: `Redirect("https://example.com/")`."""

    to: str
    status: int = 302

    def __post_init__(self) -> None:
        if self.status not in (301, 302, 303, 307, 308):
            raise ValueError(f"{self.status} is no redirect: 301, 302, 303, 307 or 308")
        if not isinstance(self.to, str):
            raise TypeError(f"{self.to!r} is not where to go; write Redirect(\"/elsewhere\", 302)")
        line = b"location: %b\r\n" % _value(self.to)
        answer = (self.status, b"text/plain; charset=utf-8", b"", line)
        _decide(self, (None, None, None, answer, (), ()))


@dataclass(frozen=True)
class Hashed(_Decided):
    """The server of a hash pool that a key has: `Hashed("docs", "7")`, or `docs.hash("7")`."""

    pool: str
    key: str

    def __post_init__(self) -> None:
        _decide(self, (self.pool, None, self.key.encode(), None, (), ()))


@dataclass(frozen=True)
class Forward(_Decided):
    """A pool, server or key (None: as the route says), with other header fields.

    `headers` replace those of the request, None removes one; `response_headers` likewise.
    """

    to: Pool | RunningServer | Hashed | str | None = None
    _: KW_ONLY
    headers: Mapping[str, str | None] = field(default_factory=dict)
    response_headers: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pool, server, key = None, None, None
        if isinstance(self.to, str):
            pool = self.to
        elif self.to is not None:
            pool, server, key = self.to._decided[:3]
        _decide(self, (pool, server, key, None, tuple(_edits(self.headers)),
                       tuple(_edits(self.response_headers))))


class Close:
    """What the policy of a tcp listener returns to close the connection."""

    _decided = "close"

    def __repr__(self) -> str:
        return "Close()"


class More:
    """What the policy of a tcp listener returns to be asked again with more of the first bytes; if
    there are no more, or not in time, it has failed."""

    _decided = "more"

    def __repr__(self) -> str:
        return "More()"


def _edits(headers: Mapping[str, str | None]) -> Iterator[Edit]:
    for name, value in headers.items():
        if value is None:
            yield "remove", _name(name).lower(), b""
        else:
            yield "set", _name(name).lower(), _value(value)


if TYPE_CHECKING:
    Decision: TypeAlias = (
        Pool | RunningServer | Hashed | Response | Redirect | Forward | Close | More | str | None
    )
else:
    Decision = object
