"""Rules that a client can't walk around by writing a request in another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, get

pytestmark = pytest.mark.h2

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
CLAIMS = (
    "X-Real-IP", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Ssl",
    "X-Forwarded-Scheme", "X-Forwarded-Client-Cert", "X-Original-URL", "X-Rewrite-URL",
    "X-Client-Cert", "True-Client-IP", "X-Cluster-Client-IP",
)


def guarded(web: Web, origins: Origins, match: dict[str, Any], **keys: Any) -> HttpSite:
    """What fits is refused with 403; all else reaches the origin."""
    return web([origins().address], **keys, routes=[
        {"name": "no", "match": match, "respond": {"status": 403}},
        {"name": "yes", "pool": "pool"}])


@pytest.mark.parametrize("query", [
    "role=admin", "role=adm%69n", "r%6Fle=admin", "role=user&role=admin", "role&role=%61dmin",
    "role=admin&role=user", "x=1&&role=admin&y",
])
def test_any_parameter_counts_as_servers_read_it(
    web: Web, origins: Origins, query: str
) -> None:
    site = guarded(web, origins, {"query": {"role": "admin"}})
    assert site.ask(get(f"/?{query}")).status == 403


@pytest.mark.parametrize("query", ["", "role=user", "role=admins", "role=adm%2569n", "%72ol=admin"])
def test_other_parameters_pass(web: Web, origins: Origins, query: str) -> None:
    site = guarded(web, origins, {"query": {"role": "admin"}})
    assert site.ask(get(f"/?{query}")).status == 200


@pytest.mark.parametrize("body", [
    "role=admin", "role=adm%69n", "x=%zz&role=admin", "role=admin&x=%", "role=admin&x=%4",
    "%&role=admin",
])
def test_a_form_counts_as_servers_read_it(web: Web, origins: Origins, body: str) -> None:
    site = guarded(web, origins, {"form": {"role": "admin"}})
    head = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}"
    request = f"POST / HTTP/1.1\r\nHost: site.test\r\n{head}\r\n\r\n{body}"
    assert site.ask(request.encode()).status == 403


@pytest.mark.parametrize(("kind", "body"), [
    ("application/json", b'{"role": "admin"}'), ("text/json", b'{"role": "admin"}'),
    ("application/vnd.api+json; charset=utf-8", b'{"role": "admin"}'),
    ("application/json", b'\xef\xbb\xbf{"role": "adm\\u0069n"}'),
])
def test_json_counts_as_servers_read_it(
    web: Web, origins: Origins, kind: str, body: bytes
) -> None:
    site = guarded(web, origins, {"json": {"role": "admin"}})
    head = f"Content-Type: {kind}\r\nContent-Length: {len(body)}"
    request = f"POST / HTTP/1.1\r\nHost: site.test\r\n{head}\r\n\r\n".encode() + body
    assert site.ask(request).status == 403


def test_a_parameter_without_a_value_has_an_empty_one(web: Web, origins: Origins) -> None:
    site = guarded(web, origins, {"query": {"debug": ""}})
    statuses = [site.ask(get(f"/?{query}")).status
                for query in ("debug", "debug=", "a=1&debug", "debug&a=1", "debug=1", "a=debug")]
    assert statuses == [403, 403, 403, 403, 200, 200]


def test_parameters_reach_the_server_as_they_came(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], routes=[
        {"name": "spaced", "match": {"query": {"q": "a b+c"}}, "pool": "pool"}])
    assert site.ask(get("/?q=a+b%2Bc&q=%zz")).status == 200
    assert origin.requests[0].target == "/?q=a+b%2Bc&q=%zz"


@pytest.mark.parametrize("fields", [
    ("Cookie: role=user; role=admin",), ("Cookie: role=admin; role=user",),
    ("Cookie: role=user", "Cookie: role=admin"),
])
def test_any_cookie_of_a_name_counts(web: Web, origins: Origins, fields: tuple[str, ...]) -> None:
    site = guarded(web, origins, {"cookies": {"role": "admin"}})
    assert site.ask(get("/", *fields)).status == 403


def test_names_with_underscores_are_dropped_unless_told(web: Web, origins: Origins) -> None:
    origin = origins()
    for underscores, status, seen in (("drop", 200, []), ("keep", 200, ["admin"]),
                                      ("refuse", 400, None)):
        site = web([origin.address], underscores=underscores)
        assert site.ask(get("/", "X_Role: admin", "X-Other: 1")).status == status
        if seen is not None:
            assert origin.requests[-1].all("x_role") == seen
            assert origin.requests[-1]["x-other"] == "1"
    assert len(origin.requests) == 2


def test_a_dropped_name_fits_no_route(web: Web, origins: Origins) -> None:
    site = guarded(web, origins, {"headers": {"x_role": True}})
    assert site.ask(get("/", "X_Role: admin")).status == 200


@pytest.mark.parametrize(("path", "status"), [
    ("/admin;x", 400), ("/a/..;/admin", 400), ("/admin;/x", 400), ("/a%3bb", 400), ("/a", 200),
    ("/a?b;c", 200), ("/a%2Cb", 200),
])
def test_path_parameters_can_be_refused(
    web: Web, origins: Origins, path: str, status: int
) -> None:
    assert web([origins().address], path_parameters="refuse").ask(get(path)).status == status
    assert web([origins().address]).ask(get(path)).status == 200


def test_claims_of_clients_are_removed(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address])
    assert site.ask(get("/", *(f"{name}: 6.6.6.6" for name in CLAIMS), "X-Mine: 1")).status == 200
    got = origin.requests[0]
    assert not any(name in got for name in CLAIMS) and got["x-mine"] == "1"


def test_claims_of_trusted_proxies_are_passed_on(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address], forwarded={"trusted": ["127.0.0.0/8"]})
    site.ask(get("/", *(f"{name}: 6.6.6.6" for name in CLAIMS)))
    assert all(origin.requests[0][name] == "6.6.6.6" for name in CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_that_is_named_is_passed_on(web: Web, origins: Origins, name: str) -> None:
    origin = origins()
    site = web([origin.address], forwarded={"keep": [name.lower()]})
    site.ask(get("/", *(f"{one}: 6.6.6.6" for one in CLAIMS)))
    assert [one for one in CLAIMS if one in origin.requests[0]] == [name]


def test_a_removed_claim_fits_no_route(web: Web, origins: Origins) -> None:
    match = {"headers": {"x-client-cert": True}}
    assert guarded(web, origins, match).ask(get("/", "X-Client-Cert: me")).status == 200
    trusted = guarded(web, origins, match, forwarded={"trusted": ["127.0.0.1"]})
    assert trusted.ask(get("/", "X-Client-Cert: me")).status == 403


@pytest.mark.http1
def test_a_length_with_zeros_is_written_anew(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address])
    wire = site.client()
    for length in (b"010", b"00010", b"10"):
        wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n0123456789" % length)
        assert wire.response().status == 200
        assert origin.requests[-1].all("content-length") == ["10"]
        assert origin.requests[-1].body == b"0123456789"
    wire.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 00\r\n\r\n")
    assert wire.response().status == 200
    assert origin.requests[-1].all("content-length") in ([], ["0"])


@pytest.mark.parametrize("written", [
    "203.0.113.7", "203.0.113.7:4711", "::ffff:203.0.113.7", "[::ffff:203.0.113.7]:4711",
    "::FFFF:CB00:7107",
])
@pytest.mark.http1
def test_an_address_counts_however_it_is_written(
    web: Web, origins: Origins, written: str
) -> None:
    origin = origins()
    for network in ("203.0.113.0/24", "::ffff:203.0.113.0/120"):
        site = web([origin.address], forwarded={"trusted": ["::ffff:127.0.0.1"]}, routes=[
            {"name": "no", "match": {"client_ip": network, "path": "/no"},
             "respond": {"status": 403}},
            {"name": "yes", "pool": "pool",
             "request_headers": {"set": {"x-client": "{client.ip}"}}}])
        ask = lambda path: site.ask(get(path, f"X-Forwarded-For: {written}"))  # noqa: B023, E731
        assert ask("/no").status == 403
        assert ask("/").status == 200
        assert origin.requests[-1]["x-client"] == "203.0.113.7"
        assert origin.requests[-1]["x-forwarded-for"] == "203.0.113.7, 127.0.0.1"
        said = site.site.balancer.explain(
            "GET", "/no", headers=[("X-Forwarded-For", written)], client="::ffff:127.0.0.1")
        assert (said.route, said.client_ip) == ("no", "203.0.113.7")


@pytest.mark.parametrize("written", ["unknown", "_hidden", "x" * 45, "x" * 46, "x" * 60])
def test_what_is_no_address_is_not_the_proxys(web: Web, origins: Origins, written: str) -> None:
    """Or whoever is behind it would be let in where the proxy is."""
    origin = origins()
    site = web([origin.address], forwarded={"trusted": ["127.0.0.1"]}, routes=[
        {"name": "inside", "match": {"client_ip": "127.0.0.0/8"}, "respond": {"status": 403}},
        {"name": "yes", "pool": "pool", "request_headers": {"set": {"x-client": "{client.ip}"}}}])
    assert site.ask(get()).status == 403
    assert site.ask(get("/", f"X-Forwarded-For: {written}")).status == 200
    assert origin.requests[-1]["x-client"] == (written if len(written) < 46 else "unknown")


def test_explain_knows_what_is_taken_away(web: Web, origins: Origins) -> None:
    site = guarded(web, origins, {"headers": {"x-real-ip": True}})
    said = site.site.balancer.explain("GET", "/", headers=[("X-Real-IP", "1.2.3.4")])
    assert said.route == "yes" and "X-Real-IP" not in said.sent
    site = guarded(web, origins, {"query": {"role": "admin"}})
    assert site.site.balancer.explain("GET", "/?role=adm%69n").route == "no"
