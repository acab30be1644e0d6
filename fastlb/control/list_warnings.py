"""Lists of networks that deny more than was probably meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastlb._core.tables.networks import NetworkSet
from fastlb.compile.networks import literal_set
from fastlb.config.effective import Effective, EffectiveListener
from fastlb.config.networks import EffectiveRule, is_network


def list_warnings(values: Effective, sets: Mapping[str, NetworkSet]) -> Iterator[str]:
    """A sentence each, with the key that it is about. `sets` are those of networks, by name."""
    own = sorted({"127.0.0.1", "::1", *_hosts(values)})
    for name, made in sets.items():
        if made.entries == 0 and any(one.name == name and one.file for one in values.networks):
            yield f"networks.{name}.file: it has no networks"
    for listener in values.listeners:
        for where, rule in _rules(listener, "deny"):
            for name, made in _entries(rule, sets):
                for family in made.covers:
                    yield f"{where}: {name} has all of {family}, so that nobody there is served"
                for host in own:
                    if host in made and not made.covers:
                        yield (f"{where}: {name} has {host}, an address of this machine, from which"
                               " health checks and tools may come")
        for where, rule in _rules(listener, "allow"):
            entries = [made for _, made in _entries(rule, sets)]
            if len(entries) == len(rule.networks) and not any(made.entries for made in entries):
                yield f"{where}: its sets have no networks, so that nobody is served"
    yield from _unused_bans(values)


def _unused_bans(values: Effective) -> Iterator[str]:
    denied = {name for one in values.listeners for _, rule in _rules(one, "deny")
              for name in rule.networks}
    for listener in values.listeners:
        if listener.ban is not None and listener.ban.networks not in denied:
            yield (f"listeners.{listener.name}.ban: no deny names {listener.ban.networks}, so that"
                   " a ban keeps nobody away")


def _hosts(values: Effective) -> Iterator[str]:
    """The IP addresses that this process listens on."""
    binds = [bind for one in values.listeners for bind in one.binds]
    binds += values.admin.binds if values.admin is not None else []
    for bind in binds:
        if bind.host and bind.host not in ("0.0.0.0", "::", "localhost"):
            yield bind.host


def _rules(listener: EffectiveListener, key: str) -> Iterator[tuple[str, EffectiveRule]]:
    own = getattr(listener, key)
    if own is not None:
        yield f"listeners.{listener.name}.{key}", own
    for route in listener.http.routes if listener.http is not None else ():
        rule = dict(route.services).get(key)
        if rule is not None:
            yield f"listeners.{listener.name}.routes.{route.name}.{key}", rule


def _entries(
    rule: EffectiveRule, sets: Mapping[str, NetworkSet]
) -> Iterator[tuple[str, NetworkSet]]:
    """Each entry of a list, with its networks, but for sets whose URLs were not fetched."""
    for one in rule.networks:
        if one in sets:
            yield one, sets[one]
        elif is_network(one):
            yield one, literal_set(one)
