"""What a policy sees and says: a Request, and a pool, a Response, a redirect or changed headers."""

from __future__ import annotations

import contextlib
import json as _json
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl

from fastlb._core.facts import Request as _Request
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


class Client(NamedTuple):
    """Who asks: its address, as trusted proxies saw it, and the port of its connection."""

    host: str
    port: int


class RequestHeaders(Mapping[str, str]):
    """Header fields by name, in any case. Of several of a name, the first, as routes see it; all
    are in `getlist(name)`."""

    def __init__(self, request: _Request) -> None:
        self._request = request
        self._fields: dict[str, list[str]] | None = None

    def _all(self) -> dict[str, list[str]]:
        if self._fields is None:
            self._fields = {}
            for name, value in self._request.fields():
                self._fields.setdefault(name, []).append(value)
        return self._fields

    def __getitem__(self, name: str) -> str:
        value = self._request.header(name.lower().encode("latin-1", "replace"))
        if value is None:
            raise KeyError(name)
        return value

    def getlist(self, name: str) -> list[str]:
        return list(self._all().get(name.lower(), ()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"RequestHeaders({dict(self)!r})"


class Request(_Request):
    """A request that a route asks a policy about. Names follow Starlette's.

    `method`, `path` (normalised, as routes match it), `query`, `host`, `authority` (with the port),
    `scheme`, `http_version`, `listener` and `route` are texts; `body` is as much of the body as
    the route's policy asks for (`body = "4KiB"`).
    """

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url}>"

    @property
    def headers(self) -> RequestHeaders:
        headers = self.known.get("headers")
        if headers is None:
            headers = self.known["headers"] = RequestHeaders(self)
        return headers

    @property
    def client(self) -> Client:
        return Client(self.client_host, self.client_port)

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


def _first(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return found


def _value(text: str) -> bytes:
    """Of a header field (RFC 9110, 5.5)."""
    data = text.encode("latin-1")
    if any(byte < 32 and byte != 9 or byte == 127 for byte in data):
        raise ValueError(f"{text!r} has characters that a header field can't have")
    return data


def _name(text: str) -> bytes:
    return check_edited_name(text).encode("ascii")


@dataclass(frozen=True)
class Response:
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
        if not 200 <= self.status <= 599:
            raise ValueError(f"{self.status} is not a status from 200 to 599")
        self._decision()

    def _decision(self) -> Fields:
        content = self.body.encode() if isinstance(self.body, str) else self.body
        content_type = self.content_type or (
            "text/plain; charset=utf-8" if isinstance(self.body, str) else
            "application/octet-stream"
        )
        if self.json is not None:
            content = _json.dumps(self.json).encode()
            content_type = self.content_type or "application/json"
        lines = b"".join(
            b"%b: %b\r\n" % (_name(name), _value(value)) for name, value in self.headers.items()
        )
        return None, None, None, (self.status, _value(content_type), content, lines), (), ()


@dataclass(frozen=True)
class Redirect:
    """Send the client elsewhere: `Redirect("https://example.com/")`."""

    to: str
    status: int = 302

    def __post_init__(self) -> None:
        if self.status not in (301, 302, 303, 307, 308):
            raise ValueError(f"{self.status} is no redirect: 301, 302, 303, 307 or 308")
        self._decision()

    def _decision(self) -> Fields:
        line = b"location: %b\r\n" % _value(self.to)
        return None, None, None, (self.status, b"text/plain; charset=utf-8", b"", line), (), ()


@dataclass(frozen=True)
class Hashed:
    """The server of a hash pool that a key has. Made by `Pool.hash()`."""

    pool: str
    key: str

    def _decision(self) -> Fields:
        return self.pool, None, self.key.encode(), None, (), ()


@dataclass(frozen=True)
class Forward:
    """A pool, server or key (None: as the route says), with other header fields.

    `headers` replace those of the request, None removes one; `response_headers` likewise.
    """

    to: Pool | RunningServer | Hashed | str | None = None
    _: KW_ONLY
    headers: Mapping[str, str | None] = field(default_factory=dict)
    response_headers: Mapping[str, str | None] = field(default_factory=dict)

    def _decision(self) -> Fields:
        pool, server, key = None, None, None
        if isinstance(self.to, str):
            pool = self.to
        elif self.to is not None:
            pool, server, key = self.to._decision()[:3]
        return (pool, server, key, None, tuple(_edits(self.headers)),
                tuple(_edits(self.response_headers)))


def _edits(headers: Mapping[str, str | None]) -> Iterator[Edit]:
    for name, value in headers.items():
        if value is None:
            yield "remove", _name(name).lower(), b""
        else:
            yield "set", _name(name).lower(), _value(value)


if TYPE_CHECKING:
    Decision: TypeAlias = Pool | RunningServer | Hashed | Response | Redirect | Forward | str | None
else:
    Decision = object
