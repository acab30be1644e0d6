"""Http and tcp origins for tests: real sockets, scripted faults, and what they got."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from fastlb.control.checks import USER_AGENT
from fastlb.testing import websocket
from fastlb.testing.faults import NONE, Delay, Drawn, Fault
from fastlb.testing.fields import Fields
from fastlb.testing.limits import BODY_BYTES_KEPT, HEAD_BYTES_MAX, PACE_S, REQUESTS_KEPT
from fastlb.testing.reactor import Connection, Port, Reactor, Reset, Script, Send, Sleep, Step

GARBAGE = b"\x00\x01\x02 this is no HTTP\r\n\r\n"


@dataclass
class Received:
    """A request as an origin got it, and what it did about it."""

    method: str
    target: str                 # path and query
    headers: Fields             # in any case
    body: bytes = b""           # the first MiB of it
    body_size: int = 0
    connection: int = 0         # which of the origin's, from 1
    outcome: str = "pending"
    """A status such as "200", or hang, reset, garbage or truncate."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    def json(self) -> Any:
        """The body, parsed. Raises ValueError where it isn't JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Answer:
    """What an origin says: `Answer(201, json={"id": 7}, headers={"location": "/7"})`."""

    status: int = 200
    body: str | bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None

    def content(self) -> bytes:
        if self.json is not None:
            return json.dumps(self.json).encode()
        return self.body.encode() if isinstance(self.body, str) else self.body


Said = Answer | int | str | bytes
ScriptStep = Said | Fault | Literal["reset", "hang", "garbage", "truncate"]
Handler = Callable[[Received], Said]
FAULTS = {
    "reset": Fault(reset=1), "hang": Fault(hang=1), "garbage": Fault(garbage=1),
    "truncate": Fault(truncate=1),
}


def answer_of(said: Said) -> Answer:
    if isinstance(said, Answer):
        return said
    if isinstance(said, bool) or not isinstance(said, (int, str, bytes)):
        raise TypeError(f"an answer is an Answer, a status, text or bytes, and not {said!r}")
    return Answer(said) if isinstance(said, int) else Answer(body=said)


class _Faulty:
    """What all origins have: a port, and a fault."""

    def __init__(self, reactor: Reactor, name: str, seed: str, patient: bool) -> None:
        self.name = name
        self._fault = NONE
        self._random = random.Random(seed)      # of the reactor's thread alone
        self._port = Port(reactor, self._serve, patient)

    def _serve(self, connection: Connection) -> Script:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.address}>"

    @property
    def address(self) -> str:
        """As pools want it: "127.0.0.1:PORT"."""
        return f"127.0.0.1:{self._port.number}"

    @property
    def connections(self) -> int:
        """How many it has accepted."""
        return self._port.accepted

    def _set(self, fault: Fault) -> None:
        before, self._fault = self._fault, fault
        if before.refuse != fault.refuse:
            self._port.refuse(fault.refuse)

    def heal(self) -> None:
        """No faults from now on."""
        self._set(NONE)

    def reset_connections(self) -> None:
        """End the connections that there are, each by an RST."""
        self._port.reset_all()

    def close(self) -> None:
        """Listen no more, and end the connections that there are."""
        self._port.close()


class Origin(_Faulty):
    """An http origin. Made by `TestBalancer.origin()`; a pool takes it as a server."""

    def __init__(
        self, reactor: Reactor, name: str, seed: str, answer: Said | Handler | None = None
    ) -> None:
        self._handler = answer if callable(answer) else None
        self._answer = (
            Answer(body=f"{name}\n", headers={"content-type": "text/plain"})
            if answer is None or callable(answer) else answer_of(answer)
        )
        self._steps: deque[Answer | Fault] = deque()
        self._requests: deque[Received] = deque(maxlen=REQUESTS_KEPT)
        self._checks: deque[Received] = deque(maxlen=REQUESTS_KEPT)
        self._failures = reactor.failures
        super().__init__(reactor, name, seed, patient=False)

    @property
    def url(self) -> str:
        """For a client that asks it directly."""
        return f"http://{self.address}"

    @property
    def requests(self) -> list[Received]:
        """What it got so far, in order, health checks aside."""
        return list(self._requests)

    @property
    def checks(self) -> list[Received]:
        """The health checks that it got."""
        return list(self._checks)

    def fault(
        self, *, reset: float = 0.0, status: int | Mapping[int, float] | None = None,
        delay: Delay | None = None, truncate: float = 0.0, bandwidth: str | None = None,
        refuse: bool = False, hang: float = 0.0, garbage: float = 0.0,
    ) -> None:
        """What goes wrong from now on, instead of what did until now; nothing: see `heal()`.

        `reset`, `hang`, `garbage`, `truncate`: probabilities (True is 1.0) of an RST instead of an
        answer, of no answer ever, of bytes that are no HTTP, of half a body and then the end.
        `status`: one that all get, or {503: 0.1}. `delay` before the answer: "50ms",
        ("10ms", "90ms"), "lognormal(50ms, 0.5)", {"2s": 0.01}, or a function of a random.Random
        that returns seconds. `bandwidth` of bodies, such as "64KiB", is a second's. `refuse`: no
        connection is accepted, and those that there are end.

        Health checks meet the same faults. Raises ValueError for what makes no sense.
        """
        self._set(Fault(reset, status, delay, truncate, bandwidth, refuse, hang, garbage))

    def script(self, steps: Iterable[ScriptStep]) -> None:
        """What the next requests get, one each, health checks aside; then it is as before.

        A step is an answer (an Answer, a status, text or bytes), a Fault, or "reset", "hang",
        "garbage" or "truncate". During a script, `fault` is put aside.
        """
        found: list[Answer | Fault] = []
        for step in steps:
            if isinstance(step, Fault):
                if step.refuse:
                    raise ValueError("refuse: a request has been accepted; use fault(refuse=True)")
                found.append(step)
            elif isinstance(step, str) and step in FAULTS:
                found.append(FAULTS[step])
            else:
                found.append(answer_of(step))
        self._steps = deque(found)

    def describe(self, last: int) -> list[str]:
        found = self.requests
        return [
            f"{self.name} {self.address}: {len(found)} requests",
            *(f"    {one.method} {one.target} -> {one.outcome}" for one in found[-last:]),
        ]

    # --- in the reactor's thread ---

    def _serve(self, connection: Connection) -> Script:
        number = self._port.accepted
        while True:
            try:
                request = yield from self._read(connection, number)
            except ValueError:          # whoever asks, it isn't the balancer
                raise Reset from None
            if request is None:
                return
            if request.headers.get("upgrade", "").lower() == "websocket":
                self._requests.append(request)
                request.outcome = "101"
                yield from websocket.serve(connection, request.headers)
                return
            if not (yield from self._respond(request)):
                return

    def _read(
        self, connection: Connection, number: int
    ) -> Generator[Step, None, Received | None]:
        while (end := connection.inbox.find(b"\r\n\r\n")) < 0:
            if len(connection.inbox) > HEAD_BYTES_MAX or not (yield from connection.read()):
                return None
        line, *fields = connection.take(end + 4)[:-4].decode("latin-1").split("\r\n")
        method, target, _ = line.split(" ", 2)
        request = Received(method, target, Fields.parsed(fields), connection=number)
        if request.headers.get("expect", "").lower() == "100-continue":
            yield Send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((yield from _line(connection)).partition(b";")[0], 16):
                yield from _content(connection, request, size)
                yield from _line(connection)
            while (yield from _line(connection)):
                pass
        else:
            size = int(request.headers.get("content-length", "0"))
            yield from _content(connection, request, size)
        return request

    def _respond(self, request: Received) -> Generator[Step, None, bool]:
        check = request.headers.get("user-agent") == USER_AGENT
        (self._checks if check else self._requests).append(request)
        fault, answer = self._fault, self._answer
        if self._steps and not check:
            step = self._steps.popleft()
            fault, answer = (step, answer) if isinstance(step, Fault) else (NONE, step)
        elif self._handler is not None and not check:
            answer = self._handled(request)
        return (yield from _play(request, answer, fault.drawn(self._random)))

    def _handled(self, request: Received) -> Answer:
        assert self._handler is not None
        try:
            return answer_of(self._handler(request))
        except Exception as failure:
            self._failures.append(failure)
            return Answer(500, f"the origin's function raised {failure!r}\n")


def _play(request: Received, answer: Answer, drawn: Drawn) -> Generator[Step, None, bool]:
    """Say what is to be said, as the fault has it. False ends the connection."""
    if drawn.hang:
        request.outcome = "hang"
        yield Sleep(float("inf"))
    if drawn.delay_s:
        yield Sleep(drawn.delay_s)
    if drawn.reset:
        request.outcome = "reset"
        raise Reset
    if drawn.garbage:
        request.outcome = "garbage"
        yield Send(GARBAGE)
        return False
    if drawn.status:
        answer = Answer(drawn.status, f"{drawn.status}\n")
    content = answer.content()
    request.outcome = str(answer.status)
    if drawn.truncate:
        request.outcome = "truncate"
        content = content if len(content) > 1 else b"half of this is missing\n"
    close = request.headers.get("connection", "").lower() == "close"
    head = _head(answer, len(content), close)
    if request.method == "HEAD" or answer.status in (204, 304):
        content = b""
    if drawn.truncate:
        content = content[: len(content) // 2]
    if drawn.bytes_per_s:
        yield Send(head)
        size = max(1, round(drawn.bytes_per_s * PACE_S))
        for at in range(0, len(content), size):
            piece = content[at : at + size]
            yield Send(piece)
            yield Sleep(len(piece) / drawn.bytes_per_s)
    else:
        yield Send(head + content)
    return not close and not drawn.truncate


def _head(answer: Answer, size: int, close: bool) -> bytes:
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    fields = {name.lower(): value for name, value in answer.headers.items()}
    if answer.json is not None:
        fields.setdefault("content-type", "application/json")
    if answer.status != 204:
        fields.setdefault("content-length", str(size))
    if close:
        fields["connection"] = "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {answer.status} {phrase}\r\n{lines}\r\n".encode("latin-1")


def _line(connection: Connection) -> Generator[Step, None, bytes]:
    while (end := connection.inbox.find(b"\r\n")) < 0:
        if not (yield from connection.read()):
            raise Reset
    return connection.take(end + 2)[:-2]


def _content(
    connection: Connection, request: Received, size: int
) -> Generator[Step, None, None]:
    while size:
        if not connection.inbox and not (yield from connection.read()):
            raise Reset
        piece = connection.take(min(size, len(connection.inbox)))
        size -= len(piece)
        request.body_size += len(piece)
        request.body += piece[: max(0, BODY_BYTES_KEPT - len(request.body))]


class TcpOrigin(_Faulty):
    """A tcp origin that echoes. Made by `TestBalancer.tcp_origin()`."""

    def __init__(self, reactor: Reactor, name: str, seed: str, greeting: bytes = b"") -> None:
        self._greeting = greeting
        self._received = bytearray()
        super().__init__(reactor, name, seed, patient=True)

    @property
    def received(self) -> bytes:
        """The first MiB of what it got, over all connections."""
        return bytes(self._received)

    def fault(
        self, *, reset: float = 0.0, delay: Delay | None = None, bandwidth: str | None = None,
        refuse: bool = False, hang: float = 0.0,
    ) -> None:
        """What goes wrong from now on: as of `Origin.fault`, drawn anew for what is read at once.

        `reset`: an RST instead of an echo; `hang`: nothing more is said.
        """
        self._set(Fault(reset, None, delay, 0.0, bandwidth, refuse, hang))

    def describe(self, last: int) -> list[str]:
        return [f"{self.name} {self.address}: {len(self._received)} bytes"]

    def _serve(self, connection: Connection) -> Script:
        if self._greeting:
            yield Send(self._greeting)
        while connection.inbox or (yield from connection.read()):
            data = connection.take(len(connection.inbox))
            self._received += data[: max(0, BODY_BYTES_KEPT - len(self._received))]
            drawn = self._fault.drawn(self._random)
            if drawn.hang:
                yield Sleep(float("inf"))
            if drawn.delay_s:
                yield Sleep(drawn.delay_s)
            if drawn.reset:
                raise Reset
            size = max(1, round(drawn.bytes_per_s * PACE_S)) if drawn.bytes_per_s else len(data)
            for at in range(0, len(data), size):
                yield Send(data[at : at + size])
                if drawn.bytes_per_s:
                    yield Sleep(len(data[at : at + size]) / drawn.bytes_per_s)
