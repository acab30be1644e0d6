"""What is different between two configurations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastlb.cli import run
from fastlb.config.diff import diff, overlaid
from fastlb.config.reader import load, loads

OLD = """
defaults = { connect_timeout = "500ms" }
[listeners.web]
bind = "http://127.0.0.1:8080"
routes = [
    { name = "a", match = { path = "/a" }, pool = "p" },
    { name = "b", match = { path = "/b" }, pool = "p" },
]
[pools.p]
servers = ["127.0.0.1:1", { address = "127.0.0.1:2", weight = 2 }]
sticky = { cookie = "c", secret = "the old secret, long enough for it" }
[pools.gone]
servers = ["127.0.0.1:9"]
"""
NEW = """
max_connections = 1000
[listeners.web]
bind = "http://127.0.0.1:8080"
pool = "p"
routes = [
    { name = "b", match = { path = "/b" }, pool = "p" },
    { name = "a", match = { path = "/a2" }, pool = "p" },
]
[pools.p]
servers = [{ address = "127.0.0.1:2", weight = 3 }, "127.0.0.1:3"]
sticky = { cookie = "c", secret = "the new secret, long enough for it" }
connect_timeout = "1s"
[pools.q]
servers = ["127.0.0.1:9"]
"""
EXPECTED = """\
+ max_connections: 1000
+ listeners.web.pool: "p"
~ listeners.web.routes.a.match.path: ["/a"] -> ["/a2"]
~ listeners.web.routes.a.place: 1 -> 2
~ listeners.web.routes.b.place: 2 -> 1
- pools.gone
~ pools.p.connect_timeout: "500ms" -> "1s"
- pools.p.servers.127.0.0.1:1
~ pools.p.servers.127.0.0.1:2.weight: 2 -> 3
+ pools.p.servers.127.0.0.1:3
~ pools.p.sticky.secret: "(secret)" -> "(secret)"
+ pools.q
"""
FULL = Path(__file__).resolve().parents[3] / "examples/full.toml"


def test_every_difference_is_told_once() -> None:
    assert "".join(f"{one}\n" for one in diff(loads(OLD), loads(NEW))) == EXPECTED


@pytest.mark.usefixtures("example_files")
def test_a_configuration_is_like_itself() -> None:
    assert diff(load(FULL), load(FULL)) == []


@pytest.mark.parametrize(("old", "new"), [
    ('connect_timeout = "1s"', 'connect_timeout = "1000ms"'),       # written otherwise
    ('connect_timeout = "500ms"', ""),                              # built in
    ('connect_timeout = "500ms"', '[defaults]\nconnect_timeout = "500ms"'),     # said elsewhere
    ('limits = { max_pending = 0 }', ""),
])
def test_what_holds_counts_and_not_how_it_is_said(old: str, new: str) -> None:
    text = '[listeners.l]\nbind = "tcp://127.0.0.1:1"\npool = "p"\n[pools.p]\nservers = ["a:1"]\n'
    assert diff(loads(text + old), loads(text + new)) == []


def test_a_function_is_known_by_its_name() -> None:
    text = ('[listeners.l]\nbind = "http://127.0.0.1:1"\n[[listeners.l.routes]]\nname = "r"\n'
            'pool = "p"\npolicy = "m:{}"\n[pools.p]\nservers = ["a:1"]\n')
    found = diff(loads(text.format("f")), loads(text.format("g")))
    assert [str(one) for one in found] == ['~ listeners.l.routes.r.policy.call: "m:f" -> "m:g"']


def test_what_was_set_while_running_is_told() -> None:
    overlay = {"p": {"servers": [{"address": "a:1"}], "weights": {"a:1": 3},
                     "states": {"a:1": "draining"}}}
    assert [str(one) for one in overlaid(overlay)] == [
        '* pools.p.servers: ["a:1"] (set while running)',
        "* pools.p.servers.a:1.weight: 3 (set while running)",
        '* pools.p.servers.a:1.state: "draining" (set while running)',
    ]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(OLD)
    new.write_text(NEW)
    assert run(["diff", str(old), str(old)]) == 0
    assert capsys.readouterr().out == ""
    assert run(["diff", str(old), str(new)]) == 1
    assert capsys.readouterr().out == EXPECTED
    assert run(["diff", str(old), str(new), "--json"]) == 1
    assert {"kind": "removed", "path": "pools.gone", "text": "- pools.gone"} in json.loads(
        capsys.readouterr().out)
    new.write_text("[listeners.x]\n")
    assert run(["diff", str(old), str(new)]) == 2
    assert "listeners.x" in capsys.readouterr().err
