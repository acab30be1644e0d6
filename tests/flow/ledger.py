"""An http origin in a process of its own, which writes down every request before it answers.

`python -m tests.flow.ledger LEDGER FAULT PORT [PAIR]`: FAULT is a file that says how to behave, and
PAIR one with a certificate and its key.
Prints its port when it listens.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import sys
from pathlib import Path

BODY = b"x" * 1000


class Ledger:
    def __init__(self, ledger: Path, fault: Path) -> None:
        self.ledger = ledger.open("ab", buffering=0)
        self.fault_file = fault
        self.fault = ""
        self.busy = self.busiest = 0

    async def follow(self) -> None:
        while True:
            self.fault = self.fault_file.read_text()
            await asyncio.sleep(0.005)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        for field in fields:
            if field.lower().startswith("content-length:"):
                await reader.readexactly(int(field.partition(":")[2]))
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        method, target, _ = line.split(" ")
        if target != "/healthz":
            self.ledger.write(f"{method} {target} {self.busy}\n".encode())
        try:
            return await self._answer(writer)
        finally:
            self.busy -= 1

    async def _answer(self, writer: asyncio.StreamWriter) -> bool:
        fault = self.fault
        if fault == "slow":
            await asyncio.sleep(2)
        elif fault == "hang":
            await asyncio.sleep(3600)
        elif fault == "garbage":
            writer.write(b"\0\1\2 this is no HTTP\r\n\r\n")
            return False
        elif fault == "truncate":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY[:500])
            return False
        elif fault == "error":
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            return True
        else:
            await asyncio.sleep(random.uniform(0, 0.004))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY)
        if fault == "idle" and random.random() < 0.3:       # it closes a connection that is kept
            await writer.drain()
            await asyncio.sleep(random.uniform(0, 0.002))
            return False
        return True


async def main(ledger: Path, fault: Path, port: int, pair: str) -> None:
    origin = Ledger(ledger, fault)
    context = None
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair)
    server = await asyncio.start_server(origin.serve, "127.0.0.1", port, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await origin.follow()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), "".join(sys.argv[4:])))
