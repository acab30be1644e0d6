"""Files of certificates that change are served soon after, and nobody's handshake fails for it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb.process import files
from tests.flow.conftest import DEADLINE_S, Site, wait_until
from tests.flow.http.peers import HttpOrigin
from tests.flow.tls.pairs import Pair, connect, fingerprint, put
from tests.flow.tls.turns import all_is_heard

HANDSHAKES_EACH_S = 300
Serving = Callable[..., fastlb.Balancer]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


@pytest.fixture
def serving() -> Iterator[Serving]:
    """Starts a balancer: `serving(tls, pool's tls)`."""
    with ExitStack() as stack:

        def start(tls: dict[str, Any], pool_tls: Any = False) -> fastlb.Balancer:
            origin = HttpOrigin()
            stack.callback(origin.close)
            balancer = fastlb.Balancer(threads=2)
            balancer.pool("pool", [origin.address], tls=pool_tls)
            patient: Any = {"handshake_timeout": "10m", **tls}
            balancer.listen("https://127.0.0.1:0", name="web", pool="pool", tls=patient)
            stack.enter_context(balancer.background())
            return balancer

        yield start


def port(balancer: fastlb.Balancer) -> int:
    return balancer.listeners["web"].port


def securing(balancer: fastlb.Balancer) -> Any:
    assert balancer._instance.runtime is not None
    return balancer._instance.runtime.securing


class Shaking:
    """Handshakes of several threads, at so many a second at most."""

    def __init__(self, port: int) -> None:
        self.failures: list[str] = []
        self.done = 0
        self.seen: set[str] = set()
        self._port = port
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(3)]

    def __enter__(self) -> Shaking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        pause_s = len(self._threads) / HANDSHAKES_EACH_S
        next_s = time.monotonic()
        while not self._ended.is_set():
            try:
                self.seen.add(fingerprint(self._port))
            except OSError as error:
                self.failures.append(repr(error))
            self.done += 1
            next_s += pause_s
            time.sleep(max(0.0, next_s - time.monotonic()))


class Looks:
    """Stands before `files._different`: how often was looked, and whether it may be."""

    def __init__(self) -> None:
        self.n = 0
        self._real = files._different
        self._left: float = inf
        self._moved = threading.Condition()

    def __call__(self, config: fastlb.Config) -> files.Found:
        with self._moved:
            self._moved.wait_for(lambda: self._left > 0, DEADLINE_S)
            self._left -= 1
            self.n += 1
            self._moved.notify_all()
            return self._real(config)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody looks meanwhile, as a pair that doesn't fit is told of at the third look."""
        with self._moved:
            self._left = 0
        try:
            yield
        finally:
            self.allow(inf)

    def allow(self, n: float) -> None:
        """So many looks, and wait for them where they have a number."""
        with self._moved:
            self._left = n
            self._moved.notify_all()
            assert n == inf or self._moved.wait_for(lambda: self._left == 0, DEADLINE_S)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    made = Looks()
    monkeypatch.setattr(files, "LOOK_S", 0.05)
    monkeypatch.setattr(files, "_different", made)
    return made


def test_no_handshake_fails_while_the_files_are_replaced_again_and_again(
    pair: Pair, serving: Serving, looks: Looks
) -> None:
    balancer = serving(pair.tls)
    prints = [fingerprint(port(balancer))]
    with Shaking(port(balancer)) as shaking:
        for i in range(3):
            cert, key, print_ = pair.new()
            with looks.held():
                put(pair.cert, cert)
                if i == 1:
                    looks.allow(1)                  # at a pair that doesn't fit
                put(pair.key, key)
            prints.append(print_)
            # (it must not be in the set of what was seen: that may be from before)
            wait_until(lambda: prints[-1] in shaking.seen, "the new one isn't shown")
    assert shaking.failures == []
    assert shaking.seen == set(prints)
    assert (securing(balancer).refreshed, securing(balancer).refused) == (3, 0)
    wait_until(lambda: len(securing(balancer).contexts._made) == 1, "old ones are kept")
    assert balancer.config.listeners["web"].tls is not None
    assert balancer.config.listeners["web"].tls.certificates[0].fingerprint == prints[-1]


