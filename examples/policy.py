"""Routes that ask functions: plain, async with a cache, and one that blocks.

    python examples/policy.py
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import httpx

import fastlb
from fastlb.testing import TestBalancer


@dataclass(frozen=True)
class Tenant:
    name: str
    premium: bool


TENANTS = {"key-1": Tenant("acme", premium=True), "key-2": Tenant("bob", premium=False)}


async def find_tenant(key: str | None) -> Tenant | None:
    """Stands for a database."""
    await asyncio.sleep(0.001)
    return TENANTS.get(key or "")


def build(
    lb: fastlb.Balancer, api_servers: list[str], docs_servers: list[str]
) -> fastlb.Listener:
    api = lb.pool("api", api_servers)
    docs = lb.pool("docs", docs_servers, balance="ring_hash", hash_on="path.doc_id")
    web = lb.listen("http://127.0.0.1:0", name="web", pool=api)

    @web.route("/plans/{plan}")                 # a plain def runs at once, and must not wait
    def by_tier(request: fastlb.Request) -> fastlb.Decision:
        return docs if request.headers.get("x-user-tier") == "premium" else api

    @web.route(                                 # an async def may wait: this request does, no other
        "/docs/{doc_id}/*", deadline="500ms", on_error=api,
        cache_on="header.authorization", cache_ttl="5s",
    )
    async def by_tenant(request: fastlb.Request) -> fastlb.Decision:
        tenant = await find_tenant(request.headers.get("authorization"))
        if tenant is None:
            return fastlb.Response(401, json={"error": "who are you?"})
        if not tenant.premium:
            return fastlb.Redirect("/plans/premium")
        return fastlb.Forward(docs, headers={"x-tenant": tenant.name, "authorization": None})

    @web.route("/reports/*", blocking=True, deadline="1s", pool=api)
    def slowly(request: fastlb.Request) -> fastlb.Decision:
        time.sleep(0.001)                       # a driver without async, in a thread of a pool
        return None                             # as the route says: to api

    return web


def main() -> None:
    with TestBalancer() as balancer:            # a fastlb.Balancer, and origins to play with
        api, docs = balancer.origin("api"), balancer.origin("docs")
        web = build(balancer.balancer, [api.address], [docs.address])
        with httpx.Client(base_url=web.url, trust_env=False) as client:
            for tier in ("premium", "free"):
                got = client.get("/plans/1", headers={"x-user-tier": tier})
                print(f"/plans/1, {tier}:", got.text)
            for key in ("key-1", "key-2", "key-3"):
                got = client.get("/docs/7/edit", headers={"authorization": key})
                print(f"/docs/7/edit, {key}:", got.status_code, got.text or got.headers["location"])
            print("/reports/today:", client.get("/reports/today").text)
        print("the server of docs got x-tenant:", docs.requests[-1].headers["x-tenant"])


if __name__ == "__main__":
    main()
