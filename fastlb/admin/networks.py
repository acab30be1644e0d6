"""Requests about sets of networks: what was added to one while running, more, or less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from fastlb.admin.answers import Refusal, answer, body_of, time_of
from fastlb.config.proxy_protocol import normal_network
from fastlb.errors import Problem

if TYPE_CHECKING:
    from fastlb.admin.server import AdminServer
    from fastlb.control.networks import NetworkSets


def routes(server: AdminServer) -> list[web.RouteDef]:
    handlers = NetworkHandlers(server)
    return [
        web.get("/networks/{set}", handlers.show),
        web.post("/networks/{set}", handlers.add),
        web.delete("/networks/{set}", handlers.remove),
    ]


class NetworkHandlers:
    def __init__(self, server: AdminServer) -> None:
        self._server = server

    def _sets(self) -> NetworkSets:
        return self._server.runtime().networks

    def _name(self, request: web.Request) -> str:
        name, known = request.match_info["set"], tuple(self._sets().names)
        if name not in known:
            shown = ", ".join(known) or "none: the configuration has no [networks.NAME]"
            raise Refusal(404, f"there is no set of networks {name!r}", [
                Problem(f"one of: {shown}", "set", valid=known)])
        return name

    async def show(self, request: web.Request) -> web.Response:
        """Return the networks that were added to a set, and for how many seconds each stays."""
        return self._shown(self._name(request))

    async def add(self, request: web.Request) -> web.Response:
        """Add a network to a set, for a while or for good."""
        name = self._name(request)
        made = await body_of(request, {"network": str, "ttl": str})
        network, ttl_s = _network(made), time_of(made, "ttl")
        try:
            await self._sets().add(name, network, ttl_s)
        except ValueError as error:
            raise Refusal(409, f"nothing was changed: {error}") from None
        return self._shown(name)

    async def remove(self, request: web.Request) -> web.Response:
        """Remove a network that was added."""
        name = self._name(request)
        network = _network(await body_of(request, {"network": str}))
        try:
            await self._sets().remove(name, network)
        except KeyError as error:
            raise Refusal(404, str(error.args[0])) from None
        return self._shown(name)

    def _shown(self, name: str) -> web.Response:
        added = self._sets().added(name)
        return answer({"name": name, "added": [
            {"network": network, "seconds": seconds} for network, seconds in added.items()]})


def _network(made: dict[str, Any]) -> str:
    problem = "this key is missing"
    if "network" in made:
        try:
            return normal_network(made["network"])
        except ValueError as error:
            problem = str(error)
    raise Refusal(422, "nothing was changed: there is no network", [Problem(problem, "network")])
