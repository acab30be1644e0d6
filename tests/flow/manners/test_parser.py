"""An httptools whose llhttp isn't known is an error for http listeners, and for nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

import fastlb
from fastlb.process import machine
from tests.flow.conftest import Origin, Site


def test_http_needs_an_llhttp_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_llhttp_failure", "it answers otherwise than expected")
    lb = fastlb.Balancer(threads=1)
    lb.listen("http://127.0.0.1:0", name="web", pool=lb.pool("p", ["127.0.0.1:1"]))
    with pytest.raises(fastlb.ConfigError) as told, lb.background():
        pass
    assert str(told.value) == (
        "listeners.web.bind: http needs llhttp, and it answers otherwise than expected;"
        " run: pip install -U httptools==0.9.0"
    )


def test_tcp_needs_none(
    monkeypatch: pytest.MonkeyPatch, site: Callable[..., Site], origin: Origin
) -> None:
    monkeypatch.setattr(machine, "_llhttp_failure", "it is gone")
    client, server = site([origin.address]).pair(origin)
    client.sendall(b"x")
    assert server.recv(1) == b"x"


def test_a_missing_httptools_does_not_break_the_import() -> None:
    script = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("httptools"):
            raise ImportError("no httptools")
sys.meta_path.insert(0, Finder())
import fastlb
lb = fastlb.Balancer(threads=1)
lb.listen("http://127.0.0.1:0", name="web", pool=lb.pool("p", ["127.0.0.1:1"]))
try:
    with lb.background():
        print("it runs")
except fastlb.ConfigError as error:
    print(error)
"""
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          timeout=120, check=False)
    assert "http needs llhttp, and no httptools; run: pip install" in made.stdout
    assert made.stderr == ""
