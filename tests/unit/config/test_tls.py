"""What is said about `tls`: mistakes, what holds, warnings, differences; and never a key."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastlb
from fastlb import Config, ConfigError
from fastlb._core.tables.certificates import self_signed
from fastlb.cli import run
from fastlb.cli.check import describe
from fastlb.compile.certificates import listener_spec, pool_spec
from fastlb.config import tls as tls_module
from fastlb.config.diff import diff
from fastlb.config.effective import effective
from fastlb.config.reader import loads
from fastlb.config.tls import files_of
from fastlb.config.warn import warnings
from fastlb.config.written import plain

GOOD = 'certificates = [{ cert = "a.pem", key = "a.key" }]'
TEXT = (
    '[listeners.l]\nbind = "https://127.0.0.1:1"\npool = "p"\n{}\n'
    '[pools.p]\nservers = ["a:1"]\n{}\n'
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With certificates for a.example and b.example, and an authority."""
    monkeypatch.chdir(tmp_path)
    for name, days in (("a", 90), ("b", 90), ("soon", 20), ("old", -1)):
        write(tmp_path, name, days)
    both = (tmp_path / "a.pem").read_bytes() + (tmp_path / "a.key").read_bytes()
    (tmp_path / "both.pem").write_bytes(both)
    (tmp_path / "ticket").write_bytes(b"t" * 80)
    return tmp_path


def write(folder: Path, name: str, days: int = 90) -> None:
    cert, key = self_signed([f"{name}.example"], days)
    (folder / f"{name}.pem").write_bytes(cert)
    (folder / f"{name}.key").write_bytes(key)


def end_of(name: str) -> str:
    """The day on which a certificate of the working directory expires."""
    found = ssl._ssl._test_decode_cert(f"{name}.pem")       # type: ignore[attr-defined]
    return tls_module.day(ssl.cert_time_to_seconds(found["notAfter"]))


def listener(tls: str) -> Config:
    return loads(TEXT.format(f"tls = {{ {tls} }}", ""), "f.toml")


def pool(tls: str) -> Config:
    return loads(TEXT.format(f"tls = {{ {GOOD} }}", f"tls = {tls}"), "f.toml")


def told(tls: str) -> str:
    with pytest.raises(ConfigError) as caught:
        listener(tls)
    return str(caught.value)


@pytest.mark.parametrize(("tls", "what"), [
    ('certificates = [{ cert = "a.pem" }]',
     "certificates[0]: 'a.pem': holds no private key in PEM"),
    ('certificates = [{ cert = "a.pem", key = "b.key" }]',
     "certificates[0]: 'b.key': the key doesn't belong to the certificate"),
    ('certificates = [{ cert = "no.pem", key = "a.key" }]',
     "certificates[0].cert: 'no.pem' can't be read: no such file or directory"),
    ('certificates = [{ cert = "a.key", key = "a.key" }]',
     "certificates[0]: 'a.key': holds no certificate in PEM"),
    ('certificates = [{ cert = "old.pem", key = "old.key" }]',
     "certificates[0]: 'old.pem' has expired on {end}"),
    ("certificates = []", "certificates: the list is empty"),
    ('min_version = "1.2"', "certificates: this key is missing"),
    (f'{GOOD}, min_version = "1.3", max_version = "1.2"', ": min_version 1.3 is above max_version"),
    (f'{GOOD}, ciphers = "NONE-SUCH"', "ciphers: OpenSSL doesn't know 'NONE-SUCH'"),
    (f'{GOOD}, cipher_suites = "X"', "cipher_suites: OpenSSL doesn't know 'X'"),
    (f'{GOOD}, curves = "X1"', "curves: OpenSSL doesn't know 'X1'"),
    (f'{GOOD}, client_auth = "required"', ': client_auth = "required" needs a client_ca'),
    (f'{GOOD}, client_ca = "a.pem"',
     ': client_ca and client_crl need client_auth = "required" or "optional"'),
    (f'{GOOD}, client_auth = "optional", client_ca = "a.key"',
     "client_ca: 'a.key': holds no certificate in PEM"),
    (f'{GOOD}, client_auth = "optional", client_ca = "a.pem", client_crl = "a.pem"',
     "client_crl: 'a.pem': holds no revocation list in PEM"),
    (f'{GOOD}, tickets = "yes"', "tickets: 'yes' is not true, false or a table"),
    (f'{GOOD}, tickets = {{ rotate = "1s" }}', "tickets.rotate: '1s' is not from 1m to 7d"),
    (f'{GOOD}, tickets = {{ keys = ["a.pem", "ticket"] }}',
     "tickets.keys[0]: 'a.pem' has {size} bytes, and a key of tickets has 80; make one:"
     " openssl rand 80"),
    (f'{GOOD}, tickets = {{ rotat = "1h" }}',
     "tickets.rotat: 'rotat' is not a key here; did you mean 'rotate'? One of: keys, rotate"),
    (f'{GOOD}, alpn = [""]', "alpn: '' is not the name of a protocol, such as \"http/1.1\""),
])
def test_a_listeners_mistakes(tls: str, what: str, folder: Path) -> None:
    key = "" if what.startswith(":") else "."
    size = (folder / "a.pem").stat().st_size
    what = what.replace("{size}", str(size)).replace("{end}", end_of("old"))
    assert told(tls) == f"f.toml:4: listeners.l.tls{key}{what}"


