"""Faults while traffic runs, with origins that keep a ledger of what they were asked to do."""

from __future__ import annotations

import collections
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb._core.tables.certificates import H2_AVAILABLE, self_signed
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.http.peers import Wire
from tests.flow.http2.wire import H2Socket
from tests.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = 12
PAUSE_S = 0.03      # of a client between two requests: one of twelve is under way at a time
# How long servers have to connect and to answer, so that a fault that shows by a timeout does so
# within it. Those that are well may take longer on a machine with much else to do: then another one
# is asked, as often as may be.
TIMEOUT = "1500ms"
FAULT_S = 1.2       # how long a fault lasts
LONG_FAULT_S = 2.2  # one that shows by a timeout:
SHOWN_BY_TIMEOUT = {"stop", "blackhole", "hang"}
# Where others seem to be down as well, all are used.
HEALTH = {"http": "/healthz", "interval": "100ms", "fast_interval": "50ms", "timeout": "1s",
          "panic": "60%"}
RETRY = {"on": ["connect_failure", "reset", "timeout", "invalid", "503"], "attempts": 16,
         "budget": "1500%"}
# Where no fault shows by a timeout: only a broken program reaches it.
NEVER = "30s"


class Origin:
    """A process that serves; see ledger.py."""

    def __init__(self, folder: Path, name: str, pair: list[Path]) -> None:
        self._pair = pair
        self.ledger, self.fault_file = folder / f"{name}.ledger", folder / f"{name}.fault"
        self.fault_file.write_text("")
        self.port = free_port()         # (which it gets again after it was killed)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.flow.ledger", self.ledger, self.fault_file,
             str(self.port), *self._pair],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def fault(self, name: str) -> None:
        new = self.fault_file.with_suffix(".new")
        new.write_text(name)
        os.replace(new, self.fault_file)

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def applied(self) -> list[tuple[str, str, int]]:
        """Method, target, and how many requests were under way, of every request."""
        lines = self.ledger.read_text().splitlines()
        return [(a, b, int(c)) for a, b, c in (line.split(" ") for line in lines)]

    def posts(self) -> int:
        """So far."""
        return self.ledger.read_bytes().count(b"POST ")


class Crowd:
    """Clients that ask and ask, each request with a name of its own."""

    def __init__(
        self, port: int, posts: bool = True, context: ssl.SSLContext | None = None
    ) -> None:
        self.port = port
        self.context = context
        self.methods = ["GET", "GET", "POST"] if posts else ["GET"]
        self.outcomes: dict[str, str] = {}          # "GET /1-7": "200", or what went wrong
        self.whole = True
        self._stop = False
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop = True
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        wire: Wire | None = None
        count = 0
        while not self._stop:
            count += 1
            time.sleep(PAUSE_S)
            method = self.methods[count % len(self.methods)]
            name = f"{method} /{number}-{count}"
            try:
                if wire is None:
                    wire = Wire(self._connect())
                length = "Content-Length: 0\r\n" if method == "POST" else ""
                wire.send(f"{name} HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
                made = wire.response()
                self.outcomes[name] = str(made.status)
                if made.status == 200 and made.body != b"x" * 1000:
                    self.whole = False
                if "connection" in made:
                    wire = wire.close()
            except (OSError, EOFError) as error:
                self.outcomes[name] = repr(error)
                if wire is not None:
                    wire = wire.close()

    def _connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), DEADLINE_S)
        if self.context is None:
            return sock
        secured = self.context.wrap_socket(sock, server_hostname="site.test")
        if secured.selected_alpn_protocol() == "h2":
            return H2Socket(secured)        # type: ignore[return-value]
        return secured

    def failed(self, method: str) -> dict[str, str]:
        return {name: outcome for name, outcome in list(self.outcomes.items())
                if name.startswith(method) and outcome != "200"}


class Town:
    def __init__(
        self, folder: Path, n: int = 3, secure: str = "", timeout: str = NEVER, **pool: Any
    ) -> None:
        """`secure`: "tls" on both sides, or "h2" by clients."""
        pair = [folder / "pair.pem"] if secure else []
        self.context: ssl.SSLContext | None = None
        listener: dict[str, Any] = {"bind": "http://127.0.0.1:0"}
        if secure:
            pair[0].write_bytes(b"".join(self_signed(["site.test"], 30)))
            self.context = ssl.create_default_context(cafile=pair[0])
            if secure == "h2":
                self.context.set_alpn_protocols(["h2"])
            listener = {"bind": "https://127.0.0.1:0",
                        "tls": {"certificates": [{"cert": str(pair[0])}],
                                "handshake_timeout": "60s"}}
            pool["tls"] = {"ca": str(pair[0]), "server_name": "site.test"}
        self.origins = [Origin(folder, f"o{i}", pair) for i in range(n)]
        self.balancer = fastlb.Balancer(threads=3)
        target = self.balancer.pool(
            "p", [o.address for o in self.origins], connect_timeout=timeout, **pool)
        self.listener = self.balancer.listen(
            **listener, name="web", pool=target, response_header_timeout=timeout
        )
        self.running = self.balancer.background()
        self.running.__enter__()

    def down(self) -> list[bool]:
        runtime = self.balancer._instance.runtime
        assert runtime is not None
        by_name = {s.address: s.down for s in runtime.live.servers()}
        return [by_name[o.address] for o in self.origins]

    def close(self) -> None:
        runtime = self.balancer._instance.runtime
        assert runtime is not None
        wait_until(lambda: not any(runtime.counts().values()), "something is still alive")
        self.running.__exit__(None, None, None)
        for origin in self.origins:
            origin.kill()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Callable[..., Town]]:
    made: list[Town] = []

    def make(*args: Any, **keys: Any) -> Town:
        made.append(Town(tmp_path, *args, **keys))
        return made[-1]

    yield make
    for one in made:
        one.close()


