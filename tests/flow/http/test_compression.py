"""Compression of responses: for whom, and of what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.flow.http.coded import ALL, TEXT, decode, serves, text
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import HttpOrigin, Message, answer, get

pytestmark = pytest.mark.h2

Web = Callable[..., HttpSite]
Origins = Callable[..., HttpOrigin]
Fields = tuple[str, ...]

def asked(web: Web, origins: Origins, raw: bytes, *fields: str, method: str = "GET",
          compress: Any = True) -> Message:
    site = web([origins(serves(raw)).address], compress=compress)
    message: Message = site.ask(get("/", *fields, method=method), method)
    return message


def is_plain(message: Message, body: bytes = TEXT) -> bool:
    return "content-encoding" not in message and message.body == body


# --- which coding ---

CHOSEN = {
    "gzip": "gzip",
    "br": "br",
    "zstd": "zstd",
    "x-gzip": "gzip",
    "gzip, br, zstd": "zstd",
    "gzip, br": "br",
    "GZIP": "gzip",
    "gzip;q=0.5, br;q=0.1": "gzip",
    "gzip;q=1.0, zstd;q=0.9": "gzip",
    "zstd;q=0, br;q=0, gzip": "gzip",
    "*": "zstd",
    "zstd;q=0, *": "br",
    "identity;q=0.5, gzip": "gzip",
    "identity;q=0, gzip;q=0.1": "gzip",
    "gzip;q=0.001": "gzip",
    "": "",
    "identity": "",
    "deflate": "",
    "gzip;q=0": "",
    "gzip;q=0.000": "",
    "*;q=0": "",
    "identity, gzip;q=0.5": "",
    "gzip;q=0.2, identity;q=0.4": "",
}


@pytest.mark.parametrize("accepted", CHOSEN)
def test_coding_is_the_one_that_the_client_prefers(
    web: Web, origins: Origins, accepted: str
) -> None:
    got = asked(web, origins, text(), f"Accept-Encoding: {accepted}")
    assert got["vary"] == "Accept-Encoding"
    if CHOSEN[accepted]:
        assert got["content-encoding"] == CHOSEN[accepted]
        assert "content-length" not in got
        assert decode(CHOSEN[accepted], got.body) == TEXT
        assert len(got.body) < len(TEXT) / 4
    else:
        assert is_plain(got)


def test_two_accept_encoding_fields_are_one_list(web: Web, origins: Origins) -> None:
    got = asked(web, origins, text(), "Accept-Encoding: br;q=0.1", "Accept-Encoding: gzip;q=0.9")
    assert got["content-encoding"] == "gzip"


def test_client_without_accept_encoding_gets_what_the_server_sent(
    web: Web, origins: Origins
) -> None:
    got = asked(web, origins, text())
    assert is_plain(got) and got["content-length"] == str(len(TEXT))
    assert got["vary"] == "Accept-Encoding"


def test_order_of_codings_is_the_routes(web: Web, origins: Origins) -> None:
    got = asked(web, origins, text(), ALL, compress={"codings": ["gzip", "zstd"]})
    assert got["content-encoding"] == "gzip"
    assert is_plain(asked(web, origins, text(), "Accept-Encoding: br",
                          compress={"codings": ["gzip", "zstd"]}))


# --- of which responses ---

LEFT_ALONE = {
    "coded already": text("Content-Encoding: br"),
    "no type": answer(TEXT),
    "image": answer(TEXT, "200 OK", "Content-Type: image/png"),
    "events": answer(TEXT, "200 OK", "Content-Type: text/event-stream; charset=utf-8"),
    "grpc": answer(TEXT, "200 OK", "Content-Type: application/grpc+json"),
    "part": text("Content-Range: bytes 0-9/100", status="206 Partial Content"),
    "no-transform": text("Cache-Control: max-age=5, no-transform"),
    "cookie": text("Set-Cookie: session=1"),
    "private": text('Cache-Control: private="x", max-age=5'),
    "digest": text("Repr-Digest: sha-256=:AAAA:"),
    "old digest": text("Content-MD5: AAAA"),
    "short": text(body=TEXT[:1023]),
}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_response_that_may_not_be_coded_is_left_alone(
    web: Web, origins: Origins, name: str
) -> None:
    raw = LEFT_ALONE[name]
    head, _, body = raw.partition(b"\r\n\r\n")
    got = asked(web, origins, raw, ALL)
    assert got.body == body and got["content-length"] == str(len(body))
    assert "vary" not in got
    assert ("content-encoding" in got) == (b"Content-Encoding" in head)


CODED = {
    "text": answer(TEXT, "200 OK", "Content-Type: text/plain;charset=utf-8"),
    "suffix": answer(TEXT, "200 OK", "Content-Type: application/problem+json"),
    "upper case": answer(TEXT, "200 OK", "content-type: TEXT/HTML"),
    "error": text(status="500 Internal Server Error"),
    "identity": text("Content-Encoding: identity"),
    "public": text("Cache-Control: public, max-age=5"),
    "at the limit": text(body=TEXT[:1024]),
}


@pytest.mark.parametrize("name", CODED)
def test_response_of_a_fitting_type_is_coded(web: Web, origins: Origins, name: str) -> None:
    got = asked(web, origins, CODED[name], ALL)
    assert "zstd" in got.all("content-encoding")
    assert decode("zstd", got.body) == CODED[name].partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("fields", [("Range: bytes=0-9",), ("Cache-Control: no-transform",)])
def test_request_for_a_part_or_for_no_transformation_is_left_alone(
    web: Web, origins: Origins, fields: Fields
) -> None:
    assert is_plain(asked(web, origins, text(), ALL, *fields))


def test_personal_responses_are_coded_if_asked_for(web: Web, origins: Origins) -> None:
    got = asked(web, origins, text("Set-Cookie: session=1"), ALL, compress={"personal": True})
    assert got["content-encoding"] == "zstd" and got["set-cookie"] == "session=1"


def test_types_and_size_are_the_routes(web: Web, origins: Origins) -> None:
    compress = {"types": ["image/svg", "model/*", "*/*+cbor"], "min_size": "10B"}
    for kind in ("image/svg", "model/gltf", "application/senml+cbor"):
        raw = answer(b"x" * 10, "200 OK", f"Content-Type: {kind}")
        assert asked(web, origins, raw, ALL, compress=compress)["content-encoding"] == "zstd"
        raw = answer(b"x" * 9, "200 OK", f"Content-Type: {kind}")
        assert "content-encoding" not in asked(web, origins, raw, ALL, compress=compress)
    assert is_plain(asked(web, origins, text(), ALL, compress=compress))


def test_short_body_is_coded_where_the_client_refuses_it_uncoded(
    web: Web, origins: Origins
) -> None:
    got = asked(web, origins, text(body=b"short"), "Accept-Encoding: gzip, identity;q=0")
    assert decode("gzip", got.body) == b"short"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_response_without_a_body_stays_one(web: Web, origins: Origins, status: str) -> None:
    raw = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n\r\n".encode()
    got = asked(web, origins, raw, ALL)
    assert got.body == b"" and "content-encoding" not in got


def test_empty_body_stays_empty(web: Web, origins: Origins) -> None:
    got = asked(web, origins, text(body=b""), ALL, compress={"min_size": "0B"})
    assert is_plain(got, b"") and got["content-length"] == "0"


@pytest.mark.http1
def test_client_of_http_1_0_gets_what_the_server_sent(web: Web, origins: Origins) -> None:
    site = web([origins(serves(text())).address], compress=True)
    client = site.client()
    client.send(f"GET / HTTP/1.0\r\nHost: site.test\r\n{ALL}\r\n\r\n".encode())
    assert is_plain(client.response())


def test_route_may_be_without(web: Web, origins: Origins) -> None:
    origin = origins(serves(text()))
    site = web([origin.address], compress=True, routes=[
        {"name": "raw", "match": {"path": "/raw"}, "pool": "pool", "compress": False},
        {"name": "gz", "match": {"path": "/gz"}, "pool": "pool",
         "compress": {"codings": ["gzip"]}},
    ])
    assert is_plain(site.ask(get("/raw", ALL)))
    assert site.ask(get("/gz", ALL))["content-encoding"] == "gzip"
    assert site.ask(get("/other", ALL))["content-encoding"] == "zstd"


# --- the head ---


def test_strong_etag_becomes_weak_and_a_weak_one_stays(web: Web, origins: Origins) -> None:
    raw = text('ETag: "abc"', "Accept-Ranges: bytes")
    got = asked(web, origins, raw, ALL)
    assert got["etag"] == 'W/"abc"' and "accept-ranges" not in got
    assert asked(web, origins, text('ETag: W/"abc"'), ALL)["etag"] == 'W/"abc"'
    plain = asked(web, origins, raw)
    assert plain["etag"] == '"abc"' and plain["accept-ranges"] == "bytes"


def test_response_with_an_endless_etag_is_left_alone(web: Web, origins: Origins) -> None:
    got = asked(web, origins, text(f'ETag: "{"x" * 600}"'), ALL)
    assert is_plain(got) and got["etag"] == f'"{"x" * 600}"'


def test_vary_is_added_once(web: Web, origins: Origins) -> None:
    for value in ("accept-encoding", "Origin, Accept-Encoding", "*"):
        assert asked(web, origins, text(f"Vary: {value}"), ALL).all("vary") == [value]
    got = asked(web, origins, text("Vary: Origin"), ALL)
    assert got.all("vary") == ["Origin", "Accept-Encoding"]


def test_validation_of_a_coded_response_knows_its_etag(web: Web, origins: Origins) -> None:
    """The 304 has the ETag that the client knows the coded response by."""
    raw = b'HTTP/1.1 304 Not Modified\r\nETag: "abc"\r\n\r\n'
    got = asked(web, origins, raw, ALL, 'If-None-Match: W/"abc"')
    assert got["etag"] == 'W/"abc"' and got["vary"] == "Accept-Encoding"
    assert asked(web, origins, raw, ALL, 'If-None-Match: "abc"')["etag"] == '"abc"'


def test_head_is_that_of_get(web: Web, origins: Origins) -> None:
    raw = text('ETag: "abc"')
    head = asked(web, origins, raw, ALL, method="HEAD")
    assert head["content-encoding"] == "zstd" and head["etag"] == 'W/"abc"'
    assert "content-length" not in head and head["vary"] == "Accept-Encoding"
    assert head.body == b""


def test_edits_of_headers_have_the_last_word(web: Web, origins: Origins) -> None:
    site = web([origins(serves(text('ETag: "abc"'))).address], compress=True,
               response_headers={"set": {"ETag": '"mine"'}})
    assert site.ask(get("/", ALL)).all("etag") == ['"mine"']
    site = web([origins(serves(text())).address], compress=True,
               response_headers={"set": {"Content-Encoding": "x-own"}})
    got = site.ask(get("/", ALL))
    assert got.all("content-encoding") == ["x-own"] and got.body == TEXT
