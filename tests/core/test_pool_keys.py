"""Plain keys of pools: from the model to the core's struct, by their names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastlb.config.model import Pool
from fastlb.config.plain import plain_keys
from tests.core import test_balance

STRUCTS = Path(__file__).resolve().parents[2] / "fastlb/_core/base/parts.pxd"


def test_the_struct_has_a_member_for_each_plain_key() -> None:
    found = re.search(r"cdef struct PoolKeys:.*?\n\n", STRUCTS.read_text(), re.S)
    assert found
    members = re.findall(r"^    \w+ (\w+)", found[0], re.M)
    assert sorted(members) == sorted(key.core_name for key in plain_keys(Pool))


def test_a_key_that_is_missing_is_an_error_and_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_balance, "KEYS", {"max_idle_connections": 1})
    with pytest.raises(ValueError, match="No value specified"):
        test_balance.picker([1])
