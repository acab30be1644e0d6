"""A configuration that is being made: a whole one, or pools and listeners that are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastlb.config.base import Model
from fastlb.config.check_routes import scheme_of
from fastlb.config.model import Config
from fastlb.config.server import Server, listed, server_keys


def given(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Parts such as a Retry as tables of what they were given, so that all is checked alike."""
    return {key: _plain(value) for key, value in keys.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Model):
        return value.model_dump(exclude_unset=True)
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return getattr(value, "name_in_config", value)      # (of a handle, such as a RateLimit)


class Draft:
    """The configuration that a balancer will start with. A mistake raises ConfigError at once."""

    def __init__(self, keys: Mapping[str, Any], whole: Config | None) -> None:
        if keys:
            Config.build(dict(keys))
        self.whole = whole
        self.pools: dict[str, dict[str, Any]] = {}
        self.listeners: dict[str, dict[str, Any]] = {}
        self._keys = dict(keys)
        self.rate_limits: dict[str, Any] = dict(self._keys.pop("rate_limits", {}))
        self.networks: dict[str, Any] = dict(self._keys.pop("networks", {}))

    def config(self) -> Config:
        """The configuration as it stands."""
        if self.whole is not None:
            return self.whole
        return Config.build({**self._keys, **self._with("listeners", self.listeners)})

    def _with(self, section: str, tables: Mapping[str, Any]) -> dict[str, Any]:
        """All that a section can name, and the section as it would be."""
        return {"pools": self.pools, "rate_limits": self.rate_limits, "networks": self.networks,
                section: tables}

    def add_rate_limit(self, name: str, keys: Mapping[str, Any]) -> None:
        self._check_name(name, self.rate_limits)
        spec = given(keys)
        Config.build({"rate_limits": {name: spec}})
        self.rate_limits[name] = spec

    def change_rate_limit(self, name: str, keys: Mapping[str, Any]) -> None:
        self._must_not_be_whole()
        spec = {**self.rate_limits[name], **keys}
        Config.build({"rate_limits": {name: spec}})
        self.rate_limits[name] = spec

    def add_networks(self, name: str, keys: Mapping[str, Any]) -> None:
        self._check_name(name, self.networks)
        spec = given(keys)
        Config.build({"networks": {name: spec}})
        self.networks[name] = spec

    def add_pool(
        self, name: str, servers: Iterable[str | Server], balance: str, keys: Mapping[str, Any]
    ) -> None:
        spec = {
            "servers": [server_keys(one) for one in listed(servers, name)],
            "balance": balance,
            **given(keys),
        }
        self._check_name(name, self.pools)
        Config.build({"pools": {**self.pools, name: spec}})
        self.pools[name] = spec

    def add_listener(
        self, name: str | None, bind: str | list[str], pool: str | None, keys: Mapping[str, Any]
    ) -> str:
        """Return its name, which is made up if there is none."""
        name = name if name is not None else f"listener{len(self.listeners) + 1}"
        spec = {"bind": bind, **({} if pool is None else {"pool": pool}), **given(keys)}
        self._check_name(name, self.listeners)
        Config.build(self._with("listeners", {**self.listeners, name: spec}))
        self.listeners[name] = spec
        return name

    def change_listener(self, name: str, keys: Mapping[str, Any]) -> None:
        self._must_not_be_whole()
        spec = {**self.listeners[name], **keys}
        Config.build(self._with("listeners", {**self.listeners, name: spec}))
        self.listeners[name] = spec

    def add_route(self, listener: str, route: Mapping[str, Any]) -> None:
        routes = self.listeners.get(listener, {}).get("routes", ())
        self.change_listener(listener, {"routes": [*routes, route]})

    def route_name(self, listener: str, function: Any) -> str:
        """The function's own name, or with a number where it is taken."""
        own = getattr(function, "__name__", "policy").strip("<>")
        taken = {route.get("name") for route in self.listeners[listener].get("routes", ())}
        return next(n for n in (own, *map(f"{own}-{{}}".format, range(2, len(taken) + 3)))
                    if n not in taken)

    def has_routes_of_connections(self, listener: str) -> bool:
        """Whether a listener is for TCP or UDP, whose policies decide about connections."""
        return scheme_of(self.listeners.get(listener, {})) in ("tcp", "udp")

    def fill(self, pool: str, servers: Iterable[Any]) -> Config:
        """Give a pool other servers; returns the configuration with that pool alone."""
        self._must_not_be_whole()
        spec = {**self.pools[pool], "servers": [server_keys(one) for one in servers]}
        made = Config.build({"pools": {**self.pools, pool: spec}})
        self.pools[pool] = spec
        return made

    def _must_not_be_whole(self) -> None:
        if self.whole is not None:
            raise RuntimeError("this balancer was made from a whole config: change that instead")

    def _check_name(self, name: str, taken: Mapping[str, Any]) -> None:
        self._must_not_be_whole()
        if name in taken:
            raise ValueError(f"{name!r} is taken: every name can be given once")
