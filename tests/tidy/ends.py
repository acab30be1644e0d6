"""How the stages of the core can end, by what their functions return: for test_ends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

CORE = Path(__file__).resolve().parents[2] / "fastlb" / "_core"
ENUMS = (CORE / "base" / "enums.pxd").read_text()
_FUNCTION = re.compile(r"^cdef (?:inline )?int (\w+)\([^)]*\)[^\n]*:\n((?:(?:    .*)?\n)+)", re.M)
_IMPORT = re.compile(r"^from fastlb\._core\.([\w.]+) cimport \(?([^)]*?)(?:\)|$(?!\n    ))", re.M)


def members(enum: str) -> set[str]:
    body = re.search(rf"cdef enum {enum}:.*?\n(.*?)\n\n", ENUMS, re.S)
    assert body
    return set(re.findall(r"^    (\w+) =", body[1], re.M))


VERDICTS = members("Verdict")


def sources() -> dict[str, str]:
    """The modules of the core by their names, both files of each."""
    found: dict[str, str] = {}
    for path in sorted(CORE.rglob("*.p[yx][xd]")):
        name = ".".join(path.relative_to(CORE).with_suffix("").parts)
        text = re.sub(r'""".*?"""', "", path.read_text(), flags=re.S)
        found[name] = found.get(name, "") + re.sub(r"#.*", "", text)
    return found


def functions(texts: Mapping[str, str]) -> dict[str, str]:
    """The bodies of functions that return an int, by "module.name"."""
    return {f"{module}.{name}": body for module, text in texts.items()
            for name, body in _FUNCTION.findall(text)}


def returned(module: str, body: str, texts: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """The verdicts that a body returns, and the functions whose results it returns."""
    joined = re.sub(r"\\\n\s*", " ", body)
    while re.search(r"\([^()\n]*\n", joined):           # (a call over several lines is one)
        joined = re.sub(r"(\([^()\n]*)\n\s*", r"\1 ", joined)
    results = re.findall(r"^\s+return (.+)$", joined, re.M)
    names = {name for result in results
             for name in re.findall(r"\b[a-z]\w*\b(?!\()", re.sub(r"\([^()]*\)", "()", result))}
    for name in sorted(names):
        results += re.findall(rf"^\s+(?:cdef int )?{name} = (.+)$", joined, re.M)
    verdicts, calls = set(), set()
    for result in results:
        kept = re.sub(r"\bif\b.*?\belse\b", " ", result)    # (a condition is no result)
        kept = re.sub(r"\([^()]*\)", "()", kept)              # (and neither is an argument)
        verdicts |= set(re.findall(r"\b[A-Z]+\b", kept)) & VERDICTS
        calls |= {origin(module, name, texts) for name in re.findall(r"\b(\w+)\(", kept)}
    return verdicts, calls


def origin(module: str, name: str, texts: Mapping[str, str]) -> str:
    for source, names in _IMPORT.findall(texts[module]):
        if name in re.findall(r"\w+", names):
            return f"{source}.{name}"
    return f"{module}.{name}"


def ends(start: str) -> set[str]:
    """Every verdict that a function may return, and those of the functions that it returns."""
    texts = sources()
    bodies = functions(texts)
    seen: set[str] = set()
    found: set[str] = set()
    left = [start]
    while left:
        one = left.pop()
        if one in seen or one not in bodies:
            continue
        seen.add(one)
        verdicts, calls = returned(one.rpartition(".")[0], bodies[one], texts)
        found |= verdicts
        left += calls
    return found
