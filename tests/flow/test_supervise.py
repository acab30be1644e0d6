"""`fastlb serve --supervise`: workers come and go, and nobody is refused."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.conftest import origins  # noqa: F401
from tests.flow.http.peers import HttpOrigin, Wire, get
from tests.flow.test_process import Process

Origins = Callable[..., HttpOrigin]


class Supervised(Process):
    def __init__(self, config: Path, *args: str, **keys: Any) -> None:
        self.config = config
        super().__init__(str(config), "--supervise", *args, **keys)

    def readied(self, n: int = 1) -> None:
        """Wait until so many workers have been ready."""
        wait_until(lambda: self.log().count("ready: ") >= n or self.process.poll() is not None)
        assert self.process.poll() is None, self.log()

    @property
    def port(self) -> int:
        found = re.search(r"ready: http://[^ ]*:(\d+) ->", self.log())
        assert found, self.log()
        return int(found[1])

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def worker(self) -> int:
        """The process that accepts connections."""
        for pid in self.children():
            if len(list(Path(f"/proc/{pid}/task").iterdir())) > 1:
                return pid
        raise AssertionError("nobody serves")

    def wait_for_spare(self) -> None:
        wait_until(lambda: len(self.children()) == 2)

    def upgrade(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fastlb", "upgrade", "--pid", str(self.process.pid)],
            capture_output=True, text=True, timeout=DEADLINE_S * 3,
        )

    def ask(self) -> int:
        wire = Wire(socket.create_connection(("127.0.0.1", self.port), DEADLINE_S))
        wire.send(get("/"))
        status = wire.response("GET").status
        wire.close()
        return status


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(text: str, *args: str, **keys: Any) -> Supervised:
        config = tmp_path / f"{len(started)}.toml"
        config.write_text(text)
        started.append(Supervised(config, *args, **keys))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.terminate()
        assert one.ended() == 0, one.log()


def toml(server: str, threads: int = 2, more: str = "", patience: str = "2s") -> str:
    """`patience`: how long a process that ends waits for its clients, whatever they do."""
    return (f'threads = {threads}\nshutdown_timeout = "{patience}"\n'
            f'shutdown_idle_timeout = "{"1s" if patience == "2s" else "30s"}"\n[listeners.web]\n'
            f'bind = "http://127.0.0.1:0"\npool = "p"\n[pools.p]\nservers = ["{server}"]\n{more}')


class Load:
    """Clients that make a connection for each request, and note what isn't a 200."""

    def __init__(self, ask: Callable[[], int], may_break: bool = False) -> None:
        self._ask = ask
        self._may_break = may_break
        self._stopped = threading.Event()
        self.bad: list[str] = []
        self.good = 0
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]
        for one in self._threads:
            one.start()

    def _run(self) -> None:
        while not self._stopped.wait(0.005):
            try:
                status = self._ask()
                if status == 200:
                    self.good += 1
                else:
                    self.bad.append(str(status))
            except (ConnectionResetError, EOFError, BrokenPipeError) as error:
                if not self._may_break:             # what a killed process had accepted is lost
                    self.bad.append(repr(error))
            except OSError as error:
                self.bad.append(repr(error))

    def more(self, n: int = 20) -> None:
        """Wait for so many more answers."""
        before = self.good
        wait_until(lambda: self.good >= before + n or bool(self.bad))

    def end(self) -> list[str]:
        self._stopped.set()
        for one in self._threads:
            one.join()
        return self.bad


def test_a_worker_that_is_killed_is_replaced_and_nobody_is_refused(
    supervise: Callable[..., Supervised], origins: Origins  # noqa: F811
) -> None:
    process = supervise(toml(origins().address))
    process.readied()
    load = Load(process.ask, may_break=True)
    for i in range(3):
        load.more()
        process.wait_for_spare()
        os.kill(process.worker(), signal.SIGKILL)
        process.readied(2 + i)
        load.more()
    assert load.end() == []
    assert process.log().count("was ended by SIGKILL") == 3


