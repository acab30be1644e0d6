"""A balancer inside an asyncio program: two services, a listener in front, and a look at both.

    python examples/embed.py
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import httpx

import fastlb


async def service(name: str) -> asyncio.Server:
    """Anything that speaks http: this one says its name."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(name)}\r\n\r\n"
                writer.write((head + name).encode())
        writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


def address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"{host}:{port}"


async def main() -> None:
    async with await service("blue") as blue, await service("green") as green:
        lb = fastlb.Balancer(threads=2)             # threads=0 serves inside this loop
        api = lb.pool(
            "api", [address(blue), fastlb.Server(address(green), weight=2)],
            retry=fastlb.Retry(attempts=2, on=["connect_failure", "503"], budget="20%"),
        )
        web = lb.listen("http://127.0.0.1:0", name="web", pool=api)
        async with lb:
            async with httpx.AsyncClient(base_url=web.url, trust_env=False) as client:
                first = Counter([(await client.get("/")).text for _ in range(30)])
                api.servers[address(green)].drain()             # nobody new for this one
                then = Counter([(await client.get("/")).text for _ in range(30)])
        print(f"by weight: {dict(sorted(first.items()))}")
        print(f"green is drained: {dict(sorted(then.items()))}")


if __name__ == "__main__":
    asyncio.run(main())
