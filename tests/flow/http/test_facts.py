"""What servers are told of the client and of us, and what is believed of those before us."""

from __future__ import annotations

import datetime
import email.utils
import json
import re
from collections.abc import Callable

import pytest

from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, Wire, answer, get

pytestmark = [pytest.mark.h2, pytest.mark.modes("h2")]

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
ALL = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
LIES = ("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test",
        "Forwarded: for=6.6.6.6;proto=https;host=evil.test")


def seen(web: Web, origins: Origins, *fields: str, request: bytes = b"", **keys: object) -> Message:
    origin = origins()
    site = web([origin.address], **keys)
    assert site.ask(request or get("/", *fields)).status == 200
    return origin.requests[0]


@pytest.mark.plain
@pytest.mark.http1
def test_nobody_is_believed_unless_told(web: Web, origins: Origins) -> None:
    got = seen(web, origins, *LIES, forwarded={"headers": ALL})
    assert got["x-forwarded-for"] == "127.0.0.1"
    assert got["x-forwarded-proto"] == "http"
    assert got["x-forwarded-host"] == "site.test"
    assert got["forwarded"] == 'for=127.0.0.1;host="site.test";proto=http'


def test_what_is_not_written_is_removed_all_the_same(web: Web, origins: Origins) -> None:
    got = seen(web, origins, *LIES, forwarded={"headers": []})
    assert not any(name in got for name in ALL)


@pytest.mark.plain
@pytest.mark.http1
def test_proxies_before_us_are_believed_and_added_to(web: Web, origins: Origins) -> None:
    got = seen(web, origins, *LIES, forwarded={"headers": ALL, "trusted": ["127.0.0.0/8"]})
    assert got["x-forwarded-for"] == "6.6.6.6, 127.0.0.1"
    assert got["x-forwarded-proto"] == "https"
    assert got["x-forwarded-host"] == "evil.test"
    assert got.all("forwarded")[-1].endswith('for=127.0.0.1;host="site.test";proto=http')
    assert "6.6.6.6" in got.all("forwarded")[0]


def test_only_the_networks_named_are_believed(web: Web, origins: Origins) -> None:
    got = seen(web, origins, *LIES, forwarded={"headers": ALL, "trusted": ["10.0.0.0/8", "::1"]})
    assert got["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize(("list_", "client"), [
    ("1.2.3.4", "1.2.3.4"),
    ("1.2.3.4, 127.0.0.9", "1.2.3.4"),
    ("6.6.6.6, 1.2.3.4, 127.0.0.9, 127.0.0.8", "1.2.3.4"),
    ("2001:db8::1", "2001:db8::1"),
    ("127.0.0.9", "127.0.0.9"),
    ("", "127.0.0.1"),
    ("x" * 300, "unknown"),
])
def test_the_client_is_the_last_whom_we_do_not_trust(
    web: Web, origins: Origins, list_: str, client: str
) -> None:
    got = seen(web, origins, f"X-Forwarded-For: {list_}",
               forwarded={"trusted": ["127.0.0.0/8"]},
               routes=[{"name": "all", "pool": "pool",
                        "request_headers": {"set": {"x-client": "{client.ip}"}}}])
    assert got["x-client"] == client


def test_several_lists_are_one(web: Web, origins: Origins) -> None:
    got = seen(web, origins, "X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4, 127.0.0.9",
               forwarded={"trusted": ["127.0.0.0/8"]},
               routes=[{"name": "all", "pool": "pool",
                        "request_headers": {"set": {"x-client": "{client.ip}"}}}])
    assert got["x-client"] == "1.2.3.4"


def test_a_request_has_an_id_of_its_own_or_keeps_the_one_it_has(web: Web, origins: Origins) -> None:
    origin = origins()
    site = web([origin.address])
    for _ in range(3):
        site.ask(get("/"))
    site.ask(get("/", "X-Request-Id: mine-1"))
    ids = [request["x-request-id"] for request in origin.requests]
    assert ids[3] == "mine-1" and len(set(ids)) == 4
    assert all(re.fullmatch("[0-9a-f]{32}", made) for made in ids[:3])


