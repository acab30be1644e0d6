"""Requests that change what is running."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from fastlb.admin.answers import Refusal, answer, body_of, json_object, text_of, time_of
from fastlb.admin.reading import no_pool, no_server
from fastlb.config.check import checked
from fastlb.config.limits import ADMIN_CHANGES_MAX, ADMIN_WAIT_MS_MAX, WEIGHT
from fastlb.config.reader import loads
from fastlb.errors import BindError, Problem

if TYPE_CHECKING:
    from fastlb._core.tables.states import Server
    from fastlb.admin.server import AdminServer
    from fastlb.config.model import Config
    from fastlb.control.changes import Change

ACTIONS = {"drain": "draining", "disable": "maintenance", "enable": "up"}
STATES = tuple(ACTIONS.values())


def routes(server: AdminServer) -> list[web.RouteDef]:
    handlers = ChangeHandlers(server)
    return [
        web.put("/config", handlers.put_config),
        web.post("/reload", handlers.reload),
        web.put("/pools/{pool}/servers", handlers.put_servers),
        web.post("/pools/{pool}/servers", handlers.add_servers),
        web.delete("/pools/{pool}/servers", handlers.remove_servers),
        web.patch("/pools/{pool}/servers/{address:.+}", handlers.patch_server),
        web.post("/pools/{pool}/servers/{address:.+}/{action:drain|enable|disable}",
                 handlers.act),
        web.get("/changes/{change}", handlers.change),
        web.post("/pools/{pool}/reset", handlers.reset_pool),
    ]


class ChangeHandlers:
    def __init__(self, server: AdminServer) -> None:
        self._server = server
        self._ids = itertools.count(1)
        self._changes: OrderedDict[str, tuple[Change, Server | None]] = OrderedDict()

    # --- pools and servers ---

    def _pool(self, request: web.Request) -> str:
        pools = self._server.running().current.pools
        name = request.match_info["pool"]
        if name not in pools:
            raise no_pool(name, tuple(pools))
        return name

    def _servers(self, pool: str) -> dict[str, Server]:
        return {
            server.address: server for server in self._server.runtime().live.servers()
            if server.pool == pool and not server.removed
        }

    def _one(self, request: web.Request) -> Server:
        pool, address = self._pool(request), request.match_info["address"]
        servers = self._servers(pool)
        if address not in servers:
            raise no_server(pool, address, tuple(servers))
        return servers[address]

    async def put_servers(self, request: web.Request) -> web.Response:
        """The servers that a pool has from now on."""
        pool = self._pool(request)
        wait_s = _time(request.query, "wait")
        made = await body_of(request, {"servers": list, "drain_timeout": str})
        if "servers" not in made:
            raise Refusal(422, "there are no servers", [Problem("this key is missing", "servers")])
        change = self._server.running().filling.set_servers(pool, made["servers"], _drain_s(made))
        return await self._made(change, wait_s)

    async def add_servers(self, request: web.Request) -> web.Response:
        """Servers besides those that a pool has."""
        pool = self._pool(request)
        made = await body_of(request, {"servers": list})
        change = self._server.running().filling.edit_servers(pool, made.get("servers", ()), ())
        return await self._made(change, _time(request.query, "wait"))

    async def remove_servers(self, request: web.Request) -> web.Response:
        """A pool without these, by their addresses."""
        pool = self._pool(request)
        made = await body_of(request, {"servers": list, "drain_timeout": str})
        timeout_s = _drain_s(made)
        problems = [
            Problem(f"{json.dumps(one)[:60]} is not an address", f"servers[{i}]")
            for i, one in enumerate(made.get("servers", ())) if not isinstance(one, str)
        ]
        if problems:
            raise Refusal(422, "nothing was changed: addresses are texts", problems)
        try:
            change = self._server.running().filling.edit_servers(
                pool, (), made.get("servers", ()), timeout_s)
        except KeyError as error:
            known = tuple(self._servers(pool))
            raise no_server(pool, str(error.args[0]), known) from None
        return await self._made(change, _time(request.query, "wait"))

    async def reset_pool(self, request: web.Request) -> web.Response:
        """Drop what was set while running: the pool is as configured again."""
        change = self._server.runtime().edits.reset(self._pool(request))
        return await self._made(change, _time(request.query, "wait"))

    async def patch_server(self, request: web.Request) -> web.Response:
        """Another weight or state."""
        server = self._one(request)
        wait_s = _time(request.query, "wait")
        made = await body_of(request, {"weight": int, "state": str, "drain_timeout": str})
        problems = list(_wrong(made))
        if problems:
            raise Refusal(422, "nothing was changed: the body doesn't fit", problems)
        timeout_s, edits = _drain_s(made), self._server.runtime().edits
        change = edits.set_weight(server, made["weight"]) if "weight" in made else None
        if "state" in made:
            change = edits.choose(server, made["state"], timeout_s)
        return await self._made(change, wait_s, server)

    async def act(self, request: web.Request) -> web.Response:
        """Drain, disable or enable."""
        server = self._one(request)
        wait_s = _time(request.query, "wait")
        made = await body_of(request, {"drain_timeout": str})
        state = ACTIONS[request.match_info["action"]]
        change = self._server.runtime().edits.choose(server, state, _drain_s(made))
        return await self._made(change, wait_s, server)

    async def change(self, request: web.Request) -> web.Response:
        """How far a change has got."""
        id = request.match_info["change"]
        if id not in self._changes:
            raise Refusal(404, f"there is no change {id!r}: the last {ADMIN_CHANGES_MAX} are known")
        change, server = self._changes[id]
        await _wait(change, _time(request.query, "wait"))
        return answer(self._change_json(id, change, server))

    async def _made(
        self, change: Change | None, wait_s: float, server: Server | None = None
    ) -> web.Response:
        """The answer when a change holds, or when it is drained, where that is waited for."""
        if change is None:
            assert server is not None
            return answer(self._server_json(server))
        id = f"{next(self._ids)}"
        self._changes[id] = (change, server)
        while len(self._changes) > ADMIN_CHANGES_MAX:
            self._changes.popitem(last=False)
        await change
        await _wait(change, wait_s)
        return answer(self._change_json(id, change, server))

    def _server_json(self, server: Server) -> dict[str, Any]:
        return {"address": server.address, "state": server.state,
                "weight": self._server.runtime().edits.weight(server),
                "in_flight": server.in_flight}

    def _change_json(self, id: str, change: Change, server: Server | None) -> dict[str, Any]:
        return {
            "change": id, "pool": change.pool, "added": list(change.added),
            "kept": list(change.kept), "removed": list(change.removed), "reset": change.reset,
            "drained": change.done,
            **({"server": self._server_json(server)} if server is not None else {}),
        }

    # --- the whole configuration ---

    async def put_config(self, request: web.Request) -> web.Response:
        """Another configuration, as TOML or JSON; `?dry_run=1` only says what would change."""
        dry_run = _switch(request, "dry_run")
        text = await text_of(request)
        # In a thread: reading a large one takes a second.
        if request.content_type == "application/json":
            config = await asyncio.to_thread(checked, json_object(text), "body")
        else:
            config = await asyncio.to_thread(loads, text, "body")
        return await self._change_to(config, dry_run)

    async def reload(self, request: web.Request) -> web.Response:
        """Read the file again that the process was started with."""
        dry_run = _switch(request, "dry_run")
        await body_of(request, {})
        if self._server.running().source is None:
            raise Refusal(409, "the process was not started with a file: PUT /config instead")
        return await self._change_to(None, dry_run)

    async def _change_to(self, config: Config | None, dry_run: bool) -> web.Response:
        try:
            made = await self._server.running().reload(config, dry_run=dry_run)
        except (BindError, RuntimeError) as error:
            raise Refusal(409, f"nothing was changed: {error}") from None
        return answer({
            "dry_run": dry_run,
            "differences": [{**one.as_json(), "text": str(one)} for one in made.differences],
            "warnings": list(made.warnings),
        })


def _wrong(made: dict[str, Any]) -> list[Problem]:
    found = []
    weight, state = made.get("weight"), made.get("state")
    if weight is not None and not WEIGHT.low <= weight <= WEIGHT.high:
        found.append(Problem(f"{weight} is not from {WEIGHT.low} to {WEIGHT.high}", "weight"))
    if state is not None and state not in STATES:
        found.append(
            Problem(f"{state!r} is not a state; one of: {', '.join(STATES)}", "state", valid=STATES)
        )
    return found


def _time(values: Mapping[str, Any], key: str) -> float:
    """Seconds; 0 where it isn't given."""
    return time_of(values, key, ADMIN_WAIT_MS_MAX) or 0


async def _wait(change: Change, seconds: float) -> None:
    if seconds:
        try:
            await asyncio.wait_for(change.drained(), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            pass                        # the answer says so


def _drain_s(made: Mapping[str, Any]) -> float | None:
    """How long those that leave may take; None: as long as they want."""
    return time_of(made, "drain_timeout", ADMIN_WAIT_MS_MAX)


def _switch(request: web.Request, key: str) -> bool:
    text = request.query.get(key, "0")
    if text not in ("", "0", "1", "true", "false"):
        raise Refusal(422, f"{key} is {text!r}", [
            Problem("one of: 1, 0", key, valid=("1", "0"))
        ])
    return text in ("", "1", "true")
