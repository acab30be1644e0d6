"""The demo itself: what starts when, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import signal
import ssl
import sys
import tempfile
from pathlib import Path

from fastlb._core.tables.certificates import self_signed
from fastlb.balancer import Balancer
from fastlb.control.tasks import end
from fastlb.demo.origin import Client, Origin
from fastlb.demo.table import live, plain, rows
from fastlb.errors import BindError
from fastlb.handles import Listener, Pool

NAMES = ("amber", "blue", "coral")
PORT, TLS_PORT = 8080, 8443
CERTIFICATE_DAYS = 7
CLIENTS = 8
# On a terminal a little traffic, so that people see their own; else as much as proves something.
PAUSE_TERMINAL_S = 0.2
PAUSE_BATCH_S = 0.005
SECONDS_BATCH = 10.0
REFRESH_S = 0.25
STOP_S = 0.3            # Ctrl-C has to end the demo within a second


def run(seconds: float | None, port: int | None, tls: bool = False) -> int:
    """Returns the exit status: 0, or 1 if a request failed or a server got none."""
    import uvloop

    terminal = sys.stdout.isatty() and seconds is None
    if seconds is None and not terminal:
        seconds = SECONDS_BATCH
    loop = uvloop.new_event_loop()
    try:
        with tempfile.TemporaryDirectory(prefix="fastlb-demo-") as folder:
            pair = Pair(Path(folder)) if tls else None
            return loop.run_until_complete(_demo(seconds, port, terminal, pair))
    finally:
        loop.close()


class Pair:
    """A certificate of localhost with its key, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "localhost.pem", folder / "localhost.key"
        cert, key = self_signed(["localhost", "127.0.0.1"], CERTIFICATE_DAYS)
        self.cert.write_bytes(cert)
        self.key.touch(mode=0o600)
        self.key.write_bytes(key)

    @property
    def context(self) -> ssl.SSLContext:
        """Of a client that trusts it."""
        return ssl.create_default_context(cafile=str(self.cert))


async def _demo(
    seconds: float | None, port: int | None, terminal: bool, pair: Pair | None
) -> int:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    origins = [Origin(name) for name in NAMES]
    for origin in origins:
        await origin.start()
    try:
        balancer, pool, listener = await _start(origins, port, pair)
        try:
            return await _show(origins, pool, listener, seconds, terminal, ended, pair)
        finally:
            await balancer.stop(timeout=STOP_S)
    finally:
        for origin in origins:
            await origin.stop()


async def _start(
    origins: list[Origin], port: int | None, pair: Pair | None
) -> tuple[Balancer, Pool, Listener]:
    usual = PORT if pair is None else TLS_PORT
    try:
        return await _balancer(origins, usual if port is None else port, pair)
    except BindError as error:
        if port is not None:
            raise
        print(f"Port {usual} is taken, so another one is used ({error.strerror}).", flush=True)
        return await _balancer(origins, 0, pair)


async def _balancer(
    origins: list[Origin], port: int, pair: Pair | None
) -> tuple[Balancer, Pool, Listener]:
    balancer = Balancer(threads=1)
    pool = balancer.pool("origins", [origin.address for origin in origins])
    bind = f"tcp://127.0.0.1:{port}"
    if pair is None:
        listener = balancer.listen(bind, name="demo", pool=pool)
    else:
        listener = balancer.listen(
            bind.replace("tcp", "tls"), name="demo", pool=pool,
            tls={"certificates": [{"cert": str(pair.cert), "key": str(pair.key)}]})
    await balancer.start()
    return balancer, pool, listener


async def _show(
    origins: list[Origin],
    pool: Pool,
    listener: Listener,
    seconds: float | None,
    terminal: bool,
    ended: asyncio.Event,
    pair: Pair | None,
) -> int:
    where = f"127.0.0.1:{listener.port}"
    print(f"fastlb balances {where} over {len(origins)} origins. Try it:", flush=True)
    if pair is None:
        print(f"    curl http://{where}/", flush=True)
    else:
        cert = shlex.quote(str(pair.cert))
        print(f"    curl --cacert {cert} https://localhost:{listener.port}/", flush=True)
    if terminal:
        print("Every new connection goes to the next origin. Ctrl-C ends it.", flush=True)
    if terminal:
        import rich.live  # noqa: F401 - before the first request, whose latency it would be
    pause_s = PAUSE_TERMINAL_S if terminal else PAUSE_BATCH_S
    context = pair.context if pair is not None else None
    client = Client("127.0.0.1", listener.port, origins, pause_s, context)
    tasks = [asyncio.create_task(client.run()) for _ in range(CLIENTS)]
    try:
        if terminal:
            await _live(origins, pool, where, ended)
        else:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), seconds)
        table = rows(origins, pool.stats())
    finally:
        await end(tasks)
    if not terminal:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print(plain(table, width), flush=True)
    return _verdict(origins, client, ended.is_set())


async def _live(origins: list[Origin], pool: Pool, where: str, ended: asyncio.Event) -> None:
    from rich.live import Live

    title = f"fastlb demo on {where}"
    with Live(live(rows(origins, pool.stats()), title), auto_refresh=False) as screen:
        while not ended.is_set():
            screen.update(live(rows(origins, pool.stats()), title), refresh=True)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(ended.wait(), REFRESH_S)


def _verdict(origins: list[Origin], client: Client, interrupted: bool) -> int:
    idle = [origin.name for origin in origins if origin.requests == 0]
    for why in sorted(set(client.failures)):
        print(f"failed: {why} ({client.failures.count(why)} times)", file=sys.stderr)
    if idle and not interrupted:
        print(f"failed: no request reached {', '.join(idle)}", file=sys.stderr)
    print(f"{client.done:,} requests, {len(client.failures):,} failed", flush=True)
    return 1 if client.failures or (idle and not interrupted) else 0
