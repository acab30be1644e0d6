"""What each parser promises of any input; an AssertionError says which promise was broken."""

from __future__ import annotations

import json
import random
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.core import parsers
from tests.fuzz import hellos, mutate, proxies, spoken, streams

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
NONE, LENGTH, CHUNKED, CLOSE = range(4)
MEMBERS_MAX, DEPTH_MAX = 128, 64


def request(data: bytes, choose: random.Random) -> None:
    got = parsers.request(data)
    if isinstance(got, int):
        assert got in (0, -400, -405, -414, -417, -431, -505), got
        return
    _message(data, got, parsers.request, choose)
    line = data.lstrip(b"\r\n").partition(b"\r\n")[0]
    method = rb"[!#$%&'*+.^_`|~0-9A-Z-]{1,64}"
    assert re.fullmatch(method + rb" [\x21-\x7e\x80-\xff]+ HTTP/1\.[01]", line), line
    names = [name.lower() for name, _, _ in got["fields"]]
    assert names.count(b"host") == 1 or (got["minor"] == 0 and b"host" not in names)
    assert re.fullmatch(rb"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]", got["host"])
    assert got["kind"] != CLOSE
    if got["kind"] == CHUNKED:
        assert got["minor"] == 1


def response(data: bytes, choose: random.Random) -> None:
    got = parsers.response(data, choose.random() < 0.2)
    if isinstance(got, int):
        assert got in (0, -1)
        return
    _message(data, got, parsers.response, choose)
    assert 100 <= got["status"] <= 599


def _message(
    data: bytes, got: dict[str, Any], parse: Callable[[bytes], Any], choose: random.Random
) -> None:
    used = got["used"]
    assert 0 < used <= len(data) and data[:used].endswith(b"\r\n\r\n")
    assert parse(data[: choose.randrange(used)]) in (0, -414)   # no head before its end
    codings = lengths = 0
    for name, value, _ in got["fields"]:
        assert TOKEN.fullmatch(name), name
        assert VALUE.fullmatch(value) and value == value.strip(b" \t"), value
        codings += name.lower() == b"transfer-encoding"
        lengths += name.lower() == b"content-length"
    assert codings + lengths <= 1
    assert (got["kind"] == CHUNKED) <= (codings == 1)
    assert (got["kind"] == LENGTH) <= (lengths == 1)
    # (What stands in a response's first line is looked at when it is written.)
    for line in data[:used].lstrip(b"\r\n").split(b"\r\n")[1:]:
        assert VALUE.fullmatch(line), line


def chunked(data: bytes, choose: random.Random) -> None:
    whole = parsers.unchunk([data])
    cuts = sorted(choose.randrange(len(data) + 1) for _ in range(choose.randrange(6)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert parsers.unchunk(pieces) == whole or whole is None
    assert (parsers.unchunk(pieces) is None) == (whole is None)
    if whole is not None and whole[2]:
        used = data[: whole[1]]
        again = b"%x\r\n%s\r\n" % (len(whole[0]), whole[0]) if whole[0] else b""
        assert parsers.unchunk([again + b"0\r\n" + whole[3] + b"\r\n"])[0] == whole[0]
        assert used.endswith(b"\r\n")


def path(data: bytes, choose: random.Random) -> None:
    made, merged = parsers.normalise(data) or (None, None)
    for got in (made, merged, parsers.rewritten(data)):
        if got is None:
            continue
        assert got.startswith(b"/")
        assert re.fullmatch(rb"(?:[\x21-\x7e]|%[0-9A-F]{2})+", got)
        assert b"\\" not in got and b"#" not in got and b"%00" not in got
        unslashed = re.sub(rb"%2F|%5C", b"/", got)
        assert not re.search(rb"/\.\.?(?:/|$)", unslashed), got
        assert all(re.match(rb"%[0-9A-F]{2}", got[m.start():]) for m in re.finditer(rb"%", got))
    if made is not None:
        assert parsers.normalise(made) == (made, merged)
        assert parsers.normalise(merged) == (merged, merged)
        assert b"//" not in merged
        assert parsers.rewritten(made) == made


class Twice(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def json_members(data: bytes, choose: random.Random) -> None:
    got = parsers.members(data)
    try:
        text = data.decode("utf-8-sig")
        pairs: list[Any] = []
        value = json.loads(text, parse_constant=_no_constant,
                           object_pairs_hook=lambda found: pairs.append(found) or dict(found))
        json.dumps(value, ensure_ascii=False).encode("utf-8")       # no half of a surrogate
        good = True
    except (ValueError, RecursionError):
        value, pairs, good = None, [], False
    if not good:
        assert got in (0, -1), (data, got)
        return
    if not isinstance(value, dict):
        assert got == [] or (got == 0 and _depth(value) > DEPTH_MAX), (data, got)
        return
    names = [name for name, _ in pairs[-1]]
    if len(set(names)) < len(names):
        assert got in (0, -1), (data, got)
    elif len(names) <= MEMBERS_MAX and _depth(value) <= DEPTH_MAX:
        assert isinstance(got, list), (data, got)
        assert [name.decode() for name, _ in got] == names
        for (_, mine), theirs in zip(got, value.values(), strict=True):
            if isinstance(theirs, str):
                assert mine.decode() == theirs
            elif isinstance(theirs, (dict, list)):
                assert mine is None
            else:
                assert json.loads(mine) == theirs


def form_members(data: bytes, choose: random.Random) -> None:
    got = parsers.members(data, True)
    if not isinstance(got, list):
        return
    theirs = urllib.parse.parse_qsl(data.decode("latin-1"), keep_blank_values=True,
                                    encoding="latin-1")
    mine = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in got]
    assert [pair for pair in mine if pair != ("", "")] == [p for p in theirs if p != ("", "")]


def log_line(data: bytes, choose: random.Random) -> None:
    kind, texts, port, size = got = parsers.log_line(data)
    assert kind in (1, 2, 3)
    assert 0 <= port <= 65535 and 0 <= size < 10**18
    assert sum(map(len, texts.values())) <= len(data)
    if kind == 2:
        assert texts["method"] and texts["target"]
    if kind != 1 and not data.endswith((b"\r", b" ", b"\t")):
        assert parsers.log_line(data + b"\r") == got


PROMISES: dict[str, tuple[tuple[bytes, ...], Callable[[bytes, random.Random], None]]] = {
    "request": (mutate.requests(), request),
    "response": (mutate.ANSWERS, response),
    "chunked": (mutate.CHUNKED, chunked),
    "path": (mutate.PATHS, path),
    "json": (mutate.JSONS, json_members),
    "form": (mutate.FORMS, form_members),
    "log line": (mutate.LINES, log_line),
    "server name": (hellos.NAMED, hellos.server_name),
    "proxy header": (proxies.HEADERS, proxies.promise),
    "hello": (hellos.HELLOS, hellos.whole),
    "first bytes": (spoken.OPENINGS, spoken.first_bytes),
    "client hello": (spoken.OPENINGS[:4] + hellos.HELLOS, spoken.client_hello),
    "connect of MQTT": (spoken.OPENINGS[4:7], spoken.mqtt),
    **({"request of HTTP/2": (streams.REQUESTS, streams.request),
        "answer to HTTP/2": (mutate.ANSWERS, streams.answer)} if H2_AVAILABLE else {}),
}
