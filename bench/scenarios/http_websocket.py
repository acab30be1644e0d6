"""Echoes of 100-byte texts over 64 WebSockets."""

from bench.methods import BUSY, P50, P99, RESIDENT, steady_load
from bench.model import WEBSOCKET, WEBSOCKET_TEXT_BYTES, Column, Scenario, Target, Traffic

SCENARIO = Scenario(
    name="http_websocket",
    title="WebSocket echo of 100 bytes, 64 connections",
    mode="http",
    kind=WEBSOCKET,
    columns=(
        Column("cpu_us", "CPU us/echo", 2),
        Column("requests_s", "echoes/s", 0),
        P50,
        P99,
        RESIDENT,
        BUSY,
    ),
    measure=steady_load,
    traffic=Traffic(64, "/echo", WEBSOCKET_TEXT_BYTES, "websocket"),
    targets=(Target(0.95, ("haproxy",)),),
    syscalls=True,
    order=140,
    notes=("A masked text to the server and its echo; upgrades lie before the measured window.",),
)
