"""Routes as compiled, searched directly."""

from __future__ import annotations

from typing import Any

import fastlb
from fastlb._core.tables.live import Live
from fastlb._core.tables.snapshot import Snapshot
from fastlb.compile.routes import compile_http
from fastlb.compile.snapshot import BindSpec, compile_pool
from fastlb.config.effective import effective
from fastlb.config.effective_http import EffectiveRoute
from tests.core import parsers


def router(n: int, target: str, *fields: str) -> Any:
    """n routes of several forms, and a request."""
    forms = ("/r{i}/*", "/r{i}/{{id}}", "/api/v{i}/users", "/r{i}/{{id}}/x/*")
    return routed(
        [{"path": forms[i % len(forms)].format(i=i)} for i in range(n)], f"GET {target}", *fields)


def routed(matches: list[dict[str, Any]], line: str, *fields: str) -> Any:
    """Routes r0, r1 and so on, and a request."""
    routes = [
        {"name": f"r{i}", "match": match, "pool": "p"} for i, match in enumerate(matches)
    ]
    values = effective(fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": routes, "pool": "p"}},
        "pools": {"p": {"servers": ["127.0.0.1:1"]}},
    }))
    http = values.listeners[0].http
    assert http is not None
    spec = compile_http(http, EffectiveRoute(name="fallback", pool="p"), {"p": 0}.__getitem__, {})
    bind = BindSpec(id=1, listener="l", pool=0, http=spec, shared=False, max_connections=0,
                    idle_timeout_ms=0, buffer_size=16384, bulk_buffer_size=16384, fds=[])
    snapshot = Snapshot(Live(1), [compile_pool(values.pools[0], [], {})], [bind])
    lines = "".join(f"{field}\r\n" for field in fields)
    return parsers.Router(snapshot, f"{line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())


def test_each_of_many_routes_is_found() -> None:
    for i in (0, 1, 2, 3, 796, 797, 798, 799):
        path = (f"/r{i}/a/b", f"/r{i}/a", f"/api/v{i}/users", f"/r{i}/a/x/y")[i % 4]
        assert router(800, path).find() == f"r{i}"
    assert router(800, "/none").find() == "fallback"


def test_named_segments_come_before_a_longer_prefix() -> None:
    """As docs/http.md has it, although the prefix has more that is literal."""
    matches = [{"path": "/a/b/c/*"}, {"path": "/a/{x}/*"}]
    assert routed(matches, "GET /a/b/c/d").find() == "r1"


def test_routes_of_two_forms_alternate() -> None:
    """With a method comes before without, whichever form their paths have."""
    matches = [
        {"path": "/a/{x}", "method": "GET"}, {"path": "/{y}/b", "method": "POST"},
        {"path": "/a/{x}"},
    ]
    assert routed(matches, "GET /a/b").find() == "r0"
    assert routed(matches, "POST /a/b").find() == "r1"
    assert routed(matches, "PUT /a/b").find() == "r2"
    assert routed(matches, "PUT /c/b").find() == "fallback"
