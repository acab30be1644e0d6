"""Debian's chromium without a screen, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import connect

PROGRAM = shutil.which("chromium")
DEADLINE_S = 30.0       # a browser takes seconds to start where others work too
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--remote-debugging-port=0", "--remote-allow-origins=*",
)


class Browser:
    """One page. `console` has what it complained about."""

    def __init__(self, folder: Path, *flags: str) -> None:
        assert PROGRAM is not None
        self.console: list[str] = []
        self._ids = itertools.count(1)
        self._process = subprocess.Popen(
            [PROGRAM, *FLAGS, *flags, f"--user-data-dir={folder}", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            port = self._port(folder / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            self._open = ExitStack()
            self._socket = self._open.enter_context(
                connect(pages[0]["webSocketDebuggerUrl"], max_size=None, open_timeout=DEADLINE_S,
                        ping_interval=None)         # (it may stand still for long)
            )
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def _port(self, file: Path) -> int:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "chromium has ended"
            if file.exists() and (lines := file.read_text().split()):
                return int(lines[0])
            time.sleep(0.05)
        raise AssertionError("chromium doesn't start")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        self._process.terminate()
        try:
            self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **params: Any) -> Any:
        id = next(self._ids)
        self._socket.send(json.dumps({"id": id, "method": method, "params": params}))
        while True:
            made = json.loads(self._socket.recv(timeout=DEADLINE_S))
            self._note(made)
            if made.get("id") == id:
                assert "error" not in made, made
                return made["result"]

    def _note(self, made: dict[str, Any]) -> None:
        params = made.get("params", {})
        if made.get("method") == "Runtime.exceptionThrown":
            self.console.append(str(params["exceptionDetails"]))
        elif made.get("method") == "Log.entryAdded":
            entry = params["entry"]         # (the network's: a page that was left ends its stream)
            if entry["level"] == "error" and entry["source"] != "network":
                self.console.append(entry["text"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, code: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        made = self.call("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in made, made["exceptionDetails"]
        return made["result"].get("value")

    def wait(self, code: str) -> Any:
        """Until an expression is true; returns its value."""
        deadline = time.monotonic() + DEADLINE_S
        while not (value := self.run(code)):
            assert time.monotonic() < deadline, f"never true: {code}\n{self.text()}"
            time.sleep(0.05)
        return value

    def text(self) -> str:
        return str(self.run("document.body.innerText"))

    def size(self, width: int, height: int, dark: bool = False, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=phone)
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path) -> None:
        made = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        path.write_bytes(base64.b64decode(made["data"]))
