"""Sessions that go on: where they began, and nowhere else."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

import pytest

import fastlb
from tests.flow.conftest import Site
from tests.flow.tls.conftest import PATIENT
from tests.flow.tls.peers import Authority, TlsOrigin, ask, origin
from tests.flow.tls.turns import all_is_heard

__all__ = ["origin"]

Make = Callable[..., Site]


@pytest.fixture(params=["1.2", "1.3"])
def versions(request: pytest.FixtureRequest) -> str:
    version: str = request.param
    return version


def begin(made: Site, context: ssl.SSLContext, name: str = "site.test") -> ssl.SSLSession:
    with ask(made, context, name) as client:
        assert not client.session_reused
        assert client.session is not None and client.session.has_ticket
        return client.session


def goes_on(
    made: Site, context: ssl.SSLContext, session: ssl.SSLSession, name: str = "site.test"
) -> bool:
    with ask(made, context, name, session) as client:
        return bool(client.session_reused)


def test_a_session_goes_on_again_and_again(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], threads=2)
    context = authority.trusting(versions=versions)
    session = begin(made, context)
    for _ in range(6):                  # (on either engine)
        with ask(made, context, session=session) as client:
            assert client.session_reused
            assert client.session is not None
            session = client.session
    assert (made.totals()["handshakes"], made.totals()["resumed"]) == (7, 6)


def test_not_in_another_listener(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    """Of one process, with one certificate: it may ask other things of its clients."""
    certificates = [authority.files("site.test")]
    balancer = fastlb.Balancer(threads=1)
    pool = balancer.pool("pool", [origin.address])
    sites = []
    for name in ("one", "two"):
        listener = balancer.listen("https://127.0.0.1:0", name=name, pool=pool,
                                   tls={"certificates": certificates, "handshake_timeout": PATIENT})
        sites.append(Site(balancer, listener))
    context = authority.trusting(versions=versions)
    with balancer.background():
        session = begin(sites[0], context)
        assert goes_on(sites[0], context, session)
        assert not goes_on(sites[1], context, session)
        for site in sites:
            for client in site.clients:
                client.close()
        sites[0].wait_idle()


def test_not_by_another_name(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    """Be it of the same certificate or of another one."""
    made = secure_site([origin.address], tls={"certificates": [
        authority.files("site.test", "also.test"), authority.files("other.test")]})
    context = authority.trusting(versions=versions)
    session = begin(made, context)
    for name in ("also.test", "other.test"):
        assert not goes_on(made, context, session, name)
        assert goes_on(made, context, begin(made, context, name), name)
    assert goes_on(made, context, session)


def test_not_after_other_clients_are_wanted(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], tls={
        "client_auth": "optional", "client_ca": authority.cert})
    leaf = authority.issue("client@site.test")
    context = authority.trusting(leaf=leaf, versions=versions)
    session = begin(made, context)
    assert goes_on(made, context, session)

    def change(**keys: Any) -> None:
        raw = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
        raw["listeners"]["listener"]["tls"].update(keys)
        asyncio.run(made.balancer.reload(fastlb.Config.build(raw)))
        all_is_heard(made)

    change(min_version="1.2")           # (which is not about clients)
    assert goes_on(made, context, session)
    change(client_crl=authority.revoked(name="none.pem"))
    assert not goes_on(made, context, session)
    session = begin(made, context)
    change(client_depth=3)
    assert not goes_on(made, context, session)
    session = begin(made, context)
    change(client_auth="required")
    assert not goes_on(made, context, session)


def test_a_session_of_nobody_is_no_way_in(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    """It was begun where no certificate was asked for, by the same name and port."""
    made = secure_site([origin.address])
    context = authority.trusting(versions=versions)
    session = begin(made, context)
    raw = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    raw["listeners"]["listener"]["tls"].update(
        client_auth="required", client_ca=authority.cert)
    asyncio.run(made.balancer.reload(fastlb.Config.build(raw)))
    all_is_heard(made)
    with pytest.raises(ssl.SSLError):
        ask(made, context, session=session)


def test_not_where_it_is_switched_off(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address], tls={"tickets": False})
    context = authority.trusting(versions=versions)
    with ask(made, context) as client:
        session = client.session
        assert session is None or not session.has_ticket
    if session is not None:
        assert not goes_on(made, context, session)
    assert made.totals()["resumed"] == 0


def test_a_ticket_that_was_changed_is_none(
    secure_site: Make, authority: Authority, origin: TlsOrigin, versions: str
) -> None:
    made = secure_site([origin.address])
    other = secure_site([origin.address])       # (of another process, as it were: other keys)
    context = authority.trusting(versions=versions)
    assert not goes_on(other, context, begin(made, context))