@pytest.mark.parametrize(("tls", "what"), [
    ('"yes"', ": 'yes' is not true, false or a table"),
    ('{ ca = "a.key" }', ".ca: 'a.key': holds no certificate in PEM"),
    ('{ ca = "a.pem", verify = "no" }', ".verify: 'no' is not true or false"),
    ('{ server_name = "a b" }',
     ".server_name: 'a b' is not a name or an IP address, such as \"api.internal\""),
    ('{ certificate = { cert = "a.pem", kee = "a.key" } }',
     ".certificate.kee: 'kee' is not a key here; did you mean 'key'? One of: cert, key, password,"
     " ocsp"),
])
def test_a_pools_mistakes(tls: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pool(tls)
    assert str(caught.value) == f"f.toml:7: pools.p.tls{what}"


def test_a_scheme_and_its_certificates_belong_together() -> None:
    for bind, tls, what in (
        ("https", "", "https:// needs a certificate: tls = { certificates = [{ cert = \"FILE\","
                      " key = \"FILE\" }] }"),
        ("tcp", f"tls = {{ {GOOD} }}", "tls belongs to tls://, and bind is tcp://"),
    ):
        with pytest.raises(ConfigError) as caught:
            loads(TEXT.replace("https", bind).format(tls, ""))
        assert what in str(caught.value)


def test_all_listeners_have_the_same_keys_of_tickets(folder: Path) -> None:
    (folder / "other").write_bytes(b"o" * 80)
    text = "".join(
        f'[listeners.{name}]\nbind = "https://127.0.0.1:{i}"\npool = "p"\ntls = {{ {GOOD},'
        f' tickets = {{ keys = ["{key}"] }} }}\n'
        for i, (name, key) in enumerate((("a", "ticket"), ("b", "ticket"), ("c", "other")), 1)
    )
    with pytest.raises(ConfigError) as caught:
        loads(f'{text}[pools.p]\nservers = ["a:1"]\n')
    assert [str(one).partition(": ")[2] for one in caught.value.problems] == [
        "listeners.c.tls.tickets.keys: a process has one set of keys, and listeners.a has other"
        " ones"
    ]


def test_a_build_without_tls_says_so_at_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "AVAILABLE", False)
    with pytest.raises(ConfigError) as caught:
        pool("true")
    what = ("this fastlb was built without TLS, as OpenSSL's headers were missing; see fastlb"
            " version -v")
    assert str(caught.value) == f"f.toml:4: listeners.l.tls: {what}\nf.toml:7: pools.p.tls: {what}"
    loads(TEXT.replace("https", "http").format("", "tls = false"))


