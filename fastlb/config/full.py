"""The plain keys of pools that examples/full.toml lacks, added to it with their defaults:
`python -m fastlb.config.full`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from fastlb.config.meanings import meanings
from fastlb.config.model import Pool
from fastlb.config.plain import PlainKey, plain_keys

PLACE = Path(__file__).resolve().parents[2] / "examples" / "full.toml"
TABLE = "\n[pools.canary]\n"
COLUMNS = 100


def completed(text: str) -> str:
    """The example with every plain key of pools."""
    begin = text.index(TABLE) + len(TABLE)
    end = text.index("\n[", begin)
    table = text[begin:end].rstrip("\n")
    missing = [key for key in plain_keys(Pool) if f"\n{key.name} = " not in f"\n{text}"]
    return text[:begin] + "\n".join([table, *_lines(missing)]) + "\n" + text[end:]


def _lines(keys: list[PlainKey]) -> Iterator[str]:
    for key in keys:
        shown = key.measure.show(key.built_in) if key.measure is not None else f"{key.built_in}"
        meaning = f"{meanings(Pool)[key.name]} Default: {shown}."
        yield from textwrap.wrap(meaning, COLUMNS - 2, initial_indent="# ", subsequent_indent="# ")
        yield f'{key.name} = "{shown}"' if key.measure is not None else f"{key.name} = {shown}"


if __name__ == "__main__":
    PLACE.write_text(completed(PLACE.read_text()))
