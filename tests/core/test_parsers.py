"""The parsers, each with a few answers from the documents it follows, and with what it promises of
any input (tests/fuzz has the promises; `make fuzz` tries them for longer)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.core import parsers
from tests.fuzz import mutate
from tests.fuzz.promises import PROMISES

ROUNDS = 20_000


@pytest.mark.parametrize("name", PROMISES)
def test_promises_hold_for_mutated_input(name: str) -> None:
    corpus, promise = PROMISES[name]
    choose = random.Random(name)
    stream = mutate.mutated(corpus, choose)
    for _ in range(ROUNDS):
        data = next(stream)
        try:
            promise(data, choose)
        except Exception as error:
            raise AssertionError(f"broken by {data!r}") from error


def test_a_head_is_cut_into_its_parts() -> None:
    got: Any = parsers.request(
        b"GET http://Site.test:81/a?b=c HTTP/1.1\r\nHost: site.test:81\r\nX:  y \r\n\r\nrest")
    assert (got["method"], got["path"], got["query"]) == (b"GET", b"/a", b"b=c")
    assert got["host"] == b"Site.test" and got["fields"][1] == (b"X", b"y", False)
    assert got["used"] == 70 and got["done"]


@pytest.mark.parametrize(("path", "normal"), [      # RFC 3986, 5.2.4 and 6.2.2
    (b"/a/b/c/./../../g", b"/a/g"),
    (b"/%7Esmith/home.html", b"/~smith/home.html"),
    (b"/%7esmith/%3a", b"/~smith/%3A"),
    (b"/a/b/..", b"/a/"), (b"/a/./", b"/a/"), (b"//a", b"//a"), (b"/", b"/"),
    (b"/a//../b", b"/a/b"), (b"//a/../b", b"//b"),
    (b"/..", None), (b"a", None), (b"", None), (b"/%", None), (b"/%00", None), (b"/\\", None),
    (b"/a%2f..", None), (b"/%5c..", None), (b"/a%2fb", b"/a%2Fb"), (b"/\xe9", b"/%E9"),
])
def test_paths_have_one_form(path: bytes, normal: bytes | None) -> None:
    made = parsers.normalise(path)
    assert (made and made[0]) == normal


def test_slashes_are_merged_after_dot_segments_are_resolved() -> None:
    assert parsers.normalise(b"//a///b/") == (b"//a///b/", b"/a/b/")
    assert parsers.normalise(b"/admin//../x") == (b"/admin/x", b"/admin/x")


@pytest.mark.parametrize(("written", "decoded"), [
    (b"", b""), (b"plain", b"plain"), (b"adm%69n", b"admin"), (b"a+b%2Bc", b"a b+c"),
    (b"%", b"%"), (b"%4", b"%4"), (b"%zz%41", b"%zzA"), (b"%00", b"\0"), (b"a%2", b"a%2"),
])
def test_parameters_are_decoded_as_servers_do(written: bytes, decoded: bytes) -> None:
    assert parsers.decoded(written) == decoded


@pytest.mark.parametrize(("written", "address"), [
    (b"203.0.113.7", b"203.0.113.7"), (b"203.0.113.7:4711", b"203.0.113.7"),
    (b"[2001:db8::7]", b"2001:db8::7"), (b"[2001:db8::7]:443", b"2001:db8::7"),
    (b"2001:DB8:0:0::7", b"2001:db8::7"), (b"::ffff:203.0.113.7", b"203.0.113.7"),
    (b"::FFFF:cb00:7107", b"203.0.113.7"), (b"[::ffff:203.0.113.7]:1", b"203.0.113.7"),
    (b"::1", b"::1"), (b"::", b"::"),
    (b"", None), (b"unknown", None), (b"203.0.113.7:", None), (b"203.0.113.7:123456", None),
    (b"203.0.113.7:8a", None), (b"[203.0.113.7]", None), (b"[::1", None), (b"[::1]x", None),
    (b"[::1]:", None), (b"203.0.113.7\0", None), (b"203.0.113", None), (b":", None), (b"[]", None),
    (b"1" * 100, None), (b"1.2.3.4:5:6", None),
])
def test_addresses_have_one_form(written: bytes, address: bytes | None) -> None:
    assert parsers.address(written) == address


def test_chunks_of_the_rfc() -> None:
    """RFC 9112, 7.1."""
    data = b"4\r\nWiki\r\n7;ext=1\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\nExpires: never\r\n\r\n!"
    assert parsers.unchunk([data]) == (
        b"Wikipedia in \r\nchunks.", len(data) - 1, True, b"Expires: never\r\n")
    assert parsers.unchunk([bytes([c]) for c in data])[0] == b"Wikipedia in \r\nchunks."


@pytest.mark.parametrize(("text", "members"), [
    (b'{"a": "\\u00e9\\ud83d\\ude00\\/\\n"}', [(b"a", "é😀/\n".encode())]),
    (b'{"a": {"b": 1}, "c": [1, 2], "d": -0.5E-1}',
     [(b"a", None), (b"c", None), (b"d", b"-0.5E-1")]),
    (b"{} ", []), (b"[]", []), (b"7", []), (b"", 0), (b"{", 0), (b'{"a":1,}', 0), (b"{a:1}", 0),
    (b'{"a":1 "b":2}', 0), (b'{"a":1}{}', 0), (b'{"a":"\\ud800"}', 0), (b'{"a":"\xc0\xaf"}', 0),
    (b'{"a":"\xed\xa0\x80"}', 0), (b'{"a":NaN}', 0), (b'{"a":01}', 0), (b'{"a":1.}', 0),
    (b'{"a":1,"\\u0061":2}', -1),
])
def test_members_of_json(text: bytes, members: Any) -> None:
    assert parsers.members(text) == members


def test_depth_and_number_of_members_are_bounded() -> None:
    assert isinstance(parsers.members(b'{"a":' + b"[" * 64 + b"]" * 64 + b"}"), list)
    assert parsers.members(b'{"a":' + b"[" * 65 + b"]" * 65 + b"}") == 0
    many = [b'"k%d":1' % i for i in range(129)]
    assert isinstance(parsers.members(b"{" + b",".join(many[:128]) + b"}"), list)
    assert parsers.members(b"{" + b",".join(many) + b"}") == 0


def test_lines_of_access_logs() -> None:
    head = b'10.0.0.1 - ann [25/Nov/2026:18:00:00 +0000] '
    kind, texts, _, size = parsers.log_line(
        head + rb'"GET /a?b HTTP/1.1" 200 12 "http://x/" "a \x22b\" \\c"')
    assert (kind, size) == (2, 12)
    assert (texts["client_ip"], texts["method"], texts["target"]) == (b"10.0.0.1", b"GET", b"/a?b")
    assert (texts["referer"], texts["user_agent"]) == (b"http://x/", b'a "b" \\c')
    kind, texts, _, size = parsers.log_line(head + b'"GET / HTTP/1.1" 304 - "-" "-"')
    assert (kind, size, texts["referer"], texts["user_agent"]) == (2, 0, b"", b"")
    kind, texts, port, size = parsers.log_line(
        b'{"method":"GET","path":"/\\u0061","query":"c","host":"h","client_port":80,"bytes_out":9}')
    assert (kind, texts["target"], texts["query"], texts["host"], port, size) == (
        2, b"/a", b"c", b"h", 80, 9)
    for text in (b"", b"10.0.0.1", head, head + b'"GET"', head + b'"GET / HTTP/1.1" - 1',
                 b'{"a":1}', b'{"method":"GET","path":"/"'):
        assert parsers.log_line(text)[0] == 1


def test_members_of_forms() -> None:
    assert parsers.members(b"a=1&b=%26+c&d&=e", True) == [
        (b"a", b"1"), (b"b", b"& c"), (b"d", b""), (b"", b"e")]
    assert parsers.members(b"a=%4&%=%zz", True) == [(b"a", b"%4"), (b"%", b"%zz")]
    assert parsers.members(b"a=1&%61=2", True) == -1
