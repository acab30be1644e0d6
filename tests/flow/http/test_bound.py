"""Connections that servers authenticate (NTLM, Negotiate) belong to one client."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import fastlb
from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]

UNKNOWN = "401 Unauthorized"


class Windows:
    """A server that authenticates connections, in three steps. Whoever sends "USER name" as the
    last one is that user for all that follows on the connection."""

    def __init__(self, scheme: str = "NTLM", field: str = "WWW-Authenticate") -> None:
        self.scheme = scheme
        self.field = field
        self.users: dict[Wire, str] = {}
        self.challenged: set[Wire] = set()

    def __call__(self, wire: Wire, request: Message) -> None:
        asked = "Proxy-Authorization" if self.field.startswith("Proxy") else "Authorization"
        credentials = "".join(request.all(asked))
        if credentials.startswith(f"{self.scheme} USER ") and wire in self.challenged:
            self.users[wire] = credentials.split(" ")[-1]
        elif credentials == f"{self.scheme} HELLO":
            self.challenged.add(wire)
            wire.send(answer(b"", UNKNOWN, f"{self.field}: {self.scheme} CHALLENGE"))
            return
        elif request.target == "/open":
            wire.send(answer(b"open"))
            return
        elif wire not in self.users:
            wire.send(answer(b"", UNKNOWN, f"{self.field}: Basic realm=\"a, b\"",
                             f"{self.field}: {self.scheme}"))
            return
        wire.send(answer(self.users[wire].encode()))


def log_in(client: Wire, user: str, scheme: str = "NTLM", field: str = "Authorization") -> None:
    client.send(get("/"))
    assert client.response().status == 401
    client.send(get("/", f"{field}: {scheme} HELLO"))
    assert client.response().status == 401
    client.send(get("/", f"{field}: {scheme} USER {user}"))
    assert client.response().body == user.encode()


def said(client: Wire, path: str = "/") -> Message:
    client.send(get(path))
    return client.response()


@pytest.mark.parametrize(("scheme", "field"), [
    ("NTLM", "WWW-Authenticate"), ("Negotiate", "WWW-Authenticate"), ("NTLM", "Proxy-Authenticate"),
])
def test_another_client_is_never_answered_as_the_first_ones_user(
    web: Web, origins: Origins, scheme: str, field: str
) -> None:
    site = web([origins(Windows(scheme, field)).address], threads=1)
    ann, bob = site.client(), site.client()
    credentials = "Proxy-Authorization" if field.startswith("Proxy") else "Authorization"
    log_in(ann, "ann", scheme, credentials)
    site.wait_for_idle(1)
    assert said(bob).status == 401
    assert said(ann).body == b"ann"
    assert said(bob).status == 401
    log_in(bob, "bob", scheme, credentials)
    for _ in range(3):
        assert said(ann).body == b"ann"
        assert said(bob).body == b"bob"
    ann.close()
    bob.close()
    site.wait_for_idle(0)


def test_a_client_stays_with_the_server_that_knows_it(web: Web, origins: Origins) -> None:
    peers = [origins(Windows()) for _ in range(4)]
    site = web([peer.address for peer in peers], threads=1)
    clients = [site.client() for _ in range(3)]
    for i, client in enumerate(clients):
        log_in(client, f"user{i}")
    for _ in range(8):
        for i, client in enumerate(clients):
            assert said(client).body == f"user{i}".encode()
    for client in clients:
        client.close()
    site.wait_for_idle(0)


def test_credentials_bind_a_connection_though_nobody_asked_for_them(
    web: Web, origins: Origins
) -> None:
    peer = Windows("Negotiate")

    def serve(wire: Wire, request: Message) -> None:
        peer.challenged.add(wire)           # (one step is enough)
        peer(wire, request)

    site = web([origins(serve).address], threads=1)
    ann, bob = site.client(), site.client()
    ann.send(get("/", "Authorization: Negotiate USER ann"))
    assert ann.response().body == b"ann"
    site.wait_for_idle(1)
    assert said(bob).status == 401
    assert said(ann).body == b"ann"


def test_credentials_that_a_route_sets_bind_a_connection(site: Callable[..., Site],
                                                         origins: Origins) -> None:
    peer = Windows("Negotiate")

    def serve(wire: Wire, request: Message) -> None:
        peer.challenged.add(wire)
        peer(wire, request)

    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [
            {"name": "set", "match": {"path": "/set"}, "pool": "p", "request_headers": {
                "set": {"authorization": "Negotiate USER {query.user}"}}},
            {"name": "plain", "pool": "p"}]}},
        "pools": {"p": {"servers": [origins(serve).address]}},
    })
    made = HttpSite(site([], config=config, threads=1))
    ann, bob = made.client(), made.client()
    assert said(ann, "/set?user=ann").body == b"ann"
    made.wait_for_idle(1)
    assert said(bob).status == 401
    assert said(ann).body == b"ann"


def test_other_schemes_leave_connections_to_everybody(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(answer(b"", UNKNOWN, 'WWW-Authenticate: Basic realm="NTLM"',
                         "WWW-Authenticate: Bearer"))

    origin = origins(serve)
    site = web([origin.address], threads=1)
    for _ in range(3):
        client = site.client()
        client.send(get("/", "Authorization: Bearer NTLM"))
        assert client.response().status == 401
        client.close()
        site.wait_for_idle(1)
    assert origin.connections == 1


def test_no_limit_of_idle_connections_parts_a_client_from_its_own(
    web: Web, origins: Origins
) -> None:
    site = web([origins(Windows()).address], threads=1, pool={
        "max_idle_connections": 1, "max_connection_requests": 1})
    clients = [site.client() for _ in range(3)]
    for i, client in enumerate(clients):
        log_in(client, f"user{i}")
    site.wait_for_idle(3)
    for i, client in enumerate(clients):
        assert said(client).body == f"user{i}".encode()
    site.wait_for_idle(3)


def test_what_needs_no_user_goes_by_the_clients_own_connection_too(
    web: Web, origins: Origins
) -> None:
    origin = origins(Windows())
    site = web([origin.address], threads=1)
    ann = site.client()
    log_in(ann, "ann")
    assert said(ann, "/open").body == b"open"
    assert said(ann).body == b"ann"
    assert origin.connections == 1


def test_a_bound_connection_that_ends_is_no_ones_any_more(web: Web, origins: Origins) -> None:
    origin = origins(Windows())
    site = web([origin.address], threads=1)
    ann = site.client()
    log_in(ann, "ann")
    site.wait_for_idle(1)
    origin.close_wires()
    site.wait_for_idle(0)
    assert said(ann).status == 401
    log_in(ann, "ann")


def test_mirrors_get_no_request_with_such_credentials(
    site: Callable[..., Site], origins: Origins
) -> None:
    copies = origins()
    config = fastlb.Config.build({
        "listeners": {"l": {"bind": "http://127.0.0.1:0", "routes": [
            {"name": "r", "pool": "p", "mirror": {"pool": "m"}}]}},
        "pools": {"p": {"servers": [origins(Windows()).address]},
                  "m": {"servers": [copies.address]}},
    })
    made = HttpSite(site([], config=config, threads=1))
    log_in(made.client(), "ann")
    assert said(made.client(), "/open").body == b"open"
    wait_until(lambda: sorted(request.target for request in copies.requests) == ["/", "/open"])


def test_no_second_try_is_made_of_a_request_with_such_credentials(
    web: Web, origins: Origins
) -> None:
    go = threading.Event()

    def slow(wire: Wire, request: Message) -> None:
        if "Authorization" in request:
            go.wait(DEADLINE_S)
        wire.send(answer(b"slow"))

    peers = [origins(slow) for _ in range(2)]
    site = web([peer.address for peer in peers], threads=1, pool={
        "hedge": {"delay": "1ms", "budget": "100%"}})
    ann, bob = site.client(), site.client()
    ann.send(get("/", "Authorization: NTLM HELLO"))
    for _ in range(20):                     # (far more turns of the engine than the delay takes)
        assert said(bob).status == 200
    go.set()
    assert ann.response().body == b"slow"
    assert sum("Authorization" in request for peer in peers for request in peer.requests) == 1
