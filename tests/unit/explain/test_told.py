"""Explanations of what a proxy tells of a client: told, or not to be known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import fastlb
from fastlb.cli import run
from fastlb.policy import Proxied

CONFIG = """\
[listeners.web]
bind = "http://127.0.0.1:8080"
proxy_protocol = { trusted = ["10.0.0.0/8"] }
[[listeners.web.routes]]
name = "shop"
match.proxy = { authority = ["shop.example", "*.shop.example"], dst = { suffix = ":443" } }
pool = "api"
request_headers.set = { x-from = "{proxy.authority} {proxy.unique_id} {proxy.alpn} {proxy.dst}" }
[[listeners.web.routes]]
name = "nobody"
match.not.proxy.authority = true
respond = { status = 403 }
[[listeners.web.routes]]
name = "rest"
pool = "api"
[listeners.plain]
bind = "http://127.0.0.1:8081"
pool = "api"
[listeners.handed]
bind = "http://127.0.0.1:8082"
pool = "api"
[listeners.tcp]
bind = "tcp://127.0.0.1:8444"
proxy_protocol = { trusted = ["10.0.0.0/8"] }
pool = "api"
routes = [{ name = "http", match = { protocol = "http/1.1" }, listener = "handed" }]
[pools.api]
balance = "maglev"
hash_on = "proxy.vpce"
servers = ["10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"]
"""
URL = "http://127.0.0.1:8080/"


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "a.toml").write_text(CONFIG)
    return str(tmp_path / "a.toml")


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = run(["explain", *args])
    output = capsys.readouterr()
    assert "Traceback" not in output.out + output.err
    return status, output.out, output.err


def test_who_is_told(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(
        capsys, config, URL, "--proxy-authority", "A.Shop.Example", "--proxy-unique-id", "a b",
        "--proxy-alpn", "h2", "--proxy-vpce", "vpce-1", "--proxy-dst", "[2001:DB8::1]:443")
    assert (status, err) == (0, "")
    line = " ".join(out.replace("│", "").split())
    assert "└── a proxy tells authority A.Shop.Example, unique_id a b, alpn h2," in out
    assert "route shop" in out
    assert "x-from: a.shop.example 612062 h2 [2001:db8::1]:443" in line
    assert "key proxy.vpce = vpce-1, hash" in line
    assert '+ shop: proxy.authority names "shop.example", ".shop.example", proxy.dst suffix' in line


def test_what_is_not_told_is_not_known(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = said(capsys, config, URL)
    assert "a proxy tells" not in out
    assert "proxy authority is absent; proxy dst is absent" in out
    assert "route nobody" in out
    _, out, _ = said(capsys, config, URL, "--proxy-authority", "other.example")
    line = " ".join(out.replace("│", "").split())
    assert 'proxy authority is "other.example", none of "shop.example"' in line
    assert 'proxy authority is there' in line
    assert "route rest" in out and "key proxy.vpce is absent: client.ip is hashed" in line
    _, out, _ = said(capsys, config, URL, "--proxy-authority", "shop.example",
                     "--proxy-dst", "192.0.2.1:80")
    line = " ".join(out.replace("│", "").split())
    assert 'proxy dst is "192.0.2.1:80", which doesn\'t end in ":443"' in line


def test_connections_go_by_what_was_told(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    picks = {}
    for i in range(8):
        for url in ("tcp://127.0.0.1:8444", "http://127.0.0.1:8082/", URL):
            _, out, _ = said(capsys, config, url, "--json", "--proxy-vpce", f"vpce-{i}",
                             "--proxy-authority", "a.test")
            made = json.loads(out)
            assert made["proxy"] == f"a proxy tells authority a.test, vpce vpce-{i}"
            (pool,) = made["pools"]
            assert picks.setdefault(i, pool["pick"]) == pool["pick"], url
    assert len(set(picks.values())) > 1


@pytest.mark.parametrize(("args", "told"), [
    (("http://127.0.0.1:8081/", "--proxy-alpn", "h2"), "listener 'plain' has no proxy_protocol"),
    ((URL, "--proxy-authority", "a b"), "'a b' is not a host"),
    ((URL, "--proxy-authority", "*.a"), "'*.a' is not the name of a host"),
    ((URL, "--proxy-authority", "a" * 256), "authority has more than 255 bytes"),
    ((URL, "--proxy-unique-id", "a" * 129), "unique_id has more than 128 bytes"),
    ((URL, "--proxy-dst", "a:1"), "'a:1' is not an address"),
])
def test_what_no_proxy_tells(
    config: str, capsys: pytest.CaptureFixture[str], args: tuple[str, ...], told: str
) -> None:
    status, _, err = said(capsys, config, *args)
    assert status == 2
    assert told in " ".join(err.split())


def test_in_python() -> None:
    seen: list[Proxied | None] = []

    def policy(request: fastlb.Request) -> None:
        seen.append(request.proxy)

    lb = fastlb.Balancer()
    pool = lb.pool("api", ["10.0.0.1:7000"])
    lb.listen("http://127.0.0.1:0", name="web", pool=pool,
              proxy_protocol={"trusted": ["10.0.0.0/8"]},
              routes=[{"name": "asked", "policy": policy, "pool": "api"}])
    for proxy in ({"authority": "A.test", "dst": "192.0.2.1:443"}, {}):
        made = lb.explain("GET", "/", proxy=proxy, call_policy=True)
        assert made.pool == "api"
        assert type(made).from_json(made.as_json()) == made
    assert seen == [Proxied("a.test", dst="192.0.2.1:443"), None]
    with pytest.raises(ValueError, match=r"'name' is nothing that a proxy tells\. One of: auth"):
        lb.explain("GET", "/", proxy={"name": "a"})
    with pytest.raises(ValueError, match="alpn: 5 is not a text"):
        lb.explain("GET", "/", proxy={"alpn": 5})       # type: ignore[dict-item]
