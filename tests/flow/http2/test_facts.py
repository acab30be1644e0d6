"""What TLS knows of a client is the same for all requests of its connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import fastlb
from fastlb._core.tables.certificates import H2_AVAILABLE
from tests.flow.conftest import Site
from tests.flow.http2.peers import Client
from tests.flow.tls.conftest import authority, secure_site
from tests.flow.tls.facts import NAME, SUBJECT, TELL, echo, printed, wants
from tests.flow.tls.peers import Authority, TlsOrigin, shake

__all__ = ["authority", "secure_site"]

Make = Callable[..., Site]

pytestmark = pytest.mark.skipif(not H2_AVAILABLE, reason="built without HTTP/2")


@pytest.fixture
def origin() -> Iterator[TlsOrigin]:
    made = TlsOrigin(echo)
    yield made
    made.close()


def speak(site: Site, authority: Authority, path: str | None) -> Client:
    context = authority.trusting(offers=["h2"])
    if path is not None:
        context.load_cert_chain(path)
    sock = shake(site, context)
    assert sock.selected_alpn_protocol() == "h2"
    return Client(sock)


def told(body: bytes) -> dict[str, str]:
    lines = body.decode().split("\r\n")[1:]
    pairs = dict(line.partition(": ")[::2] for line in lines)
    return {name: pairs[name] for name in ("x-sni", "x-version", "x-subject", "x-print")}


def test_all_requests_of_a_connection(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    made = secure_site([origin.address], tls=wants(authority), routes=TELL)
    path = authority.named(NAME)
    with made.balancer.records() as records:
        for cert, subject, fingerprint in ((path, SUBJECT, printed(path)), (None, "", "")):
            client = speak(made, authority, cert)
            # (a name that another request of it asks for is no other name of the connection's)
            streams = [client.ask("/", authority=name) for name in ("site.test", "other.test") * 5]
            for stream in streams:
                assert told(bytes(client.answer(stream).body)) == {
                    "x-sni": "site.test", "x-version": "TLSv1.3", "x-subject": subject,
                    "x-print": fingerprint}
            client.close()
            made.wait_idle()
            found = records.take()
            assert len(found) == len(streams)
            assert {(one.version, one.tls_sni, one.tls_client_subject, one.tls_client_fingerprint)
                    for one in found} == {("2.0", "site.test", subject, fingerprint)}


def test_routes_and_policies(
    secure_site: Make, authority: Authority, origin: TlsOrigin
) -> None:
    async def policy(request: fastlb.Request) -> fastlb.Response:
        assert request.tls is not None
        return fastlb.Response(200, request.tls.client_subject)

    made = secure_site([origin.address], tls=wants(authority), routes=[
        {"name": "in", "match": {"path": "/in", "tls": {"client_subject": SUBJECT}},
         "policy": {"call": policy, "deadline": "10m"}},
        {"name": "out", "respond": {"status": 403}}])
    for path, status, body in (
        (authority.named(NAME), 200, SUBJECT), (None, 403, ""),
    ):
        client = speak(made, authority, path)
        streams = [client.ask("/in") for _ in range(10)]
        answers = [client.answer(stream) for stream in streams]
        assert {answer.status for answer in answers} == {status}
        if body:
            assert {bytes(answer.body).decode() for answer in answers} == {body}
        client.close()
    made.wait_idle()
