"""What `fastlb check` prints of routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.test_commands import said

SITE = """\
[listeners.site]
bind = "http://127.0.0.1:8080"
pool = "docs"
forwarded = { trusted = ["10.0.0.0/8"] }
request_timeout = "5s"
routes = [
    { name = "late", match = { path = "/a/*" }, pool = "api" },
    { name = "any", match = { path = "/{x}/*" }, pool = "api" },
    { name = "doc", match = { path = "/docs/{doc_id}/raw/x", method = "GET" }, pool = "docs" },
    { name = "twin", match = { path = "/docs/{doc_id}/raw/x", method = "GET" }, pool = "docs" },
    { name = "beta", match = { host = "*.a.test", cookies = { beta = "1" } }, pool = "docs" },
]
[pools.api]
servers = ["10.0.0.1:7000"]
[pools.docs]
servers = ["10.0.0.1:7000"]
balance = "ring_hash"
hash_on = "path.doc_id"
"""


def test_check_tells_the_values_of_routes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(
        """\
[listeners.site]
bind = "http://127.0.0.1:8080"
request_timeout = "5s"
[[listeners.site.routes]]
name = "all"
match.path = "/docs/{id}/*"
split = { a = 1, b = 1 }
split_on = "cookie.user"
rewrite = { path = "/{path.rest}", host = "docs.internal" }
request_headers = { set = { x-doc = "{path.id}" }, remove = ["x-debug"] }
response_headers = { add = { x-id = "{request.id}" } }
mirror = { pool = "a", share = "10%" }
compress = { codings = ["gzip", "br"], level = { gzip = 6 } }
priority = "high"
retry = { attempts = 2, on = ["503"], non_idempotent = true }
response_header_timeout = "2s"
request_timeout = "0s"
max_body_size = "1MiB"
on_client_close = "drain"
[[listeners.site.routes]]
name = "robots"
match.path = "/robots.txt"
request_timeout = "5s"
respond = { body = "hi", headers = { x-a = "b" } }
[pools.a]
servers = ["10.0.0.1:7000"]
limits = { max_requests = 5, max_pending = 5 }
[pools.b]
servers = ["10.0.0.1:7000"]
""")
    status, out, _ = said(capsys, "check", str(path))
    assert status == 0
    begin = out.index("  routes, in")
    assert out[begin:out.index("\npool a")] == """\
  routes, in the order in which they are tried
    robots             /robots.txt -> respond 200
      respond                  2B of 'text/plain; charset=utf-8', x-a: b route
    all                /docs/{id}/* -> split a 1, b 1
      split_on                 cookie.user                      route
      rewrite.path             /{path.rest}                     route
      rewrite.host             docs.internal                    route
      request_headers          remove x-debug, set x-doc: {path.id} route
      response_headers         add x-id: {request.id}           route
      mirror                   pool a, 10%                      route
      compress                 gzip 6, br 4                     route
      priority                 high                             route
      retry                    2 tries, also of POST            route
      retry.on                 connect_failure, 503             route
      response_header_timeout  2s                               route
      request_timeout          none                             route
      max_body_size            1MiB                             route
      on_client_close          drain                            route
"""


def test_check_tells_of_routes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.toml"
    path.write_text(SITE)
    status, out, err = said(capsys, "check", str(path))
    assert status == 0
    assert "\n  request_timeout            5s                                   listener\n" in out
    assert "\n  forwarded.trusted          10.0.0.0/8                           listener\n" in out
    tried = out.partition("routes, in the order in which they are tried\n")[2].splitlines()[:5]
    assert [line.split()[0] for line in tried] == ["beta", "doc", "twin", "any", "late"]
    assert tried[0].endswith("*.a.test, cookie.beta equals \"1\" -> pool docs")
    hashed = "which pool 'docs' hashes: client.ip is hashed instead"
    assert err.splitlines() == [f"warning: {path}: listeners.site{line}" for line in (
        ": route 'twin' is never reached: all that fits it fits 'doc', which is tried before",
        ": route 'late' is never reached: all that fits it fits 'any', which is tried before",
        f": route 'beta' has no segment {{doc_id}}, {hashed}",
        f".pool: what no route fits has no segment {{doc_id}}, {hashed}",
    )]


REGEX = """
[listeners.web]
bind = "http://127.0.0.1:8080"
[[listeners.web.routes]]
name = "api"
match.path = "/api/*"
pool = "p"
[[listeners.web.routes]]
name = "users"
match.path_regex = "%s"
match.method = "POST"
pool = "p"
%s
[pools.p]
servers = ["127.0.0.1:1"]
"""
HIDDEN = (
    "listeners.web: route 'users' is never reached: all paths of its path_regex fit 'api' (/api/*),"
    " which is tried before; give 'users' an order below 0 to try it before"
)
PARTLY = (
    "listeners.web: route 'users' doesn't get what fits 'api' (/api/*), which is tried before; give"
    " 'users' an order below 0 to try it before"
)


@pytest.mark.parametrize(("regex", "more", "told"), [
    ("/api/.*users.*", "", [HIDDEN]), ("/api(/[a-z]+)?", "", [HIDDEN]), ("/api", "", [HIDDEN]),
    (".*users.*", "", [PARTLY]), ("/(api|v2)/users", "", [PARTLY]),
    ("/v2/.*", "", []), ("/apis/.*", "", []), ("/api/.*users.*", "order = -1", []),
])
def test_check_warns_of_a_regex_that_a_path_hides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], regex: str, more: str, told: list[str]
) -> None:
    path = tmp_path / "a.toml"
    path.write_text(REGEX % (regex, more))
    status, _, err = said(capsys, "check", str(path))
    assert status == 0
    assert err.splitlines() == [f"warning: {path}: {line}" for line in told]
