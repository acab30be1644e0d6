"""Sets of networks by the admin API, and by the commands that use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

import fastlb
from fastlb.cli import group
from tests.flow.admin.conftest import Admin
from tests.flow.conftest import DEADLINE_S, Site, wait_until


@contextmanager
def serving() -> Iterator[Admin]:
    balancer = fastlb.Balancer(
        threads=1, admin={"bind": "http://127.0.0.1:0"}, networks={"bad": {"cidrs": []}})
    pool = balancer.pool("p", ["127.0.0.1:9"])
    listener = balancer.listen("http://127.0.0.1:0", name="web", pool=pool, deny="bad")
    with balancer.background():
        made = Admin(balancer, Site(balancer, listener), None)
        yield made
        made.http.close()


def is_denied(made: Admin) -> bool:
    try:
        httpx.get(made.site.listener.url, trust_env=False, timeout=DEADLINE_S)
    except httpx.HTTPError:
        return True
    return False


def test_networks_come_and_go() -> None:
    with serving() as made:
        assert made.get("/networks/bad") == {"name": "bad", "added": []}
        body = {"network": "127.0.0.1", "ttl": "10m"}
        [one] = made.http.post("/networks/bad", json=body).json()["added"]
        assert one["network"] == "127.0.0.1/32" and 540 < one["seconds"] <= 600
        assert is_denied(made)
        assert made.http.post("/networks/bad", json={"network": "2001:db8::/32"}).json()["added"][
            1] == {"network": "2001:db8::/32", "seconds": None}
        wait_until(lambda: made.get("/status")["networks"] == [
            {"name": "bad", "entries": 0, "added": 2, "denied": 1, "reported": 0}])
        made.http.request("DELETE", "/networks/bad", json={"network": "127.0.0.1"})
        assert not is_denied(made)


@pytest.mark.parametrize(("method", "path", "body", "status", "says"), [
    ("GET", "/networks/worse", None, 404, "there is no set of networks 'worse'"),
    ("POST", "/networks/bad", {}, 422, "nothing was changed: there is no network"),
    ("POST", "/networks/bad", {"network": "x"}, 422, "nothing was changed: there is no network"),
    ("POST", "/networks/bad", {"network": "10.0.0.1/8"}, 422,
     "nothing was changed: there is no network"),
    ("POST", "/networks/bad", {"network": "10.0.0.1", "ttl": "soon"}, 422,
     "nothing was changed: a time doesn't fit"),
    ("POST", "/networks/bad", {"network": 7}, 422, "nothing was changed: the body doesn't fit"),
    ("DELETE", "/networks/bad", {"network": "10.0.0.1"}, 404,
     "10.0.0.1/32 was not added to bad, or is gone already"),
])
def test_mistakes_are_told(
    method: str, path: str, body: dict[str, Any] | None, status: int, says: str
) -> None:
    with serving() as made:
        assert made.refused(method, path, **({} if body is None else {"json": body}))[:2] == (
            status, says)


def test_ban_and_unban(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(group, [*words])
        return done.output

    with serving() as made:
        monkeypatch.setenv("FASTLB_ADMIN", made.url)
        assert run("ban", "bad", "127.0.0.1", "--for", "10m").startswith(
            "127.0.0.1 is in bad for 600 s (process ")
        assert is_denied(made)
        assert run("unban", "bad", "127.0.0.1").startswith("127.0.0.1 was removed from bad (")
        assert not is_denied(made)
