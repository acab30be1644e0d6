"""A balancer with an admin API, and who asks it."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin

TOKEN = "0123456789abcdef"


class Admin:
    """A running balancer, its site, and a client of its admin API."""

    def __init__(self, balancer: fastlb.Balancer, site: Site, token: str | None) -> None:
        self.balancer = balancer
        self.site = site
        self.web = HttpSite(site)
        url = balancer.admin_url
        assert url is not None
        self.url = url
        headers = {"authorization": f"Bearer {token}"} if token else {}
        if url.startswith("http://unix:"):
            transport = httpx.HTTPTransport(uds=url.removeprefix("http://unix:"))
            self.http = httpx.Client(transport=transport, base_url="http://localhost",
                                     timeout=DEADLINE_S, headers=headers)
        else:
            self.http = httpx.Client(base_url=url, timeout=DEADLINE_S, headers=headers)

    def get(self, path: str, **keys: Any) -> Any:
        answer = self.http.get(path, **keys)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, method: str, path: str, **keys: Any) -> tuple[int, str, list[dict[str, Any]]]:
        """Status, error and problems of a request that must be refused."""
        answer = self.http.request(method, path, **keys)
        assert answer.headers["content-type"] == "application/json; charset=utf-8", answer.text
        made = answer.json()
        assert set(made) == {"error", "problems"}
        return answer.status_code, made["error"], made["problems"]

    def raw(self) -> socket.socket:
        host, _, port = self.url.partition("://")[2].rpartition(":")
        return socket.create_connection((host, int(port)), timeout=DEADLINE_S)


@pytest.fixture
def admin() -> Iterator[Callable[..., Admin]]:
    """Makes an Admin: `admin(servers, bind=..., token=..., threads=..., pool={...}, **listener
    keys)`. Ends with all live counts at zero."""
    made: list[Admin] = []
    with ExitStack() as stack:

        def make(
            servers: list[Any], bind: str | list[str] = "http://127.0.0.1:0",
            token: str | None = None, threads: int = 1, pool: dict[str, Any] | None = None,
            listen: str = "http://127.0.0.1:0", **keys: Any,
        ) -> Admin:
            where = {"bind": bind, **({"token": token} if token else {})}
            balancer = fastlb.Balancer(threads=threads, admin=where)
            target = balancer.pool("api", servers, **(pool or {}))
            listener = balancer.listen(listen, name="web", pool=target, **keys)
            stack.enter_context(balancer.background())
            made.append(Admin(balancer, Site(balancer, listener), token))
            return made[-1]

        yield make
        for one in made:
            one.http.close()
            for client in one.site.clients:
                client.close()
        for one in made:
            one.site.wait_idle()


@pytest.fixture
def origins() -> Iterator[Callable[..., HttpOrigin]]:
    made: list[HttpOrigin] = []

    def make(name: str = "origin") -> HttpOrigin:
        made.append(HttpOrigin(None, name))
        return made[-1]

    yield make
    for one in made:
        one.close()


def events_of(lines: Iterator[str], kind: str) -> Iterator[dict[str, Any]]:
    """The data of server-sent events of one kind, from the lines of a stream."""
    now = ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            now = value
        elif name == "data" and now == kind:
            yield json.loads(value)
