"""A balancer in the lifespan of a FastAPI application: its routes ask the application's functions.

    uvicorn --app-dir examples fastapi_lifespan:app --workers 2
    gunicorn --chdir examples --preload --workers 2 --worker-class asgi fastapi_lifespan:app

Each worker process has a balancer of its own, started after the fork. They share a port by
`reuse_port`: the system gives each of them a part of the connections.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

import fastlb

BIND = os.environ.get("BALANCER_BIND", "http://127.0.0.1:8080")
STANDARD = os.environ.get("STANDARD_SERVERS", "127.0.0.1:9001 127.0.0.1:9002").split()
PREMIUM = os.environ.get("PREMIUM_SERVERS", "127.0.0.1:9003").split()

lb = fastlb.Balancer(threads=1)
standard = lb.pool("standard", STANDARD, balance="least_request")
premium = lb.pool("premium", PREMIUM)
web = lb.listen(BIND, name="web", pool=standard, reuse_port=True)


async def is_premium(key: str | None) -> bool:
    """Would ask the application's database, over the connections that it has anyway."""
    return key is not None and key.startswith("premium-")


@web.route("/docs/{doc_id}/*", deadline="200ms", on_error=standard)
async def by_key(request: fastlb.Request) -> fastlb.Decision:
    pool = premium if await is_premium(request.headers.get("authorization")) else standard
    return fastlb.Forward(pool, response_headers={"x-worker": str(os.getpid())})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with lb:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/servers")
def servers() -> dict[str, dict[str, dict[str, int]]]:
    """What this worker's balancer has done."""
    return {pool.name: pool.stats() for pool in (standard, premium)}
