"""The load generators: load.c and datagrams.c, which check every answer; wrk, which people know;
h2load."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import process
from bench.model import LOAD_CPU, RESUMED, Certificate, Datagrams, Traffic

if TYPE_CHECKING:
    from typing_extensions import Self

# How long the answers under way may take after a pause.
PAUSE_SECONDS = 0.1


class Told:
    """A program that runs from `with` to its end, is told what to do by single bytes, and answers
    with lines."""

    def __init__(self, argv: Sequence[str], log: Path) -> None:
        self._argv = argv
        self._log = log

    def __enter__(self) -> Self:
        self._process = process.start(self._argv, LOAD_CPU, self._log, pipes=True)
        self.pid = self._process.pid
        return self

    def __exit__(self, *_: object) -> None:
        process.stop(self._process)

    def _say(self, command: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command)
        except BrokenPipeError:
            raise RuntimeError(self._ended()) from None

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(self._ended())
        return line

    def _ended(self) -> str:
        return f"{Path(self._argv[0]).name} ended: {self._log.read_text().strip()}"

    def begin_window(self) -> None:
        self._say(b"r")

    def window(self) -> dict[str, float]:
        """What has happened since begin_window."""
        self._say(b"s")
        found: dict[str, float] = json.loads(self._line())
        return found


class Generator(Told):
    """Its windows have seconds, requests (that were answered), p50_us, p99_us and errors."""

    def pause(self) -> None:
        self._say(b"p")
        time.sleep(PAUSE_SECONDS)

    def go_on(self) -> None:
        self._say(b"g")


class Load(Generator):
    """load.c."""

    def __init__(
        self, binary: Path, port: int, traffic: Traffic, certificate: Certificate, log: Path
    ) -> None:
        tls = []
        if traffic.tls:
            tls = ["-r" if traffic.tls == RESUMED else "-f", str(certificate.cert)]
        super().__init__([str(binary), *tls, str(port), str(traffic.connections), traffic.path,
                          str(traffic.body_bytes), traffic.mode, *traffic.fields], log)


class DatagramLoad(Generator):
    """datagrams.c. Its windows have sent, lost, late and unsent beside."""

    def __init__(self, binary: Path, port: int, datagrams: Datagrams, log: Path) -> None:
        super().__init__([str(binary), str(port), str(datagrams.flows), str(datagrams.bytes),
                          str(datagrams.rate)], log)


class DatagramOrigin(Told):
    """datagram_origin.c. Its windows have received, p50_us and p99_us (on the way) and errors, of
    datagrams that want no answer."""

    def __init__(self, binary: Path, ports: Sequence[int], log: Path) -> None:
        super().__init__([str(binary), *map(str, ports)], log)

    def __enter__(self) -> Self:
        super().__enter__()
        self._line()            # it listens
        return self

    def begin_window(self) -> None:
        super().begin_window()
        self.window()           # what is sent from now on is in it


def errors_of(window: dict[str, float]) -> str:
    """The errors that a window reports, as text; empty where there are none."""
    kinds = {k.removeprefix("error_"): int(v) for k, v in window.items() if k.startswith("error_")}
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)


def run_wrk(port: int, traffic: Traffic, seconds: float, log: Path) -> tuple[dict[str, float], str]:
    """A whole run of wrk: seconds, requests, p50_us and p99_us, and its errors as text."""
    argv = ["wrk", "--latency", "-t1", f"-c{traffic.connections}", f"-d{seconds:.0f}s",
            f"http://127.0.0.1:{port}{traffic.path}"]
    started = process.start(argv, LOAD_CPU, log, pipes=True)
    try:
        out, _ = started.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        process.stop(started)
        return {}, "wrk hangs"
    return parse_wrk(out.decode())


def parse_wrk(text: str) -> tuple[dict[str, float], str]:
    done = re.search(r"(\d+) requests in ([\d.]+)(m?s|m)", text)
    if done is None:
        return {}, "wrk printed no result"
    unit = {"ms": 1e-3, "s": 1.0, "m": 60.0}[done[3]]
    found = {"requests": float(done[1]), "seconds": float(done[2]) * unit}
    for share in ("50", "99"):
        latency = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s)$", text, re.M)
        if latency:
            scale = {"us": 1.0, "ms": 1e3, "s": 1e6}[latency[2]]
            found[f"p{share}_us"] = float(latency[1]) * scale
    errors = re.findall(r"^\s+(Socket errors:.*|Non-2xx.*)$", text, re.M)
    return found, "; ".join(errors)


H2LOAD_TERMS = ("TLS Protocol: TLSv1.3", "Cipher: TLS_AES_128_GCM_SHA256",
                "Application protocol: h2")


def run_h2load(
    port: int, traffic: Traffic, seconds: float, log: Path
) -> tuple[dict[str, float], str]:
    """A whole run of h2load: seconds, requests, mean_us and max_us, and its errors as text."""
    argv = ["h2load", "-t1", f"-c{traffic.connections}", f"-m{traffic.streams}",
            f"-D{seconds * 1000:.0f}ms", "--npn-list=h2", "--groups=X25519",
            "--tls13-ciphers=TLS_AES_128_GCM_SHA256", f"--connect-to=127.0.0.1:{port}",
            f"https://{process.HOST}:{port}{traffic.path}"]
    started = process.start(argv, LOAD_CPU, log, pipes=True)
    try:
        out, _ = started.communicate(timeout=seconds + 30)
    except subprocess.TimeoutExpired:
        process.stop(started)
        return {}, "h2load hangs"
    return parse_h2load(out.decode(), traffic)


def parse_h2load(text: str, traffic: Traffic) -> tuple[dict[str, float], str]:
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
    ran = re.search(r"^finished in ([\d.]+)(us|ms|s),", text, re.M)
    done = re.search(r"^requests: .*?(\d+) done, (\d+) succeeded, (.*)$", text, re.M)
    ok = re.search(r"^status codes: (\d+) 2xx", text, re.M)
    data = re.search(r"^traffic: .*\((\d+)\) data", text, re.M)
    took = re.search(r"^time for request: +[\d.]+[mu]?s +([\d.]+)(us|ms|s) +([\d.]+)(us|ms|s)",
                     text, re.M)
    if not (ran and done and ok and data and took) or not int(done[1]):
        said = re.findall(r"^(?:requests: |No protocol|.*(?:failed|error):).*$", text, re.M)
        return {}, "; ".join(["h2load has no result", *said])
    missing = [term for term in H2LOAD_TERMS if term not in text]
    if missing:
        return {}, f"not as agreed: no {', '.join(missing)}"
    count, under_way = int(done[1]), traffic.connections * traffic.streams
    if not count == int(done[2]) == int(ok[1]) or re.search(r"[1-9]", done[3]):
        return {}, f"{done[0]}, {ok[0]}"
    # Streams that were cut off at the end have their part in the bytes as well.
    if not 0 <= int(data[1]) - count * traffic.body_bytes <= under_way * traffic.body_bytes:
        return {}, f"{data[1]} bytes of {count} answers"
    return {
        "requests": float(count), "seconds": float(ran[1]) * unit[ran[2]],
        "mean_us": float(took[3]) * unit[took[4]] * 1e6,
        "max_us": float(took[1]) * unit[took[2]] * 1e6,
    }, ""
