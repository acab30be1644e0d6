"""Clients that come back to their server by a cookie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, get

pytestmark = pytest.mark.h2

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
SECRET = "0123456789abcdef"
COOKIE = re.compile(r"fastlb=([A-Za-z0-9_-]{22})(.*)")


def sticky(**keys: Any) -> dict[str, Any]:
    return {"sticky": {"cookie": "fastlb", "secret": SECRET, **keys}}


def token_of(made: Message) -> str:
    found = COOKIE.fullmatch(made["set-cookie"])
    assert found, made.fields
    return found[1]


def with_cookie(token: str, name: str = "fastlb") -> bytes:
    return get("/", f"Cookie: a=1; {name}={token}; b=2")


def token(server: str, secret: str = SECRET, pool: str = "pool") -> str:
    digest = hmac.new(secret.encode(), f"fastlb sticky\0{pool}\0{server}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest.digest()[:16]).decode().rstrip("=")


@pytest.fixture
def three(origins: Origins) -> list[HttpOrigin]:
    return [origins(name=f"o{i}") for i in range(3)]


def addresses(servers: list[HttpOrigin]) -> list[str]:
    return [one.address for one in servers]


def test_a_client_comes_back_to_its_server(web: Web, three: list[HttpOrigin]) -> None:
    site = web(addresses(three), pool=sticky())
    for _ in range(3):
        first = site.ask(get("/"))
        given = token_of(first)
        for _ in range(5):
            again = site.ask(with_cookie(given))
            assert again.body[:2] == first.body[:2] and "set-cookie" not in again
    assert {len(one.requests) for one in three} == {6}
    site.wait_idle()


def test_the_cookie_is_signed_and_says_nothing(web: Web, three: list[HttpOrigin]) -> None:
    site = web(addresses(three), pool=sticky())
    made = site.ask(get("/"))
    assert made["set-cookie"].partition(";")[2] == " Path=/; HttpOnly; SameSite=Lax"
    at = int(made.body[1:2])
    assert token_of(made) == token(three[at].address)
    forged = [
        token(three[1].address, "another secret 12"), token(three[1].address, pool="other"),
        token(three[1].address)[:-1], token(three[1].address) + "A", three[1].address, "x" * 4000,
        token(three[1].address).swapcase(),
    ]
    for one in forged:
        made = site.ask(with_cookie(one))
        assert made.status == 200 and token_of(made) != one
    assert site.ask(with_cookie(token(three[1].address), "fastlb2"))["set-cookie"]


def test_attributes(web: Web, three: list[HttpOrigin]) -> None:
    site = web(addresses(three), pool=sticky(
        max_age="1d", path="/app", domain="example.com", secure=True, same_site="none",
    ))
    assert site.ask(get("/"))["set-cookie"].partition(";")[2] == (
        " Path=/app; Domain=example.com; Max-Age=86400; HttpOnly; SameSite=None; Secure"
    )


def test_secrets_can_be_changed(web: Web, three: list[HttpOrigin]) -> None:
    old, new = SECRET, "another secret, and longer"
    site = web(addresses(three), pool=sticky(secret=[new, old]))
    for secret in (old, new):
        made = site.ask(with_cookie(token(three[2].address, secret)))
        assert made.body[:2] == b"o2" and "set-cookie" not in made
    assert token_of(site.ask(get("/"))) in {token(one.address, new) for one in three}


def test_where_its_server_is_gone_a_client_gets_another(web: Web, three: list[HttpOrigin]) -> None:
    site = web(addresses(three), pool=sticky())
    given, tokens = token(three[1].address), [token(one.address) for one in three]
    assert site.ask(with_cookie(given)).body[:2] == b"o1"
    three[1].close()
    made = site.ask(with_cookie(given))
    assert made.status == 200 and made.body[:2] != b"o1"
    assert token_of(made) == tokens[int(made.body[1:2])]


def test_a_draining_server_keeps_its_clients(web: Web, three: list[HttpOrigin]) -> None:
    servers: list[Any] = addresses(three)
    servers[1] = {"address": servers[1], "state": "draining"}
    site = web(servers, pool=sticky())
    assert {site.ask(get("/")).body[:2] for _ in range(6)} == {b"o0", b"o2"}
    assert site.ask(with_cookie(token(three[1].address))).body[:2] == b"o1"
    runtime = site.site.balancer._instance.runtime
    assert runtime is not None
    runtime.live.server("pool", three[1].address).choose("maintenance")
    made = site.ask(with_cookie(token(three[1].address)))
    assert made.body[:2] != b"o1" and made["set-cookie"]


def test_kept_connections_and_other_policies(web: Web, three: list[HttpOrigin]) -> None:
    site = web(addresses(three), pool={**sticky(), "balance": "maglev"})
    wire = site.client()
    seen = set()
    for i in (0, 1, 2, 2, 1, 0):
        wire.send(with_cookie(token(three[i].address)))
        made = wire.response()
        assert made.body[:2] == f"o{i}".encode() and "set-cookie" not in made
        wire.send(get("/"))
        seen.add(wire.response().body[:2])
    assert len(seen) == 1               # maglev's own choice, by the client's address
    wire.close()
    site.wait_idle()


def test_the_fallback_pool_has_cookies_of_its_own(origins: Origins) -> None:
    gone, there = origins(name="gone"), origins(name="there")
    address = gone.address
    gone.close()
    balancer = fastlb.Balancer(threads=1)
    spare = balancer.pool("spare", [there.address], **sticky(cookie="spare"))
    main = balancer.pool("main", [address], fallback="spare", **sticky(cookie="main"))
    listener = balancer.listen("http://127.0.0.1:0", pool=main)
    assert spare.name == "spare"
    with balancer.background():
        from tests.flow.conftest import Site

        site = HttpSite(Site(balancer, listener))
        made = site.ask(with_cookie(token(address, pool="main"), "main"))
        assert made["set-cookie"].startswith(f"spare={token(there.address, pool='spare')};")
        site.wait_idle()


@pytest.mark.http1
def test_an_upgrade_gets_the_cookie_too(web: Web, origins: Origins) -> None:
    def serve(wire: Any, request: Message) -> bool:
        wire.send(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
        return False

    one = origins(serve)
    site = web([one.address], pool=sticky())
    wire = site.client()
    wire.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n")
    made = wire.head()
    assert made.status == 101 and token_of(made) == token(one.address)
    wire.close()
    wait_until(lambda: not any(site.site.counts().values()))
