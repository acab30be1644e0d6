"""A request as its client would send it, the listener that it would reach, and what is wrong with
one that is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fastlb.config.address import USUAL_PORTS, Address
from fastlb.config.effective import EffectiveListener

SCHEMES = ("http", "https", "tcp", "tls", "udp")
WEBSOCKETS = {"ws": "http", "wss": "https"}     # what the request of one begins as
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Url:
    """`scheme` and `authority` are "" for a path alone; `target` is what the request line has."""

    scheme: str
    authority: str
    target: str

    @property
    def host(self) -> str:
        return self._split()[0]

    @property
    def port(self) -> int | None:
        port = self._split()[1]
        return int(port) if port else USUAL_PORTS.get(self.scheme)

    def _split(self) -> tuple[str, str]:
        found = re.fullmatch(r"(.*?)(?::([0-9]{1,5}))?", self.authority)
        assert found is not None
        return found[1].strip("[]"), found[2] or ""


def parse_url(text: str) -> Url:
    """"https://HOST:PORT/PATH?QUERY", "tcp://HOST:PORT", or a path. Raises ValueError."""
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ValueError(f"{text!r} has control characters")
    text = text.split("#")[0]
    found = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?]*)(.*)", text)
    if found is None:
        if not text.startswith("/") and text != "*":
            raise ValueError(
                f'{text!r} is neither a URL like "http://localhost:8080/docs/7" nor a path'
            )
        return Url("", "", text)
    scheme = WEBSOCKETS.get(found[1].lower(), found[1].lower())
    if scheme not in SCHEMES:
        raise ValueError(f"{scheme}:// is not spoken here. One of: {', '.join(SCHEMES)}")
    target = found[3] if found[3].startswith("/") else "/" + found[3]
    return Url(scheme, found[2], target)


def request_bytes(
    method: str, url: Url, headers: Headers, body: bytes, default_host: str
) -> bytes:
    """Head and body. Raises ValueError for what can't be written in a head."""
    fields = list(headers.items() if isinstance(headers, Mapping) else headers)
    for field in fields:
        if not (len(field) == 2 and all(isinstance(text, str) for text in field)):
            raise ValueError(f"{field!r} is not a header field's name and value")
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", url.authority or default_host))
    if body and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {url.target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields]
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ValueError(f"{line!r} has a line end in it")
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def parse_client(text: str) -> tuple[str, int]:
    """"IP", "IP:PORT" or "[v6]:PORT"; a port that isn't given is 0. Raises ValueError."""
    import ipaddress

    found = re.fullmatch(r"\[(.*)\](?::([0-9]{1,5}))?|([0-9.]+)(?::([0-9]{1,5}))?|(.*)", text)
    assert found is not None
    host = found[1] or found[3] or found[5] or ""
    port = int(found[2] or found[4] or 0)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address, with or without a port") from None
    if port > 65535:
        raise ValueError(f"{text!r}: {port} is not a port from 0 to 65535")
    return host, port


def choose_listener(
    listeners: Sequence[EffectiveListener], binds: Mapping[str, Sequence[Address]], url: Url,
    wanted: str | None,
) -> tuple[EffectiveListener, str]:
    """The listener that a request for a URL reaches, and why. Raises ValueError."""
    names = ", ".join(listener.name for listener in listeners) or "none"
    if wanted is not None:
        for listener in listeners:
            if listener.name == wanted:
                return listener, "it was asked for"
        raise ValueError(f"there is no listener {wanted!r}; there are: {names}")
    modes = ("http",) if url.scheme in ("", "http", "https") else (
        ("udp",) if url.scheme == "udp" else ("tcp",))
    fitting = [listener for listener in listeners if listener.scheme in modes]
    if url.authority:
        first = sorted(fitting, key=lambda one: one.written_scheme != url.scheme)
        for listener in [*first, *listeners]:
            for bind in binds[listener.name]:
                if bind.port is not None and bind.port == url.port and _meets(bind, url.host):
                    return listener, f"it listens on {bind}"
    if not fitting:
        raise ValueError(f"no listener speaks {' or '.join(modes)}; there are: {names}")
    # (http and https both speak HTTP; the one that is written in the URL comes first)
    same = [listener for listener in fitting if listener.written_scheme == url.scheme]
    what = url.scheme if same else fitting[0].scheme
    fitting = same or fitting
    if len(fitting) == 1:
        return fitting[0], f"the only one that speaks {what}"
    return fitting[0], f"the first that speaks {what}; name another with its listener"


