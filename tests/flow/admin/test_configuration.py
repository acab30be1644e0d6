"""The configuration as a whole: put in, read again, and where the API itself is."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

import fastlb
from fastlb.config.reader import loads, tomllib
from fastlb.config.written import plain, toml
from tests.flow.admin.conftest import TOKEN, Admin
from tests.flow.conftest import DEADLINE_S, forks_with_threads, wait_until

Make = Callable[..., Admin]
NOBODY = "127.0.0.1:1"
TOML = {"content-type": "application/toml"}


def text(admin: str, servers: str = f'"{NOBODY}"') -> str:
    return f"""
{admin}
[listeners.web]
bind = "tcp://127.0.0.1:0"
pool = "api"
[pools.api]
servers = [{servers}]
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., fastlb.Balancer]]:
    """A balancer of a file, as `fastlb serve` has it."""
    with ExitStack() as stack:

        def make(content: str) -> fastlb.Balancer:
            path = tmp_path / "fastlb.toml"
            path.write_text(content)
            balancer = fastlb.Balancer(fastlb.Config.from_file(path), threads=1)
            balancer.source = str(path)
            stack.enter_context(balancer.background())
            return balancer

        yield make


def client(balancer: fastlb.Balancer) -> httpx.Client:
    url = balancer.admin_url
    assert url is not None
    return httpx.Client(base_url=url, timeout=DEADLINE_S)


def kept(balancer: fastlb.Balancer) -> str:
    """The line of `admin` for the address that it has."""
    return f'admin = {{ bind = "{balancer.admin_url}" }}'


HERE = 'admin = { bind = "http://127.0.0.1:0" }'


def test_another_configuration_is_put_in(served: Callable[..., fastlb.Balancer]) -> None:
    balancer = served(text(HERE))
    http = client(balancer)
    new = text(HERE, f'"{NOBODY}", "127.0.0.1:2"')
    answer = http.put("/config?dry_run=1", content=new, headers=TOML)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["dry_run"] and made["warnings"] == []
    assert [one["text"] for one in made["differences"]] == ["+ pools.api.servers.127.0.0.1:2"]
    assert list(balancer.pools["api"].servers) == [NOBODY]
    made = http.put("/config", content=new, headers=TOML).json()
    assert not made["dry_run"] and len(made["differences"]) == 1
    assert list(balancer.pools["api"].servers) == [NOBODY, "127.0.0.1:2"]


def test_it_may_be_json(served: Callable[..., fastlb.Balancer]) -> None:
    balancer = served(text(HERE))
    http = client(balancer)
    values = http.get("/config").json()
    values["pools"]["api"]["servers"].append("127.0.0.1:2")
    answer = http.put("/config", json=values)
    assert answer.status_code == 200, answer.text
    assert list(balancer.pools["api"].servers) == [NOBODY, "127.0.0.1:2"]
    remote = fastlb.connect(balancer.admin_url)
    values["pools"]["api"]["servers"].pop()
    assert remote.reload(values, dry_run=True)["differences"][0]["kind"] == "removed"


def test_a_bad_one_changes_nothing_and_all_of_it_is_told(
    served: Callable[..., fastlb.Balancer],
) -> None:
    balancer = served(text(HERE))
    bad = text(HERE, '"nowhere"').replace("pool = ", "pol = ")
    answer = client(balancer).put("/config", content=bad, headers=TOML)
    assert answer.status_code == 422
    problems = answer.json()["problems"]
    assert {(one["path"], one["line"]) for one in problems} >= {
        ("listeners.web.pol", 5), ("pools.api.servers[0]", 7)}
    assert list(balancer.pools["api"].servers) == [NOBODY]
    with pytest.raises(fastlb.ConfigError, match="nowhere"):
        fastlb.connect(balancer.admin_url).reload(bad)
    taken = socket.create_server(("127.0.0.1", 0))
    other = text(HERE).replace("127.0.0.1:0\"\npool", f"127.0.0.1:{taken.getsockname()[1]}\"\npool")
    answer = client(balancer).put("/config", content=other, headers=TOML)
    taken.close()
    assert answer.status_code == 409 and "the port is taken" in answer.json()["error"]


def test_the_file_is_read_again(served: Callable[..., fastlb.Balancer]) -> None:
    balancer = served(text(HERE))
    assert balancer.source is not None
    Path(balancer.source).write_text(text(HERE, '"127.0.0.1:2"'))
    remote = fastlb.connect(balancer.admin_url)
    assert len(remote.reload(dry_run=True)["differences"]) == 2
    assert list(balancer.pools["api"].servers) == [NOBODY]
    assert len(remote.reload()["differences"]) == 2
    assert list(balancer.pools["api"].servers) == ["127.0.0.1:2"]