def test_what_was_checked_is_what_is_used(folder: Path) -> None:
    config = listener(f'{GOOD}, client_auth = "optional", client_ca = "b.pem"')
    authority = (folder / "b.pem").read_bytes()
    for path in folder.iterdir():
        path.unlink()
    values = effective(config).listeners[0].tls
    assert values is not None
    assert values.client_ca == authority
    assert values.certificates[0].certificate.names == ("a.example",)


def test_a_file_looks_the_same_until_it_is_written_again(folder: Path) -> None:
    made = listener(f'{GOOD}, tickets = {{ keys = ["ticket"] }}').listeners["l"].tls
    files = files_of(made)
    assert files == ["a.pem", "a.key", "ticket"]
    assert all(file.looks() == file.seen for file in files)
    os.utime("a.key", ns=(1, 1))
    (folder / "ticket").unlink()
    assert [file.looks() == file.seen for file in files] == [True, False, False]


@pytest.mark.parametrize(("tls", "what"), [
    ('certificates = [{ cert = "soon.pem", key = "soon.key" }]',
     "certificates: soon.pem expires on {end}"),
    (f'{GOOD}, key_log = "/tmp/keys"',
     "key_log: who can read /tmp/keys can read all that is sent"),
    ('certificates = [{ cert = "a.pem", key = "a.key" }, { cert = "both.pem" }]',
     "certificates: 'a.example' is in a.pem and in both.pem: clients that ask for it get the first"
     " one"),
])
def test_what_is_warned_of(tls: str, what: str) -> None:
    config = listener(tls)
    what = what.replace("{end}", end_of("soon"))
    assert list(warnings(config, effective(config))) == [f"listeners.l.tls.{what}"]


def test_not_to_verify_is_warned_of() -> None:
    config = pool("{ verify = false }")
    assert list(warnings(config, effective(config))) == [
        "pools.p.tls.verify: any certificate is taken: who is between us and the servers can read"
        " and change everything"
    ]
    assert not list(warnings(pool("true"), effective(pool("true"))))


def test_check_shows_what_holds_and_whom_certificates_name() -> None:
    lines = {
        line.split()[0]: " ".join(line.split()[1:])
        for line in describe(effective(pool('{ ca = "b.pem", server_name = "x.example" }')))
        if "tls." in line
    }
    assert lines["tls.certificates"] == (
        f"a.pem: a.example; ECDSA P-256; expires {end_of('a')} listener")
    assert lines["tls.tickets"] == "a new key each 12h built in"
    assert lines["tls.server_name"] == "x.example pool"
    assert lines["tls.ca"] == "given pool"
    assert lines["tls.min_version"] == "1.2 built in"


def test_a_new_certificate_is_a_difference_by_its_fingerprint(folder: Path) -> None:
    before = listener(GOOD)
    old = before.listeners["l"].tls.certificates[0].fingerprint  # type: ignore[union-attr]
    assert diff(before, listener(GOOD)) == []
    write(folder, "a")
    after = listener(GOOD)
    new = after.listeners["l"].tls.certificates[0].fingerprint  # type: ignore[union-attr]
    assert re.fullmatch("[0-9a-f]{64}", old) and old != new
    assert [str(one) for one in diff(before, after)] == [
        f'~ listeners.l.tls.certificates["a.pem"].fingerprint: "sha256:{old}" -> "sha256:{new}"'
    ]


