"""What must not get through, as data: each rule with its clause and the bytes that break it.

docs/http.md shows them as a table; `python -m tests.flow.http.hostile.rules` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass

HOST = "Host: site.test\r\n"
TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CONTROLS = [c for c in range(0x20) if c != 0x09] + [0x7F]


@dataclass(frozen=True)
class Rule:
    """Requests that are refused: the status, and then the connection's end."""

    name: str
    clause: str
    what: str
    status: int
    requests: tuple[bytes, ...]


def head(*fields: str, line: str = "GET /evil HTTP/1.1", host: str = HOST) -> bytes:
    return (f"{line}\r\n{host}" + "".join(f"{f}\r\n" for f in fields) + "\r\n").encode("latin-1")


def post(*fields: str, body: bytes = b"", **more: str) -> bytes:
    return head(*fields, line=more.get("line", "POST /evil HTTP/1.1"), **{
        key: value for key, value in more.items() if key != "line"
    }) + body


CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"
CHUNKED = "Transfer-Encoding: chunked"


def chunked(body: bytes) -> bytes:
    return post(CHUNKED, body=body)


FRAMING = (
    Rule("length-and-coding", "RFC 9112, 6.1",
         "Content-Length together with Transfer-Encoding", 400, (
             post("Content-Length: 5", CHUNKED, body=CHUNKS),
             post(CHUNKED, "Content-Length: 5", body=CHUNKS),
             post("Content-Length: 0", CHUNKED, body=CHUNKS),
             post("content-length: 15", "TRANSFER-ENCODING: CHUNKED", body=CHUNKS),
             post("Content-Length: 5", "Transfer-Encoding: identity", body=b"hello"),
             post("Connection: Content-Length", "Content-Length: 5", CHUNKED, body=CHUNKS),
         )),
    Rule("not-just-chunked", "RFC 9112, 6.1 and 7",
         "A Transfer-Encoding that isn't exactly `chunked`, once", 400, (
             *(post(f"Transfer-Encoding: {coding}", body=CHUNKS) for coding in (
                 "identity", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked",
                 "chunked, identity", "xchunked", "chunkedx", "chunke", "chunked;q=1", "chunked,",
                 ",chunked", ", chunked", "'chunked'", '"chunked"', "chunked\x0b", "\x0bchunked",
                 "chunked\xa0", "ch\xffunked", "c hunked", "", "cow", "chunked; x=y",
             )),
             post(CHUNKED, CHUNKED, body=CHUNKS),
             post(CHUNKED, "Transfer-Encoding: identity", body=CHUNKS),
             post("Transfer-Encoding: identity", CHUNKED, body=CHUNKS),
             post("Transfer-Encoding: gzip", CHUNKED, body=CHUNKS),
             post("Transfer-Encoding:", CHUNKED, body=CHUNKS),
         )),
    Rule("coding-of-1.0", "RFC 9112, 6.1", "Any Transfer-Encoding on HTTP/1.0", 400, (
        post(CHUNKED, body=CHUNKS, line="POST /evil HTTP/1.0"),
        post(CHUNKED, "Connection: keep-alive", body=CHUNKS, line="POST /evil HTTP/1.0"),
        head(CHUNKED, line="GET /evil HTTP/1.0"),
    )),
    Rule("odd-length", "RFC 9110, 8.6",
         "A Content-Length that isn't digits alone, or is 2^63 or more", 400, tuple(
             post(f"Content-Length: {length}", body=b"hello") for length in (
                 "", "+5", "-5", "-0", "0x5", "5.0", "5e0", "5,5", "5, 5", "5;", '"5"', "five",
                 "5 5", "\x0b5", "5\x0c", "1_000", "\xb2", "9223372036854775808",
                 "18446744073709551616", "18446744073709551621", "99999999999999999999999999",
                 "00000000000000000000000000005",
             ))),
    Rule("two-lengths", "RFC 9110, 8.6", "More than one Content-Length, the same or not", 400, (
        post("Content-Length: 5", "Content-Length: 6", body=b"hello!"),
        post("Content-Length: 5", "Content-Length: 5", body=b"hello"),
        post("Content-Length: 0", "Content-Length: 5", body=b"hello"),
        post("Content-Length: 5", "Content-Length:", body=b"hello"),
        post("Content-Length: 5", "content-length: 0", body=b"hello"),
    )),
    Rule("chunk-size", "RFC 9112, 7.1",
         "A chunk size that is empty, signed, not hexadecimal, or has more than 15 digits", 400,
         tuple(chunked(size + b"\r\nhello\r\n0\r\n\r\n") for size in (
             b"", b"-5", b"+5", b"0x5", b" 5", b"\t5", b"5 5", b"g", b"5g", b"\x005",
             b"10000000000000005", b"ffffffffffffffff", b"00000000000000000005",
             b"8000000000000000", b"5\x00", b"5\x0b", b"_5", b"5_", b"5.", b"5 ", b"5\t",
             b"5 ;a=b",
         ))),
    Rule("chunk-lines", "RFC 9112, 2.2 and 7.1",
         "A chunk that isn't where its size says, or a line of it that doesn't end in CR LF", 400,
         tuple(chunked(body) for body in (
             b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n",
             b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\r\n0\n\r\n", b"5\rhello\r\n0\r\n\r\n",
             b"5\r\r\nhello\r\n0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n", b"5\r\nhello\r\r\n0\r\n\r\n",
             b"5;a\nb\r\nhello\r\n0\r\n\r\n", b"5;a\rb\r\nhello\r\n0\r\n\r\n",
             b"5;a\x00b\r\nhello\r\n0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n",
             b"5\r\nhello\r\n0\r\n\nGET /evil HTTP/1.1\r\n\r\n",
             b"5\r\nhello\r\n0\r\nno colon\r\n\r\n", b"5\r\nhello\r\n0\r\na: b\n\r\n",
             b"5\r\nhello\r\n0\r\n folded: b\r\n\r\n", b"5\r\nhello\r\n0\r\na\x00b: c\r\n\r\n",
         ))),
    Rule("chunk-extension", "RFC 9112, 7.1.1",
         "A chunk extension that isn't a name, alone or with a token or a quoted string", 400,
         tuple(chunked(b"5;" + extension + b"\r\nhello\r\n0\r\n\r\n") for extension in (
             b"", b" ", b";", b"a;", b"bad[=x", b"=x", b"a=", b"a=;b", b"a= ", b'a="x', b'a="x\\"',
             b'a="x"y', b"a b", b"a=b c", b"a ", b"a=b\t", b"a=b=c", b"a==b", b"\xff", b'"a"=b',
             b"a=b,c", b'a="\x01"',
         ))),
    Rule("extensions-without-end", "RFC 9112, 7.1.1",
         "Extensions of more than 4 KiB on one chunk", 400, (
             chunked(b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n"),
             chunked(b"5\r\nhello\r\n0;" + b"a" * 5000 + b"\r\n\r\n"),
         )),
    Rule("trailers-without-end", "RFC 9112, 7.1.2", "Trailers of more than 8 KiB", 400, (
        chunked(b"0\r\n" + b"a: b\r\n" * 3000 + b"\r\n"),
        chunked(b"0\r\na: " + b"b" * 9000 + b"\r\n\r\n"),
    )),
)

HOSTS = (
    Rule("no-host", "RFC 9112, 3.2", "An HTTP/1.1 request without Host", 400, (
        head(host=""), head("X-Host: site.test", host=""), head("Host : site.test", host=""),
        head(line="GET http://site.test/evil HTTP/1.1", host=""),
    )),
    Rule("two-hosts", "RFC 9112, 3.2", "More than one Host, the same or not", 400, (
        head("Host: other.test"), head("host: site.test"), head("HOST: site.test", "Host: a"),
        head("Host:"),
    )),
    Rule("odd-host", "RFC 9110, 4.2 and 7.2",
         "A Host that isn't a name or an address with an optional port", 400, tuple(
             head(host=f"Host: {host}\r\n") for host in (
                 "", "a b", "a,b", "a/b", "a?b", "a#b", "a@b", "user@site.test",
                 "user:pw@site.test",
                 "site.test:", "site.test:http", "site.test:80:80", "site.test:-1",
                 "site.test:65536", "site.test:999999", ":80", "[::1", "::1", "[::1]x", "[]",
                 "[g::1]", "[::1]:x", "site.test\\", "site.test%00", "site%2etest", "sité.test",
                 '"site.test"', "http://site.test", "a\tb", "a" * 300, "a;b", "a=b", "<a>", "a'b",
             ))),
    Rule("hosts-disagree", "RFC 9112, 3.2.2", "An absolute URI and a Host that disagree", 400, (
        head(line="GET http://other.test/evil HTTP/1.1"),
        head(line="GET http://site.test:8080/evil HTTP/1.1"),
        head(line="GET http://site.test@other.test/evil HTTP/1.1"),
        head(line="GET http:///evil HTTP/1.1"),
        head(line="GET https://site.test.other.test/evil HTTP/1.1"),
    )),
)

LINES = (
    Rule("method", "RFC 9110, 9.1",
         "A method that is no token, has lower case, or has more than 64 bytes", 400, tuple(
             head(line=f"{method} /evil HTTP/1.1") for method in (
                 "get", "Get", "postX", "G ET", "G\tET", "G\x00T", "\xc7ET", "GET,", "(GET)",
                 "A" * 65,
             ))),
    Rule("target", "RFC 9112, 3.2",
         "A target that is neither a path nor an absolute http URI (`*` is for OPTIONS alone)", 400,
         (*(head(line=f"GET {target} HTTP/1.1") for target in (
             "*", "evil", "../evil", "site.test:80", "ftp://site.test/evil", "file:///evil",
             "http:/evil", "http:evil", "httpx://site.test/evil", "://site.test/evil",
             "javascript:evil", "/evil evil", "\\evil", "?evil", "#evil",
         )), head(line="OPTIONS ** HTTP/1.1"))),
    Rule("target-bytes", "RFC 3986, 2 and RFC 9112, 3.2",
         "A control byte, one beyond ASCII, a space or a fragment in a target", 400, tuple(
             b"GET /ev" + bytes([c]) + b"il HTTP/1.1\r\nHost: site.test\r\n\r\n"
             for c in [*CONTROLS, 0x09, 0x20, 0x23, 0x80, 0xC3, 0xFF])),
    Rule("version", "RFC 9112, 2.3", "A protocol that isn't HTTP/1.0 or 1.1, or a gap before it",
         400, tuple(head(line=f"GET /evil{rest}") for rest in (
             " HTTP/1.2", " HTTP/1.10", " HTTP/11.1", " HTTP/1", " HTTP/1.", " HTTP/.1",
             " http/1.1", " Http/1.1", " HTTP/1,1", " HTTP/+1.1", " HTTP 1.1", " XTTP/1.1",
             " RTSP/1.0", " ICE/1.0", " HTTP/1.1 ", " HTTP/1.1\t", "  HTTP/1.1", "\tHTTP/1.1",
             " HTTP/1.1 HTTP/1.1", " HTTP/01.1", " HTTP/1.01", " HTTP/1.1\x00",
         ))),
    Rule("other-version", "RFC 9110, 15.6.6", "HTTP/0.9, and HTTP/2 on a listener of 1.1", 505, (
        head(line="GET /evil HTTP/2.0"), head(line="GET /evil HTTP/0.9"), b"GET /evil\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    )),
    Rule("connect", "RFC 9110, 9.3.6", "CONNECT: this is no forward proxy", 405, (
        head(line="CONNECT site.test:443 HTTP/1.1"), head(line="CONNECT /evil HTTP/1.1"),
    )),
    Rule("gap-in-the-line", "RFC 9112, 3", "More than one space in the request line", 400, (
        head(line="GET  /evil HTTP/1.1"), head(line=" GET /evil HTTP/1.1"),
        head(line="GET\t/evil HTTP/1.1"), head(line="GET /evil \tHTTP/1.1"),
    )),
    Rule("another-protocol", "RFC 9112, 3", "A first byte of some other protocol", 400, (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(40)), b"SSH-2.0-x\r\n",
        b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x03abc",
        b"EHLO site.test\r\n", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", b"\x00" * 20,
        b"*1\r\n$4\r\nPING\r\n",
    )),
)

FIELDS = (
    Rule("value-bytes", "RFC 9110, 5.5", "A control byte in a value, CR and LF among them", 400,
         tuple(b"GET /evil HTTP/1.1\r\nHost: site.test\r\nX: a" + bytes([c]) + b"b\r\n\r\n"
               for c in CONTROLS)),
    Rule("name-bytes", "RFC 9110, 5.1", "A byte in a name that no token has", 400,
         tuple(b"GET /evil HTTP/1.1\r\nHost: site.test\r\nX" + bytes([c]) + b"Y: a\r\n\r\n"
               for c in [*range(0x80), 0x80, 0xA0, 0xFF]
               if chr(c) not in TOKEN and chr(c) != ":")),
    Rule("no-name", "RFC 9112, 5", "A line without a colon, or without a name", 400, (
        head("X"), head(": x"), head(":"), head("X-Y\tZ"), head("\x00: x"),
    )),
    Rule("space-before-colon", "RFC 9112, 5.1", "White space between a name and its colon", 400, (
        head("X : y"), head("X\t: y"), post("Content-Length : 5", body=b"hello"),
        post("Transfer-Encoding : chunked", body=CHUNKS),
        post("Content-Length\x0b: 5", body=b"hello"),
    )),
    Rule("obs-fold", "RFC 9112, 5.2", "A value folded over lines, or space before the first name",
         400, (
             head("X: a\r\n b"), head("X: a\r\n\tb"), head("X:\r\n b"),
             post("Transfer-Encoding:\r\n chunked", body=CHUNKS),
             post("Content-Length: 5\r\n 0", body=b"hello"),
             head(" X: y", host=""), head("\tX: y", host=""), head(" Host: site.test", host=""),
         )),
    Rule("bare-line-ends", "RFC 9112, 2.2", "Lines that end in LF or CR alone", 400, (
        b"GET /evil HTTP/1.1\nHost: site.test\n\n",
        b"GET /evil HTTP/1.1\nHost: site.test\r\n\r\n",
        b"GET /evil HTTP/1.1\r\nHost: site.test\n\r\n",
        b"GET /evil HTTP/1.1\r\nHost: site.test\r\n\n",
        b"GET /evil HTTP/1.1\r\nHost: site.test\r\n\rGET /evil HTTP/1.1\r\n\r\n",
        b"GET /evil HTTP/1.1\rHost: site.test\r\n\r\n",
        b"GET /evil HTTP/1.1\r\nHost: site.test\rX: y\r\n\r\n",
        b"GET /evil HTTP/1.1\r\nHost: site.test\r\r\n\r\n",
        b"GET /evil HTTP/1.1\r\nHost: site.test\r\nX: y\nZ: a\r\n\r\n",
        b"GET /evil HTTP/1.1\r\r\nHost: site.test\r\n\r\n",
    )),
    Rule("many-fields", "RFC 6585, 5", "More than `max_headers` fields (100)", 431, (
        head(*(f"X-{i}: y" for i in range(100))), head(*("X: y" for _ in range(5000))),
        head(*("a:" for _ in range(150))),
    )),
    Rule("large-head", "RFC 6585, 5", "A head of more than `max_header_size` (32 KiB)", 431, (
        head("X: " + "y" * 33000), head(*(f"X-{i}: " + "y" * 1000 for i in range(40))),
        head("y" * 33000 + ": x"),
    )),
    Rule("long-target", "RFC 9110, 15.5.15",
         "A target of more than `max_uri_length` (8 KiB), 65,535 bytes or not", 414, tuple(
             head(line="GET /" + "e" * n + " HTTP/1.1") for n in (8193, 20000))),
    Rule("expect", "RFC 9110, 10.1.1", "An expectation other than 100-continue", 417, (
        head("Expect: 200-ok"), head("Expect: 100-continue, x"), head("Expect: x"),
        post("Expect: 100-continued", "Content-Length: 5", body=b"hello"),
    )),
    Rule("many-options", "RFC 9110, 7.6.1", "More than 32 options in a Connection field", 400, (
        head("Connection: " + ", ".join(f"x{i}" for i in range(40))),
    )),
)

PATHS = (
    Rule("path-escapes", "RFC 3986, 2.1", "An escape that isn't two hexadecimal digits, or of NUL",
         400, tuple(head(line=f"GET /evil{path} HTTP/1.1") for path in (
             "%", "%1", "%g0", "%0g", "%zz", "%%", "%00", "%u0041", "/%2", "a%", "%-1",
         ))),
    Rule("path-backslash", "RFC 3986, 3.3",
         "A backslash in a path, or an escaped one to climb by", 400, tuple(
             head(line=f"GET {path} HTTP/1.1") for path in (
                 "/evil\\x", "/\\evil", "/evil/..\\..\\x", "/a/..%5c../evil", "/a%5c../evil",
             ))),
    Rule("path-climbs", "RFC 3986, 5.2.4",
         "Dot segments that climb above the root, or beside an escaped slash", 400,
         tuple(head(line=f"GET {path} HTTP/1.1") for path in (
             "/a/..%2fevil", "/a/..%2Fevil", "/a%2f../evil", "/a%2f..%2fevil", "/%2e%2e%2fevil",
             "/../evil", "/a/../../evil", "/..", "/%2e%2e/evil", "/.%2e/evil", "/a/../..",
         ))),
)

GROUPS = {
    "Framing": FRAMING, "Hosts": HOSTS, "Request lines": LINES, "Fields": FIELDS, "Paths": PATHS,
}
RULES = tuple(rule for group in GROUPS.values() for rule in group)


def table() -> str:
    """The rules as docs/http.md has them."""
    lines = ["| rule | refused | with | clause | requests tried |", "| -- | -- | --: | -- | --: |"]
    lines += [
        f"| {rule.name} | {rule.what} | {rule.status} | {rule.clause} | {len(rule.requests)} |"
        for rule in RULES
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
