"""What the keys and templates of a route may speak of: segments, groups, and the host's star."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fastlb.config import limits
from fastlb.config.hints import Found
from fastlb.config.patterns import check_path, segment_names, variables
from fastlb.config.positions import Path

KEYS = ("split_on", "hash_on", "cache_on")      # of a segment, and of no group


def check_variables(path: Path, route: Mapping[str, Any]) -> Iterator[Found]:
    found = route.get("match")
    match: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    paths, regexes = _listed(match.get("path")), _listed(match.get("path_regex"))
    hosts = _listed(match.get("host"))
    yield from _places((*path, "match"), hosts, paths, regexes)
    if "policy" in route:
        yield from _positions((*path, "match", "path"), paths)
    names, groups = _segments(paths), _groups(regexes)
    captures = False
    for where, text in texts(path, route):
        own = names if where[-1] in KEYS else names | groups
        try:
            wanted = segment_names([text])
            captures = captures or bool(wanted & groups - names and where[-1] not in KEYS)
            if "{host.rest}" in text and "host.rest" in variables(text) and not (
                    hosts and all(host.startswith("*.") for host in hosts)):
                yield where, "host.rest is what a star stands for, and match.host has none", ()
        except ValueError:
            continue                    # told already
        for missing in sorted(wanted - own):
            yield where, *_no_segment(missing, own, paths, regexes)
    if captures:
        yield from _capturing((*path, "match", "path_regex"), regexes)


def _listed(value: Any) -> list[str]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [one for one in values if isinstance(one, str)]


def _no_segment(
    missing: str, own: set[str], paths: list[str], regexes: list[str]
) -> tuple[str, tuple[str, ...]]:
    valid = tuple(f"path.{name}" for name in sorted(own))
    has = f"it has {', '.join(valid)}" if valid else "its path has none"
    if len(paths) + len(regexes) > 1:
        has = f"all its paths have {', '.join(valid)}" if valid else \
            "there is none that all its paths have"
    return f"path.{missing} is not a segment of this route: {has}", valid


def _segments(paths: list[str]) -> set[str]:
    """Those that all paths have."""
    try:
        return set.intersection(*(set(check_path(one)) for one in paths)) if paths else set()
    except ValueError:
        return set()                    # told already


def _groups(regexes: list[str]) -> set[str]:
    if not regexes:
        return set()
    from fastlb.config.captures import group_names  # few configurations need it

    try:
        return set.intersection(*map(group_names, regexes))
    except ValueError:
        return set()


def _capturing(path: Path, regexes: list[str]) -> Iterator[Found]:
    from fastlb.config.captures import compile_captures

    for regex in regexes:
        try:
            compile_captures(regex)
        except ValueError as error:
            yield path, str(error), ()


def _places(
    path: Path, hosts: list[str], paths: list[str], regexes: list[str]
) -> Iterator[Found]:
    """Each host with each path is an entry of the tables."""
    n = max(len(hosts), 1) * max(len(paths), len(regexes), 1)
    if n > limits.MATCH_PLACES_MAX:
        yield path, (f"{len(hosts)} hosts and {max(len(paths), len(regexes))} paths are {n} places"
                     f" to look at, and a route has {limits.MATCH_PLACES_MAX} at most"), ()


def _positions(path: Path, paths: list[str]) -> Iterator[Found]:
    """A function gets the segments of its route by name."""
    found = set()
    for one in paths:
        segments = one.removeprefix("/").split("/")
        names = [s[1:-1] if s.startswith("{") and s.endswith("}") else "" for s in segments]
        while names and not names[-1]:
            names.pop()
        found.add(tuple(names))
    if len(found) > 1:
        yield path, ("the paths of a policy's route name the same segments at the same places;"
                     " write two routes"), ()


def texts(path: Path, route: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Every key and template that may speak of segments."""
    for key in ("split_on", "hash_on"):
        if isinstance(route.get(key), str):
            yield (*path, key), route[key]
    policy = route.get("policy")
    if isinstance(policy, Mapping) and isinstance(policy.get("cache_on"), str):
        yield (*path, "policy", "cache_on"), policy["cache_on"]
    redirect = route.get("redirect")
    if isinstance(redirect, str):
        yield (*path, "redirect"), redirect
    for key, table in (
        ("redirect", redirect), ("rewrite", route.get("rewrite")),
    ):
        for name in ("to", "path", "host"):
            if isinstance(table, Mapping) and isinstance(table.get(name), str):
                yield (*path, key, name), table[name]
    for key in ("request_headers", "response_headers"):
        edits = route.get(key)
        for op in ("set", "add"):
            fields = edits.get(op) if isinstance(edits, Mapping) else None
            for name, value in (fields.items() if isinstance(fields, Mapping) else ()):
                if isinstance(value, str):
                    yield (*path, key, op, name), value