def test_ids_can_be_off(web: Web, origins: Origins) -> None:
    assert "x-request-id" not in seen(web, origins, request_id=False)


def test_traces_are_begun_or_passed_on(web: Web, origins: Origins) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert seen(web, origins, f"traceparent: {parent}", "tracestate: a=b",
                traceparent=True)["traceparent"] == parent
    made = seen(web, origins, traceparent=True)["traceparent"]
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", made)
    assert "traceparent" not in seen(web, origins)


def test_via_is_added_to(web: Web, origins: Origins) -> None:
    got = seen(web, origins, "Via: 1.0 first", via="lb")
    version = "2.0" if web(["127.0.0.1:1"]).site.h2 else "1.1"
    assert ", ".join(got.all("via")) == f"1.0 first, {version} lb"
    assert "via" not in seen(web, origins)


def test_host_is_what_the_client_asked_for(web: Web, origins: Origins) -> None:
    got = seen(web, origins, request=b"GET http://Site.Test:81/a?b HTTP/1.1\r\n"
                                     b"Host: site.test:81\r\n\r\n")
    assert got.line == "GET /a?b HTTP/1.1"
    assert got["host"].lower() == "site.test:81"
    assert got["x-forwarded-host"].lower() == "site.test:81"


@pytest.mark.http1
def test_a_request_of_1_0_without_a_host(web: Web, origins: Origins) -> None:
    got = seen(web, origins, request=b"GET / HTTP/1.0\r\n\r\n")
    assert got.line == "GET / HTTP/1.1"
    assert "host" in got                # servers of 1.1 need one, be it empty


def test_errors_say_why_in_the_form_that_is_asked_for(web: Web, origins: Origins) -> None:
    site = web(["127.0.0.1:1"])
    text, as_json = site.ask(get("/")), site.ask(get("/", "Accept: application/json"))
    assert text.status == as_json.status == 503
    assert text["content-type"].startswith("text/plain")
    assert text.body == b"503 Service Unavailable\n"
    assert as_json["content-type"] == "application/json"
    assert json.loads(as_json.body) == {"status": 503, "error": "Service Unavailable"}
    for got in (text, as_json):
        assert got["x-fastlb-error"] == "no_server"
        assert "127.0.0.1" not in repr(got)


@pytest.mark.http1
def test_the_header_of_errors_has_any_name_or_none(web: Web, origins: Origins) -> None:
    begin = datetime.datetime.now(datetime.timezone.utc)
    assert web(["127.0.0.1:1"], error_header="x-why").ask(get("/"))["x-why"] == "no_server"
    got = web(["127.0.0.1:1"], error_header="").ask(get("/"))
    assert [name for name, _ in got.fields] == [
        "Date", "Content-Type", "Content-Length", "Retry-After"
    ]
    sent = email.utils.parsedate_to_datetime(got["date"])
    # It is of whole seconds, and the engine's second may have begun a little before.
    assert begin - datetime.timedelta(seconds=2) <= sent
    assert sent <= datetime.datetime.now(datetime.timezone.utc)
    assert got["date"] == email.utils.format_datetime(sent, usegmt=True)


def test_what_connection_names_stays_between_the_server_and_us(web: Web, origins: Origins) -> None:
    def serve(wire: Wire, request: Message) -> None:
        wire.send(answer(b"x", "200 OK", "Connection: X-Hop, Content-Length", "X-Hop: 1",
                         "Keep-Alive: timeout=9", "Proxy-Connection: keep-alive", "X-End: 2"))

    got = web([origins(serve).address]).ask(get("/"))
    assert got["content-length"] == "1" and got["x-end"] == "2" and got.body == b"x"
    assert not any(name in got for name in ("x-hop", "keep-alive", "proxy-connection"))