def test_an_upgrade_fails_no_request(
    supervise: Callable[..., Supervised], origins: Origins  # noqa: F811
) -> None:
    origin = origins()
    patience = "60s"        # (a client that stands still between its connect and its request)
    process = supervise(toml(origin.address, threads=3, patience=patience))
    process.readied()
    load = Load(process.ask)
    for i, threads in enumerate((1, 4, 2)):         # fewer sockets than engines, and more
        load.more()
        process.config.write_text(toml(origin.address, threads, patience=patience))
        before = process.worker()
        done = process.upgrade()
        assert (done.returncode, done.stderr) == (0, "")
        wait_until(lambda pid=before: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
        assert f"upgraded: process {process.worker()} serves" in done.stdout
        process.readied(2 + i)
        assert f"({threads} thread" in process.log().split("ready: ")[2 + i]
        load.more()
    assert load.end() == []


def test_an_upgrade_lets_idle_clients_ask_once_more_and_knows_no_delay(
    supervise: Callable[..., Supervised], origins: Origins  # noqa: F811
) -> None:
    process = supervise('shutdown_delay = "1h"\n' + toml(origins().address, patience="60s"))
    process.readied()
    before = process.worker()
    wire = Wire(socket.create_connection(("127.0.0.1", process.port), DEADLINE_S))
    wire.send(get("/"))
    assert wire.response("GET").status == 200
    assert process.upgrade().returncode == 0
    wait_until(lambda: "SIGTERM: accepting no more" in process.log())

    def is_the_last() -> bool:              # (an engine hears of it a little later)
        wire.send(get("/"))
        response = wire.response("GET")
        assert response.status == 200
        return response.all("connection") == ["close"]

    wait_until(is_the_last)
    wire.close()
    wait_until(lambda: not Path(f"/proc/{before}").exists())
    process.process.terminate()
    wait_until(lambda: "SIGTERM: accepting for another 3600 s" in process.log())


def test_a_new_process_that_can_not_start_changes_nothing(
    supervise: Callable[..., Supervised], origins: Origins  # noqa: F811
) -> None:
    process = supervise(toml(origins().address))
    process.readied()
    before = process.worker()
    process.config.write_text("[listeners.bad\n")
    done = process.upgrade()
    assert done.returncode == 1 and "not TOML" in done.stderr
    assert process.worker() == before and process.ask() == 200
    process.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload: nothing was changed" in process.log())
    assert process.ask() == 200


def test_what_a_reload_opened_is_held_too(
    supervise: Callable[..., Supervised], origins: Origins, tmp_path: Path  # noqa: F811
) -> None:
    origin, path = origins(), tmp_path / "more.sock"
    process = supervise(toml(origin.address))
    process.readied()
    more = f'[listeners.more]\nbind = "http://unix:{path}"\npool = "p"\n'
    process.config.write_text(toml(origin.address, more=more))
    process.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded; differences: 1" in process.log())
    process.wait_for_spare()
    os.kill(process.worker(), signal.SIGKILL)
    process.readied(2)

    def ask() -> int:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE_S)
        sock.connect(str(path))
        wire = Wire(sock)
        wire.send(get("/"))
        status = wire.response("GET").status
        wire.close()
        return status

    assert ask() == 200
    process.config.write_text(toml(origin.address))
    process.process.send_signal(signal.SIGHUP)
    wait_until(lambda: process.log().count("reloaded; differences: 1") == 2)
    wait_until(lambda: not path.exists())


