"""Requests that change nothing."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from aiohttp import web

from fastlb._version import __version__
from fastlb.admin.answers import Refusal, answer, body_of
from fastlb.config.written import plain, toml
from fastlb.errors import Problem

if TYPE_CHECKING:
    from fastlb.admin.server import AdminServer

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def routes(server: AdminServer) -> list[web.RouteDef]:
    handlers = Reading(server)
    return [
        web.get("/api", handlers.api),
        web.get("/healthz", handlers.healthz),
        web.get("/readyz", handlers.readyz),
        web.get("/status", handlers.status),
        web.get("/config", handlers.config),
        web.get("/metrics", handlers.metrics),
        web.get("/listeners", handlers.listeners),
        web.get("/pools", handlers.pools),
        web.get("/pools/{pool}", handlers.pool),
        web.get("/pools/{pool}/servers/{address:.+}", handlers.server),
        web.post("/explain", handlers.explain),
    ]


class Reading:
    def __init__(self, server: AdminServer) -> None:
        self._server = server

    async def api(self, request: web.Request) -> web.Response:
        """What there is to ask."""
        found: dict[str, set[str]] = {}
        for route in request.app.router.routes():
            resource = route.resource
            if resource is not None and route.method != "HEAD":
                found.setdefault(resource.canonical, set()).add(route.method)
        return answer({
            "version": __version__,
            "api": [{"path": path, "methods": sorted(found[path])} for path in sorted(found)],
        })

    async def healthz(self, request: web.Request) -> web.Response:
        """200 while the process lives."""
        return answer({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """200 while new connections are taken; 503 before that, and when the process is to end."""
        state = self._server.state()
        return answer({"status": state}, 200 if state == "serving" else 503)

    async def status(self, request: web.Request) -> web.Response:
        return answer(self._server.status())

    async def config(self, request: web.Request) -> web.Response:
        """What was given, as JSON, or as TOML where that is asked for."""
        values = plain(self._server.running().current)
        wanted = request.query.get("format")
        if wanted is None:
            wanted = "toml" if "toml" in request.headers.get("accept", "") else "json"
        if wanted not in ("json", "toml"):
            raise Refusal(422, f"the format is {wanted!r}", [
                Problem("one of: json, toml", "format", valid=("json", "toml"))
            ])
        if wanted == "json":
            return answer(values)
        return web.Response(text=toml(values), content_type="application/toml")

    async def metrics(self, request: web.Request) -> web.Response:
        # In a thread: of thousands of servers it is a lot of text.
        try:
            text = await asyncio.to_thread(_metrics, self._server.runtime())
        except RuntimeError:
            raise Refusal(503, "the process is ending") from None
        return web.Response(body=text, headers={"content-type": METRICS_TYPE})

    async def listeners(self, request: web.Request) -> web.Response:
        return answer(self._server.status()["listeners"])

    async def pools(self, request: web.Request) -> web.Response:
        return answer(self._server.status()["pools"])

    async def pool(self, request: web.Request) -> web.Response:
        return answer(self._pool(request))

    async def server(self, request: web.Request) -> web.Response:
        pool, address = self._pool(request), request.match_info["address"]
        found = {one["address"]: one for one in pool["servers"]}
        if address not in found:
            raise no_server(pool["name"], address, tuple(found))
        return answer(found[address])

    def _pool(self, request: web.Request) -> dict[str, Any]:
        name = request.match_info["pool"]
        found = {pool["name"]: pool for pool in self._server.status()["pools"]}
        if name not in found:
            raise no_pool(name, tuple(found))
        made: dict[str, Any] = found[name]
        return made

    async def explain(self, request: web.Request) -> web.Response:
        """Which route and server a request would get, and why."""
        made = await body_of(request, {
            "method": str, "url": str, "headers": (dict, list), "body": str, "client": str,
            "listener": str, "call_policy": bool, "tls": dict, "proxy": dict, "says": dict,
            "body_base64": str,
        })
        if "url" not in made:
            raise Refusal(422, "there is no url", [Problem("this key is missing", "url")])
        try:
            if "body_base64" in made:
                made["body"] = base64.b64decode(made.pop("body_base64"), validate=True)
            explained = self._server.running().explain(
                made.pop("method", "GET"), made.pop("url"), **made)
        except ValueError as error:
            raise Refusal(422, str(error)) from None
        return answer(explained.as_json())


def _metrics(runtime: Any) -> bytes:
    from fastlb.observe.metrics import Metrics

    made: bytes = Metrics(runtime).render()
    return made


def no_pool(name: str, valid: tuple[str, ...]) -> Refusal:
    return Refusal(404, f"there is no pool {name!r}", [
        Problem(f"one of: {', '.join(valid)}", "pool", valid=valid)
    ])


def no_server(pool: str, address: str, valid: tuple[str, ...]) -> Refusal:
    shown = ", ".join(valid) or "none: the pool is empty"
    return Refusal(404, f"the pool {pool} has no server {address!r}", [
        Problem(f"one of: {shown}", "server", valid=valid)
    ])
