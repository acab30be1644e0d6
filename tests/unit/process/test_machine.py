"""What a process runs on."""

from __future__ import annotations

import pytest

from fastlb.process import machine


@pytest.mark.parametrize(("version", "told"), [
    ("0.6.1", "httptools 0.6.1 is older than 0.6.4"),
    ("0.6.3", "httptools 0.6.3 is older than 0.6.4"),
    ("0.6.4", ""), ("0.7", ""), ("0.10.0", ""), ("1.0.0rc1", ""), ("not installed", ""),
])
def test_a_parser_that_is_too_old_is_refused(
    version: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_version", lambda package: version)
    monkeypatch.setattr(machine, "_llhttp_failure", None)
    assert machine.bind_llhttp() == told
