"""Where running processes are found by commands that aren't told where they are."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "FASTLB_ADMIN"
RUN_VARIABLE = "FASTLB_RUN_DIR"
SUFFIX = ".sock"
FOLDER = "fastlb"


def usual_folders() -> list[Path]:
    """What $FASTLB_RUN_DIR says; else /run/fastlb, and fastlb in the user's own run time folder, if
    there is one."""
    given = os.environ.get(RUN_VARIABLE, "")
    if given:
        return [Path(given)]
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    folders = [Path(own) / FOLDER] if os.path.isabs(own) else []
    return [*folders, Path("/run") / FOLDER]
