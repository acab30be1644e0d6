"""Commands that talk to a running process."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastlb.config.places import usual_folders
from tests.flow.admin.conftest import TOKEN, Admin
from tests.flow.conftest import DEADLINE_S, Origin, wait_until

Make = Callable[..., Admin]
NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The usual place of these tests, where no other process is."""
    monkeypatch.setenv("FASTLB_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("FASTLB_ADMIN", raising=False)
    monkeypatch.delenv("FASTLB_TOKEN", raising=False)
    return tmp_path / "run"


def fastlb(*args: str) -> tuple[int, str, str]:
    made = subprocess.run([sys.executable, "-m", "fastlb", *args], capture_output=True, text=True,
                          timeout=DEADLINE_S * 3)
    assert "Traceback" not in made.stderr
    return made.returncode, made.stdout, made.stderr


@pytest.fixture
def serve() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fastlb", "serve", "--threads", "1", *args],
            stderr=subprocess.PIPE, text=True,
        )
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if "ready:" in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


SOME = ("--bind", "tcp://127.0.0.1:0", "--server", NOBODY)


def test_a_process_is_found_in_the_usual_place(
    serve: Callable[..., subprocess.Popen[str]], own_place: Path
) -> None:
    process = serve(*SOME)
    assert [path.name for path in own_place.iterdir()] == [f"{process.pid}.sock"]
    code, out, _ = fastlb("status", "--json")
    assert code == 0 and json.loads(out)["pid"] == process.pid
    code, out, err = fastlb("drain", f"main/{NOBODY}")
    assert (code, out, err) == (0, f"main/{NOBODY} is drained (process {process.pid})\n", "")
    code, out, _ = fastlb("status")
    lines = out.splitlines()
    assert lines[0].endswith("  0 connections")
    assert lines[1].split() == ["LISTENER", "ADDRESS", "CONNECTIONS", "NEW/S", "REQ/S", "5XX/S"]
    assert code == 0 and re.search(rf"main +{NOBODY} +draining", out)
    who = f"(process {process.pid})"
    assert fastlb("disable", NOBODY)[:2] == (0, f"{NOBODY} is in maintenance; in flight: 0 {who}\n")
    assert fastlb("enable", NOBODY)[:2] == (0, f"{NOBODY} is unchecked {who}\n")
    process.terminate()
    assert process.wait(DEADLINE_S) == 0
    assert not list(own_place.iterdir())


def test_several_processes_must_be_told_apart(
    serve: Callable[..., subprocess.Popen[str]], own_place: Path
) -> None:
    first, second = serve(*SOME), serve(*SOME)
    code, _, err = fastlb("status")
    assert code == 3
    assert err.startswith("several processes are running; say which one is meant:\n")
    for process in (first, second):
        assert f"--admin http://unix:{own_place}/{process.pid}.sock" in err
    code, out, _ = fastlb("status", "--json", "--admin", f"{own_place}/{second.pid}.sock")
    assert code == 0 and json.loads(out)["pid"] == second.pid


def test_what_a_dead_process_left_is_no_process(
    serve: Callable[..., subprocess.Popen[str]], own_place: Path
) -> None:
    dead = serve(*SOME)
    dead.kill()
    dead.wait()
    assert list(own_place.iterdir())
    assert fastlb("status")[0] == 3
    process = serve(*SOME)                  # sweeps up
    assert [path.name for path in own_place.iterdir()] == [f"{process.pid}.sock"]


def test_none_is_opened_where_the_file_says_so(
    serve: Callable[..., subprocess.Popen[str]], own_place: Path, tmp_path: Path
) -> None:
    config = tmp_path / "f.toml"
    config.write_text(f"""
        admin = false
        [listeners.web]
        bind = "tcp://127.0.0.1:0"
        pool = "api"
        [pools.api]
        servers = ["{NOBODY}"]
    """)
    serve(str(config))
    assert not own_place.exists()