def test_other_differences() -> None:
    more = GOOD.replace("]", ', { cert = "b.pem", key = "b.key" }]')
    assert [str(one) for one in diff(listener(GOOD), listener(f"{more}, tickets = false"))] == [
        '+ listeners.l.tls.certificates["b.pem"]', "- listeners.l.tls.tickets",
    ]
    found = [str(one) for one in diff(pool("false"), pool("true"))]
    assert found == ["+ pools.p.tls"]
    [ca] = diff(pool("true"), pool('{ ca = "a.pem" }'))
    assert re.fullmatch(r'\+ pools.p.tls.ca: "a.pem \(sha256:[0-9a-f]{64}\)"', str(ca))


def test_a_header_of_that_name_is_not_meant(folder: Path) -> None:
    routes = "routes = [{ name = 'r', pool = 'p', match.headers.tls = true }]"
    text = TEXT.format(f"tls = {{ {GOOD} }}\n{routes}", "")
    gone = text.replace("match.headers.tls = true", "match.headers.x = true")
    assert [str(one) for one in diff(loads(text), loads(gone))] == [
        "- listeners.l.routes.r.match.headers.tls.present: true",
        "+ listeners.l.routes.r.match.headers.x.present: true",
    ]


def secrets(folder: Path) -> Iterator[str]:
    """Lines of keys, in every form that bytes are printed in."""
    for name in ("a.key", "b.key"):
        lines = (folder / name).read_text().splitlines()[1:-1]
        yield from lines
        der = base64.b64decode("".join(lines))
        yield der[36:52].hex()              # of the private number
        yield repr(der[36:44])[2:-1]
    yield "the-password"
    yield "tttttttt"


def test_no_output_has_a_key_in_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tls = (f'{GOOD}, client_auth = "optional", client_ca = "a.pem",'
           ' tickets = { keys = ["ticket"] }')
    password = 'certificate = { cert = "b.pem", key = "b.key", password = "the-password" }'
    text = TEXT.format(f"tls = {{ {tls} }}", f"tls = {{ {password}, verify = false }}")
    (folder / "f.toml").write_text(text)
    (folder / "g.toml").write_text(text.replace("the-password", "the-password2").replace(
        '"a.pem", key = "a.key"', '"b.pem", key = "b.key"'))
    config, other = loads(text), loads((folder / "g.toml").read_text())
    values = effective(config)
    specs = [listener_spec("l", values.listeners[0].tls),  # type: ignore[arg-type]
             pool_spec("p", values.pools[0].tls)]  # type: ignore[arg-type]
    differences = diff(config, other)
    assert differences
    assert run(["check", "f.toml"]) == 0
    assert run(["diff", "f.toml", "g.toml"]) == 1
    assert run(["diff", "--json", "f.toml", "g.toml"]) == 1
    printed = "".join(capsys.readouterr()) + "".join(map(repr, (
        config, str(config), values, specs, differences, plain(config),
        [one.as_json() for one in differences], files_of(config.listeners["l"].tls),
    ))) + json.dumps(plain(config))
    assert "a.pem" in printed
    for secret in secrets(folder):
        assert secret not in printed


def test_in_python_the_same_keys_are_tables() -> None:
    lb = fastlb.Balancer(threads=1)
    api = lb.pool("api", ["127.0.0.1:1"], tls={"ca": "b.pem", "server_name": "x.example"})
    web = lb.listen("tls://127.0.0.1:0", name="web", pool=api,
                    tls={"certificates": [{"cert": "both.pem"}]})

    @web.route()
    def choose(connection: fastlb.Connection) -> fastlb.Decision:
        return None

    tls = lb.config.listeners["web"].tls
    assert tls is not None and tls.certificates[0].cert == "both.pem"
    assert lb.config.listeners["web"].policy is not None
    with pytest.raises(ConfigError, match=r"pools\.other\.tls\.ca: 'no\.pem' can't be read"):
        lb.pool("other", [], tls={"ca": "no.pem"})
    with pytest.raises(ConfigError, match="https:// needs a certificate"):
        lb.listen("https://127.0.0.1:0", pool=api)