def test_where_there_is_no_file_that_is_told(admin: Make) -> None:
    status, error, _ = admin([NOBODY]).refused("POST", "/reload")
    assert (status, error) == (
        409, "the process was not started with a file: PUT /config instead")


def test_the_api_moves_with_its_address(
    served: Callable[..., fastlb.Balancer], tmp_path: Path
) -> None:
    balancer = served(text(HERE))
    old, first = balancer.admin_url, client(balancer)
    path = tmp_path / "admin.sock"
    moved = text(f'admin = {{ bind = "http://unix:{path}" }}')
    assert first.put("/config", content=moved, headers=TOML).status_code == 200
    assert balancer.admin_url == f"http://unix:{path}"
    assert fastlb.connect(balancer.admin_url).status()["state"] == "serving"
    wait_until(lambda: nobody_answers(old))
    fastlb.connect(balancer.admin_url).reload(text("admin = false"))
    wait_until(lambda: balancer.admin_url is None)
    wait_until(lambda: not path.exists())


def nobody_answers(admin: str | None) -> bool:
    try:
        fastlb.connect(admin)
    except ConnectionError:
        return True
    return False


def test_an_address_that_stays_is_never_closed(served: Callable[..., fastlb.Balancer]) -> None:
    balancer = served(text(HERE))
    url = balancer.admin_url
    http = client(balancer)
    with_token = text(f'admin = {{ bind = "http://127.0.0.1:0", token = "{TOKEN}" }}')
    assert http.put("/config", content=with_token, headers=TOML).status_code == 200
    assert balancer.admin_url == url
    assert http.get("/status").status_code == 401
    assert http.get("/status", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_an_address_that_is_taken_leaves_all_as_it_was(
    served: Callable[..., fastlb.Balancer],
) -> None:
    balancer = served(text(HERE))
    url = balancer.admin_url
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = f"http://127.0.0.1:{taken.getsockname()[1]}"
        new = text(f'admin = {{ bind = "{there}" }}', '"127.0.0.1:2"')
        answer = client(balancer).put("/config", content=new, headers=TOML)
    assert answer.status_code == 409
    assert f"admin.bind: {there}: the port is taken" in answer.json()["error"]
    assert balancer.admin_url == url
    assert list(balancer.pools["api"].servers) == [NOBODY]


@forks_with_threads
def test_a_forked_child_holds_nothing_of_it(admin: Make) -> None:
    running = admin([NOBODY])
    raw = running.raw()
    raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    assert raw.recv(100).startswith(b"HTTP/1.1 200")

    def sockets() -> set[str]:
        found = set()
        for name in os.listdir("/proc/self/fd"):
            try:
                found.add(os.readlink(f"/proc/self/fd/{name}"))
            except OSError:
                pass            # the folder's own
        return {one for one in found if one.startswith("socket:")}

    before = sockets()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            left = sockets()
            os.write(writer, f"{len(left)} {len(before)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    left, had = map(int, os.read(reader, 100).split())
    os.close(reader)
    os.close(writer)
    assert left <= had - 2      # the listening socket, and the connection's end, at least
    raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    raw.close()
    assert running.get("/healthz") == {"status": "ok"}


VALUES: list[dict[str, Any]] = [
    {},
    {"a": 1, "b": "x\"y\\z\n\x7fé\u2028", "c": True, "d": [1, "two", {"three": 3}], "e": 1.5},
    {"t": {"u": {"v": {"w": {"x": [1]}}}, "k.with dots": {"a b": "c"}}, "z": 0},
    {"t": {"only": {"tables": {}}}, "empty": {}},
]


@pytest.mark.parametrize("values", VALUES)
def test_what_is_written_as_toml_is_read_as_the_same(values: dict[str, Any]) -> None:
    assert tomllib.loads(toml(values)) == values


@pytest.mark.usefixtures("example_files")
def test_the_full_example_is_written_and_read_as_the_same() -> None:
    text = (Path(__file__).resolve().parents[3] / "examples" / "full.toml").read_text()
    config = loads(text)
    again = loads(toml(plain(config)).replace("(hidden)", "h" * 16))
    shown = plain(again)
    assert shown == plain(config)