def test_who_never_served_ends_with_what_the_worker_said(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[listeners.x]\n")
    process = Supervised(config)
    assert process.ended() == 2 and "listeners.x" in process.log()


def test_a_worker_that_served_comes_back_within_a_second_however_often_it_is_killed(
    supervise: Callable[..., Supervised], origins: Origins  # noqa: F811
) -> None:
    process = supervise(toml(origins().address))
    process.readied()
    for i in range(5):
        process.wait_for_spare()
        os.kill(process.worker(), signal.SIGKILL)
        process.readied(2 + i)
    waits = re.findall(r"starting another(?: in ([\d.]+) s)?", process.log())
    # (after ten seconds of service, on a slow machine, the count begins anew)
    assert len(waits) == 5 and set(waits) <= {"", "0.25"}


def test_a_spare_that_is_killed_is_replaced(
    supervise: Callable[..., Supervised], origins: Origins  # noqa: F811
) -> None:
    process = supervise(toml(origins().address))
    process.readied()
    for i in range(3):
        process.wait_for_spare()
        (spare,) = set(process.children()) - {process.worker()}
        os.kill(spare, signal.SIGKILL)
        wait_until(lambda n=i: process.log().count(  # type: ignore[misc]
            "the spare worker was ended by SIGKILL") == n + 1)
    assert process.ask() == 200
    process.wait_for_spare()
    os.kill(process.worker(), signal.SIGKILL)
    process.readied(2)
    assert process.ask() == 200


def test_the_parent_survives_its_descriptor_limit(
    supervise: Callable[..., Supervised], origins: Origins  # noqa: F811
) -> None:
    process = supervise(toml(origins().address))
    process.readied()
    process.wait_for_spare()
    pid = process.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))
    os.kill(process.worker(), signal.SIGKILL)           # (the spare is there already)
    process.readied(2)
    wait_until(lambda: "no process can be started" in process.log())
    assert process.ask() == 200
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asker:
        asker.connect(f"\0fastlb-supervisor-{pid}")
        wait_until(lambda: "who asks for an upgrade has to wait" in process.log())
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    process.wait_for_spare()
    os.kill(process.worker(), signal.SIGKILL)
    process.readied(3)
    assert process.ask() == 200 and "a bug in fastlb" not in process.log()


SCRIPT = """
import subprocess, sys
from fastlb.observe import logs
from fastlb.process import supervisor
supervisor.READY_S = 0.3
born = subprocess.Popen
refusals = [BlockingIOError(11, "Resource temporarily unavailable")] * 2

def popen(*args, **keys):
    if refusals:
        raise refusals.pop()
    return born(*args, **keys)

subprocess.Popen = popen
logs.configure_logging()
command = [sys.executable, "-c", "import time; time.sleep(1000)"]
sys.exit(supervisor.Supervisor(command).run())
"""


def test_a_fork_that_fails_and_a_start_that_hangs_are_tried_again() -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    wanted = [
        "no process can be started: [Errno 11] Resource temporarily unavailable",
        "it isn't ready after 0.3 s; it is killed",
        "was ended by SIGKILL", "it isn't ready after 0.3 s; it is killed",
    ]
    for line in process.stderr:
        if wanted and wanted[0] in line:
            wanted.pop(0)
        if not wanted:
            break
    process.terminate()
    rest = process.communicate(timeout=DEADLINE_S * 3)[1]
    assert wanted == [] and process.returncode == 0, rest


def test_modules_in_the_working_directory_shadow_nothing(
    supervise: Callable[..., Supervised], origins: Origins, tmp_path: Path  # noqa: F811
) -> None:
    for name in ("click", "queue", "asyncio"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('it is imported')\n")
    (tmp_path / "mine.py").write_text(
        "import fastlb\ndef decide(request):\n    return fastlb.Response(204)\n")
    text = toml(origins().address).replace(
        "[pools.p]", '[[listeners.web.routes]]\nname = "r"\npolicy = "mine:decide"\n[pools.p]')
    process = supervise(text, cwd=tmp_path)
    process.readied()
    assert process.ask() == 204


def test_none_to_be_upgraded() -> None:
    done = subprocess.run([sys.executable, "-m", "fastlb", "upgrade", "--pid", "1"],
                          capture_output=True, text=True, timeout=DEADLINE_S * 3)
    assert done.returncode == 3 and "process 1 is no fastlb serve --supervise" in done.stderr