def met_by(binds: Sequence[Address], url: Url) -> tuple[str, int]:
    """What a client of the URL has connected to; ("", 0) for a unix socket."""
    bind = next((one for one in binds
                 if url.authority and one.port == url.port and _meets(one, url.host)), binds[0])
    if bind.host is None:
        return "", 0
    host = url.host if bind.host in ("0.0.0.0", "::") and _is_ip(url.host) else bind.host
    return host, bind.port or 0


def _is_ip(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+|.*:.*", host) is not None


def _meets(bind: Address, host: str) -> bool:
    """A name may stand for any address."""
    if bind.host in ("0.0.0.0", "::") or bind.host == host:
        return True
    return not _is_ip(host)


# --- refusals ---

_BY_STATUS = {
    405: "connect: CONNECT is for forward proxies",
    413: "the body is longer than max_body_size",
    414: "long-target: the target is longer than max_uri_length",
    417: "expect: the only expectation is 100-continue",
    431: "many-fields or large-head: more than max_headers fields, or max_header_size bytes",
    505: "other-version: HTTP/1.0 and 1.1 are spoken",
}


def rule(status: int, raw: bytes) -> str:
    """The rule of docs/http.md that a request was refused by, as far as can be told."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return next(_rules(raw), "see docs/http.md, What is refused")


def _rules(raw: bytes) -> Iterator[str]:
    head = raw.partition(b"\r\n\r\n")[0].decode("latin-1")
    line, *fields = head.split("\r\n")
    pairs = [field.partition(":")[::2] for field in fields]
    names = [name.lower() for name, _ in pairs]
    values = {name.lower(): value.strip() for name, value in pairs}
    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0]
    path = target.partition("?")[0]
    if not re.fullmatch("[A-Z-]+", method):
        yield "method: it isn't a registered one"
    if " " in target or "#" in target:
        yield "target-bytes: a space or a fragment in the target"
    if "transfer-encoding" in names and "content-length" in names:
        yield "length-and-coding: Content-Length together with Transfer-Encoding"
    if values.get("transfer-encoding", "chunked").lower() != "chunked":
        yield "not-just-chunked: a Transfer-Encoding that isn't exactly chunked"
    if names.count("content-length") > 1:
        yield "two-lengths: more than one Content-Length"
    if not re.fullmatch("[0-9]{1,18}", values.get("content-length", "0")):
        yield "odd-length: a Content-Length that isn't digits alone"
    if names.count("host") != 1:
        yield "two-hosts: more than one Host" if "host" in names else "no-host: no Host"
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:[0-9]{1,5})?", values.get("host", "")):
        yield "odd-host: a Host that isn't a name or an address with an optional port"
    for name in names:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            yield "name-bytes: a byte in a name that no token has"
    if "\\" in path:
        yield "path-backslash: a backslash in the path"
    if re.search("%(?![0-9A-Fa-f]{2})|%00", path):
        yield "path-escapes: an escape that isn't two hexadecimal digits, or of NUL"
    if re.search(r"\.\.|%2e", path, re.IGNORECASE):
        yield "path-climbs: dot segments that climb above the root, or beside an escaped slash"
    if not re.fullmatch("[A-Z]{3,}", method):
        yield "method: it isn't a registered one"
    if not target.startswith("/"):
        yield "target: neither a path nor an absolute http URI"
    yield (
        "method, value-bytes or a key twice in a body that routes look at: see docs/http.md, What"
        " is refused"
    )
