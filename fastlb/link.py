"""HTTP to the admin API of a running process, and where that process is."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastlb.config.address import ADMIN_HOW, Address, parse_bind
from fastlb.config.places import SUFFIX, VARIABLE, usual_folders
from fastlb.config.units import show
from fastlb.errors import AdminError, ConfigError, NotRunningError, Problem

TOKEN_VARIABLE = "FASTLB_TOKEN"
TIMEOUT_S = 10.0        # beyond what a request itself waits for
WAIT_S_MAX = 60.0       # of that


class _Connection(http.client.HTTPConnection):
    """http.client knows no unix sockets."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        super().__init__(address.host or "localhost", address.port, timeout=timeout_s)
        self._path = address.path

    def connect(self) -> None:
        if self._path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Link:
    """A connection for each request; of any thread. Refusals are ConfigError, where values are
    wrong, and AdminError."""

    def __init__(self, address: Address, token: str | None = None) -> None:
        self._address = address
        self._token = token if token is not None else os.environ.get(TOKEN_VARIABLE, "")

    def __str__(self) -> str:
        return str(self._address)

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def text(self, path: str) -> str:
        return self._exchange("GET", path, None, "").decode()

    def ask(
        self, method: str, path: str, body: dict[str, Any] | bytes | None = None,
        kind: str = "application/json",
    ) -> Any:
        if isinstance(body, dict):
            body = json.dumps(body).encode()
        return json.loads(self._exchange(method, path, body, kind))

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token}"} if self._token else {}

    def _exchange(self, method: str, path: str, body: bytes | None, kind: str) -> bytes:
        headers = self._headers()
        if body is not None:
            headers["content-type"] = kind
        connection = _Connection(self._address, WAIT_S_MAX + TIMEOUT_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise NotRunningError(f"nobody answers at {self}: {_why(error)}") from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise _refusal(answer.status, data)
        return data

    async def stream(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        """Server-sent events: their kinds and data."""
        try:
            if self._address.path is not None:
                reader, writer = await asyncio.open_unix_connection(self._address.path)
            else:
                reader, writer = await asyncio.open_connection(
                    self._address.host, self._address.port
                )
        except OSError as error:
            raise NotRunningError(f"nobody answers at {self}: {_why(error)}") from None
        try:
            # 1.0: the answer then comes as it is, and not in chunks.
            headers = {"host": str(self._address).partition("://")[2], **self._headers()}
            if self._address.path is not None:
                headers["host"] = "localhost"
            told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"GET {path} HTTP/1.0\r\n{told}\r\n".encode())
            status = int((await reader.readline()).split()[1])
            while (await reader.readline()).strip():
                pass
            if status >= 400:
                raise _refusal(status, await reader.read())
            kind = ""
            async for line in reader:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)
        finally:
            writer.close()


def _refusal(status: int, data: bytes) -> Exception:
    try:
        made = json.loads(data)
        problems = [Problem(one["message"], one["path"], one["file"], one["line"],
                            tuple(one["valid"])) for one in made["problems"]]
        error = str(made["error"])
    except (ValueError, KeyError, TypeError):
        return AdminError(status, f"it answered with {status}: is it fastlb's admin API?")
    if status == 422 and problems:
        return ConfigError(problems)
    if status == 401:
        error += f"; set {TOKEN_VARIABLE} to it"
        return AdminError(status, error)
    return AdminError(status, error, problems)


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()


# --- where it is ---


def find(admin: str | None = None, token: str | None = None, what: str = "--admin") -> Link:
    """The process at `admin`, $FASTLB_ADMIN, or the only one in the usual places. `what` is how
    errors call `admin`."""
    given = admin if admin is not None else os.environ.get(VARIABLE)
    if given:
        return Link(parse_admin(given, what if admin is not None else VARIABLE), token)
    found = [path for folder in usual_folders() for path in sorted(folder.glob(f"*{SUFFIX}"))
             if _answers(path)]
    if len(found) == 1:
        return Link(Address("http", None, None, str(found[0])), token)
    if found:
        listed = "".join(f"\n  --admin http://unix:{path}" for path in found)
        raise NotRunningError(f"several processes are running; say which one is meant:{listed}")
    write = '--admin http://127.0.0.1:9000,' if what == "--admin" else (
        'fastlb.connect("http://127.0.0.1:9000"),')
    places = ", ".join(str(folder / f"*{SUFFIX}") for folder in usual_folders())
    raise NotRunningError(
        f"no running fastlb was found: {VARIABLE} is not set, and nobody answers at {places}."
        f" Start one (fastlb serve fastlb.toml), or say where it is: {write} as `admin` in its"
        " configuration has it."
    )


def parse_admin(text: str, what: str) -> Address:
    """What people write: with or without a scheme, a path, a port alone."""
    rest = text.rstrip("/") if "unix:" not in text else text
    if rest.startswith("/"):
        rest = f"unix:{rest}"
    if re.fullmatch("[0-9]{1,5}", rest):
        rest = f"127.0.0.1:{rest}"
    try:
        if not rest.startswith("http://"):
            rest = f"http://{rest}"
        return parse_bind(rest)
    except ValueError:
        raise ConfigError(
            [Problem(f"{show(text)} is not where an admin API is; {ADMIN_HOW}", what)]
        ) from None


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(TIMEOUT_S)
        try:
            sock.connect(str(path))
        except OSError:
            return False
        return True