def test_a_bad_file_changes_nothing_and_is_told_once(
    pair: Pair, serving: Serving, looks: Looks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fastlb")
    balancer = serving(pair.tls)
    before = fingerprint(port(balancer))
    put(pair.cert, b"nothing\n")
    wait_until(lambda: securing(balancer).refused == 1)
    then = looks.n
    wait_until(lambda: looks.n >= then + 5)
    assert securing(balancer).refused == 1
    assert fingerprint(port(balancer)) == before
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert told == [
        "changed files: listeners.web.tls.certificates[0]:"
        f" '{pair.cert}': holds no certificate in PEM",
        "changed files: the old ones are still in use",
    ]
    pair.cert.unlink()          # another change, and as bad
    wait_until(lambda: securing(balancer).refused == 2)
    with looks.held():
        after = pair.replace()
    wait_until(lambda: fingerprint(port(balancer)) == after)
    said = f"listener web: its files have changed and are in use: {pair.cert} (sha256:{after})"
    wait_until(lambda: said in caplog.messages)         # (engines go by them before)
    assert (securing(balancer).refreshed, securing(balancer).refused) == (1, 2)


def test_a_certificate_that_has_expired_is_not_served(
    pair: Pair, serving: Serving, looks: Looks
) -> None:
    balancer = serving(pair.tls)
    before = fingerprint(port(balancer))
    with looks.held():
        pair.replace(days=-1)
    wait_until(lambda: securing(balancer).refused == 1)
    assert fingerprint(port(balancer)) == before


def test_a_file_that_is_only_touched_is_no_change(
    pair: Pair, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOOK_S", 0.05)
    balancer = serving(pair.tls)
    assert balancer._instance.runtime is not None
    snapshot = balancer._instance.runtime.snapshot
    os.utime(pair.cert, ns=(1, 1))

    def seen() -> int:
        tls = balancer.config.listeners["web"].tls
        assert tls is not None
        found: int = tls.certificates[0].files[0].seen[3]  # type: ignore[index]
        return found

    wait_until(lambda: seen() == 1)
    assert balancer._instance.runtime.snapshot is snapshot
    assert (securing(balancer).refreshed, securing(balancer).refused) == (0, 0)


def test_what_a_pool_trusts_and_what_comes_by_a_reload_is_looked_at(
    tmp_path: Path, pair: Pair, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOOK_S", 0.05)
    other = Pair(tmp_path, "other")
    balancer = serving(pair.tls, {"ca": str(other.cert)})
    other.replace()
    wait_until(lambda: securing(balancer).refreshed == 1)
    assert balancer._instance.runtime is not None
    [pool] = balancer._instance.runtime.effective.pools
    assert pool.tls is not None and pool.tls.ca == other.cert.read_bytes()

    text = (f'[listeners.web]\nbind = "https://127.0.0.1:0"\npool = "p"\ntls = {{ certificates ='
            f' [{{ cert = "{other.cert}", key = "{other.key}" }}] }}\n'
            '[pools.p]\nservers = ["127.0.0.1:1"]\n')
    asyncio.run(balancer.reload(text))
    all_is_heard(Site(balancer, balancer.listeners["web"]))
    assert fingerprint(port(balancer)) != fingerprint_of(pair)
    after = other.replace()
    wait_until(lambda: fingerprint(port(balancer)) == after)
    pair.replace()              # nobody uses it any more
    assert asyncio.run(balancer.reload(text)).differences == ()


def fingerprint_of(pair: Pair) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.cert.read_text())).hexdigest()


def test_connections_go_on_with_the_certificate_that_they_began_with(
    pair: Pair, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LOOK_S", 0.05)
    balancer = serving(pair.tls)
    with connect(port(balancer)) as client:
        after = pair.replace()
        wait_until(lambda: fingerprint(port(balancer)) == after)
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        got = b""
        while piece := client.recv(1 << 16):
            got += piece
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")


def test_who_has_no_files_is_not_woken(serving: Serving) -> None:
    balancer = fastlb.Balancer(threads=1)
    balancer.pool("pool", ["127.0.0.1:1"], tls=True)
    balancer.listen("http://127.0.0.1:0", pool="pool")
    with balancer.background():
        assert balancer._instance._files._thread is None