@pytest.mark.parametrize("keys", ["", ", default_socket = false"])
def test_a_process_with_a_port_is_found_in_the_usual_place_too(
    serve: Callable[..., subprocess.Popen[str]], own_place: Path, tmp_path: Path, keys: str
) -> None:
    config = tmp_path / "f.toml"
    config.write_text(f"""
        admin = {{ bind = "http://127.0.0.1:0"{keys} }}
        [listeners.web]
        bind = "tcp://127.0.0.1:0"
        pool = "api"
        [pools.api]
        servers = ["{NOBODY}"]
    """)
    process = serve(str(config))
    assert fastlb("status")[0] == (3 if keys else 0)
    found = [path.name for path in own_place.iterdir()] if own_place.exists() else []
    assert found == ([] if keys else [f"{process.pid}.sock"])


@pytest.mark.parametrize("command", [
    ("status",), ("top",), ("drain", "a/b"), ("enable", "a/b"), ("disable", "a/b"), ("reload",)])
def test_no_process_is_told(command: tuple[str, ...], own_place: Path) -> None:
    code, out, err = fastlb(*command)
    assert (code, out) == (3, "")
    assert f"nobody answers at {own_place}/*.sock" in err
    assert "Start one (fastlb serve fastlb.toml)" in err
    assert fastlb(*command, "--admin", "127.0.0.1:1")[0] == 3


def test_a_reload_names_the_process_that_has_read_its_file(
    serve: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[listeners.a]\nbind = "tcp://127.0.0.1:0"\npool = "a"\n'
                    f'[pools.a]\nservers = ["{NOBODY}"]\n')
    process = serve(str(path))
    assert fastlb("reload", "--dry-run") == (0, "nothing would change\n", "")
    assert fastlb("reload") == (
        0, f"nothing has changed\nprocess {process.pid} has read its file again\n", "")


def test_a_drain_waits_until_all_have_left(admin: Make, origin: Origin) -> None:
    running = admin([origin.address], listen="tcp://127.0.0.1:0")
    client, server = running.site.pair(origin)
    at = ("--admin", running.url)
    code, _, err = fastlb("drain", f"api/{origin.address}", "--wait", "--timeout", "50ms", *at)
    assert (code, err) == (1, f"api/{origin.address} is still draining; in flight: 1\n")
    told: list[tuple[int, str, str]] = []
    thread = threading.Thread(
        target=lambda: told.append(fastlb("drain", f"api/{origin.address}", "--wait", *at)))
    thread.start()
    client.close()
    server.close()
    thread.join()
    assert told == [(0, f"api/{origin.address} is drained (process {os.getpid()})\n", "")]


def test_names_that_fit_nothing_are_told(admin: Make) -> None:
    at = ("--admin", admin([NOBODY]).url)
    code, _, err = fastlb("drain", "api/1.2.3.4:5", *at)
    assert code == 2 and f"One of: {NOBODY}" in err
    code, _, err = fastlb("drain", "nope", *at)
    assert code == 2 and "The pools are: api" in err
    code, _, err = fastlb("drain", f"api/{NOBODY}", "--timeout", "5", *at)
    assert code == 2 and "'5' is not a duration" in err


def test_a_token_comes_from_the_environment(admin: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    running = admin([NOBODY], token=TOKEN)
    code, _, err = fastlb("status", "--admin", running.url)
    assert code == 1 and "set FASTLB_TOKEN" in err
    monkeypatch.setenv("FASTLB_TOKEN", TOKEN)
    monkeypatch.setenv("FASTLB_ADMIN", running.url)
    assert fastlb("status")[0] == 0


def test_top_shows_numbers_and_ends_at_q(admin: Make) -> None:
    running = admin([NOBODY])
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastlb", "top", "--admin", running.url, "--interval", "50ms"],
        stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"},
    )
    os.close(terminal)
    seen: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(controller, 65536):
                seen.append(data)
        except OSError:
            pass                    # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    wait_until(lambda: NOBODY.encode() in b"".join(seen) and b"quit" in b"".join(seen))
    os.write(controller, b"q")
    assert process.wait(DEADLINE_S) == 0
    reader.join()
    os.close(controller)


def test_top_needs_a_terminal(admin: Make) -> None:
    code, _, err = fastlb("top", "--admin", admin([NOBODY]).url)
    assert code == 2 and "this is not a terminal; fastlb status prints it once" in err


def test_the_usual_places_are_the_user_s_and_the_machine_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FASTLB_RUN_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert usual_folders() == [Path("/run/user/7/fastlb"), Path("/run/fastlb")]
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert usual_folders() == [Path("/run/fastlb")]
