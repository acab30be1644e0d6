"""The systemd unit says what systemd understands."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "packaging/fastlb.service"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd isn't installed")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    def verify(text: str) -> str:
        unit = tmp_path / "fastlb.service"
        unit.write_text(text)
        ended = subprocess.run(
            ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=120
        )
        return "".join(
            line for line in ended.stderr.splitlines(keepends=True) if "fastlb.service" in line
        )

    assert verify(UNIT.read_text()) == ""
    assert "Unknown key" in verify(UNIT.read_text().replace("DynamicUser", "DynamicUsers"))