def blackhole(origin: Origin) -> Callable[[], None]:
    """The port takes no connection and refuses none: its queue is full."""
    origin.kill()
    full = socket.socket()
    full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    full.bind(("127.0.0.1", origin.port))
    full.listen(0)
    waiting = []
    for _ in range(4):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(("127.0.0.1", origin.port))
        waiting.append(one)

    def end() -> None:
        for one in (full, *waiting):
            one.close()
        origin.start()

    return end


def kill(origin: Origin) -> Callable[[], None]:
    origin.kill()
    return origin.start


def stop(origin: Origin) -> Callable[[], None]:
    origin.signal(signal.SIGSTOP)
    return lambda: origin.signal(signal.SIGCONT)


def behave(name: str) -> Callable[[Origin], Callable[[], None]]:
    def begin(origin: Origin) -> Callable[[], None]:
        origin.fault(name)
        return lambda: origin.fault("")

    begin.__name__ = name
    return begin


def flap(origin: Origin) -> Callable[[], None]:
    for _ in range(3):
        origin.kill()
        time.sleep(0.1)
        origin.start()
        time.sleep(0.1)
    return lambda: None


FAULTS = [
    kill, stop, blackhole, flap,
    *(behave(name) for name in ("slow", "hang", "garbage", "error", "idle")),
]


CASES = [
    *(pytest.param(fault, health, "", id=f"{fault.__name__}-{'un' * (not health)}checked")
      for fault in FAULTS for health in (None, HEALTH)),
    *(pytest.param(fault, None, "tls", id=f"{fault.__name__}-tls")
      for fault in FAULTS if fault.__name__ in ("kill", "stop", "garbage", "idle", "flap")),
    *(pytest.param(fault, None, "h2", id=f"{fault.__name__}-h2")
      for fault in FAULTS if H2_AVAILABLE),
]


@pytest.mark.parametrize(("fault", "health", "secure"), CASES)
def test_nobody_notices_who_may_be_served_elsewhere(
    town: Callable[..., Town], fault: Callable[[Origin], Callable[[], None]], health: Any,
    secure: str,
) -> None:
    here = town(secure=secure, health=health, retry=RETRY, timeout=TIMEOUT)
    crowd = Crowd(here.listener.port, context=here.context)
    time.sleep(0.3)
    end = fault(here.origins[0])
    time.sleep(LONG_FAULT_S if fault.__name__ in SHOWN_BY_TIMEOUT else FAULT_S)
    end()
    time.sleep(0.5)
    wait_until(lambda: any(o.posts() for o in here.origins))
    crowd.stop()
    assert crowd.failed("GET") == {}
    assert crowd.whole
    assert crowd.outcomes
    applied = collections.Counter(
        f"{method} {target}" for o in here.origins for method, target, _ in o.applied()
    )
    posts = {name: n for name, n in applied.items() if name.startswith("POST")}
    assert max(posts.values()) == 1
    assert all(applied[name] >= 1 for name, outcome in crowd.outcomes.items() if outcome == "200")


def test_a_killed_server_fails_no_safe_request_by_default(town: Callable[..., Town]) -> None:
    here = town()
    crowd = Crowd(here.listener.port)
    for origin in here.origins:
        time.sleep(0.3)
        origin.kill()
        time.sleep(0.3)
        before = len(origin.applied())
        origin.start()
        # (It is looked at again after a second; then another one may go.)
        wait_until(lambda o=origin, n=before: len(o.applied()) > n)     # type: ignore[misc]
    crowd.stop()
    assert crowd.failed("GET") == {}
    applied = collections.Counter(
        target for o in here.origins for method, target, _ in o.applied() if method == "POST"
    )
    assert max(applied.values()) == 1


@pytest.mark.parametrize("secure", ["", "h2"] if H2_AVAILABLE else [""])
def test_a_truncated_answer_is_told_from_a_whole_one(
    town: Callable[..., Town], secure: str
) -> None:
    here = town(secure=secure)
    crowd = Crowd(here.listener.port, context=here.context)
    time.sleep(0.3)
    here.origins[0].fault("truncate")
    wait_until(lambda: bool(crowd.failed("GET")))
    here.origins[0].fault("")
    crowd.stop()
    assert crowd.whole
    failed = crowd.failed("GET").values()
    assert failed and all("EOFError" in why or "ConnectionReset" in why for why in failed)


def test_no_server_gets_more_at_a_time_than_it_may(town: Callable[..., Town]) -> None:
    here = town(n=2)
    servers = [fastlb.Server(o.address, max_connections=4) for o in here.origins]
    balancer = fastlb.Balancer(threads=3)
    pool = balancer.pool("p", servers)
    listener = balancer.listen("http://127.0.0.1:0", name="web", pool=pool)
    for origin in here.origins:
        origin.fault("slow")            # so that all clients wait at the same time
    with balancer.background():
        crowd = Crowd(listener.port)

        def busiest() -> int:
            return max((busy for o in here.origins for _, _, busy in o.applied()), default=0)

        wait_until(lambda: {*list(crowd.outcomes.values())} >= {"200", "503"} and busiest() >= 4)
        crowd.stop()
    assert busiest() == 4
    assert set(crowd.outcomes.values()) == {"200", "503"}


def test_a_server_that_hangs_is_found_out(town: Callable[..., Town]) -> None:
    here = town(health={"http": "/healthz", "interval": "1s", "fall": 3})
    wait_until(lambda: here.down() == [False] * 3)
    here.origins[1].signal(signal.SIGSTOP)
    wait_until(lambda: here.down() == [False, True, False])
    here.origins[1].signal(signal.SIGCONT)
    wait_until(lambda: here.down() == [False] * 3)
