"""Checks that are said in HTTP/2: of a path, and gRPC's own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from fastlb.config.health import EffectiveHealth
from fastlb.control.wire import Conversation, Unwell, Wire

BODY_BYTES_MAX = 65_536
ANSWER_BYTES_MAX = 524_288      # with frames and heads
FRAME_HEAD_BYTES = 9
FRAME_BYTES_MAX = 16_384        # as we allow no more (RFC 9113, 6.5.2)
GOAWAY = 7
FRAMES_MAX = 4096               # of an answer: each costs 15 us on the control loop
# github.com/grpc/grpc, doc/health-checking.md: the call, and what HealthCheckResponse says.
GRPC_PATH = "/grpc.health.v1.Health/Check"
GRPC_STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
GRPC_SERVING = 1
GRPC_STATUS_LEN_MAX = 10        # of digits


@dataclass
class Answer:
    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)    # with the trailers
    body: bytes = b""


def ask(
    wire: Wire, fields: list[tuple[str, str]], body: bytes = b"", enough: bool = False,
) -> Generator[None, None, Answer]:
    """One request on a connection of its own. `enough`: its head is all that is wanted."""
    session = _session()
    session.send_headers(1, fields, end_stream=not body)
    if body:
        session.send_data(1, body, end_stream=True)
    answer = Answer()
    heard = bytearray()
    n = n_frames = 0
    while True:
        if said := session.data_to_send():
            yield from wire.send(said)
        piece = yield from wire.receive()
        if not piece:
            raise Unwell("it closed without an answer")
        n += len(piece)
        heard += piece
        for frame in _frames(heard):
            n_frames += 1
            if n_frames > FRAMES_MAX:
                raise Unwell("its answer has no end")
            try:
                events = session.receive_data(frame)
            except H2Error:
                raise Unwell("its answer is no HTTP/2") from None
            if any(_take(session, answer, event) for event in events):
                return answer
        if answer.status and enough:
            return answer
        if n > ANSWER_BYTES_MAX:
            raise Unwell("its answer has no end")


def _session() -> H2Connection:
    session = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    # Before it begins, or there would be two frames of settings. A pushed answer is none to us.
    session.local_settings = Settings(client=True, initial_values={
        SettingCodes.ENABLE_PUSH: 0,
        SettingCodes.MAX_HEADER_LIST_SIZE: H2Connection.DEFAULT_MAX_HEADER_LIST_SIZE,
    })
    session.initiate_connection()
    return session


def _frames(heard: bytearray) -> Iterator[bytes]:
    """Takes the whole ones, but for a GOAWAY that leaves us our answer: `h2` would read nothing
    after it, and servers that count requests say it before they answer the last (RFC 9113, 6.8)."""
    while len(heard) >= FRAME_HEAD_BYTES:
        n = int.from_bytes(heard[:3], "big")
        if n > FRAME_BYTES_MAX:
            raise Unwell("its answer is no HTTP/2")
        if len(heard) < FRAME_HEAD_BYTES + n:
            return
        frame = bytes(heard[:FRAME_HEAD_BYTES + n])
        del heard[:FRAME_HEAD_BYTES + n]
        last, code = frame[9:13], frame[13:17]
        answers = n >= 8 and int.from_bytes(last, "big") & 0x7FFFFFFF >= 1 and not any(code)
        if frame[3] != GOAWAY or not answers:
            yield frame


def _take(session: H2Connection, answer: Answer, event: Any) -> bool:
    """Whether the answer is whole."""
    if getattr(event, "stream_id", 1) != 1:
        return False
    if isinstance(event, ResponseReceived):
        answer.fields.update(event.headers or ())
        status = answer.fields[b":status"]
        if len(status) != 3 or not status.isdigit():
            raise Unwell("its answer is no HTTP/2")
        answer.status = int(status)
    elif isinstance(event, TrailersReceived):
        answer.fields.update(event.headers or ())
    elif isinstance(event, DataReceived):
        answer.body = (answer.body + (event.data or b""))[:BODY_BYTES_MAX]
        session.acknowledge_received_data(event.flow_controlled_length, 1)
    elif isinstance(event, StreamReset):
        raise Unwell("it reset the request")
    elif isinstance(event, ConnectionTerminated):
        raise Unwell("it said that it goes")
    return isinstance(event, StreamEnded) or len(answer.body) == BODY_BYTES_MAX


def head(
    health: EffectiveHealth, name: str, secure: bool, user_agent: str
) -> list[tuple[str, str]]:
    host = health.host or ("localhost" if name.startswith("unix:") else name)
    grpc = health.kind == "grpc"
    return [
        (":method", "POST" if grpc else health.method),
        (":scheme", "https" if secure else "http"),
        (":authority", host),
        (":path", GRPC_PATH if grpc else health.path),
        ("user-agent", user_agent),
        *([("content-type", "application/grpc"), ("te", "trailers")] if grpc else
          [("accept", "*/*")]),
    ]


def check_grpc(
    wire: Wire, health: EffectiveHealth, fields: list[tuple[str, str]],
) -> Conversation:
    """Good is grpc-status 0, and a message whose field 1 says SERVING."""
    service = health.service.encode()
    message = b"\x0a" + _varint(len(service)) + service if service else b""
    answer = yield from ask(wire, fields, b"\0" + len(message).to_bytes(4, "big") + message)
    status = answer.fields.get(b"grpc-status", b"none").decode("latin-1")
    if status != "none" and not (len(status) <= GRPC_STATUS_LEN_MAX and status.isdecimal()):
        status = "that is no number"        # it goes to a log
    if answer.status != 200 or status != "0":
        raise Unwell(f"it answered {answer.status} with grpc-status {status}")
    state = _state(answer.body)
    if state != GRPC_SERVING:
        raise Unwell(f"it says {GRPC_STATES.get(state, state)}")


def _varint(n: int) -> bytes:
    """As protobuf.dev/programming-guides/encoding has it."""
    made = bytearray()
    while n > 127:
        made.append(n & 127 | 128)
        n >>= 7
    return bytes([*made, n])


def _state(body: bytes) -> int:
    """Field 1 of the message after its prefix (compressed or not, and 4 bytes of length); what
    isn't there, or isn't whole, is 0."""
    message = body[5:]
    whole = body[:1] == b"\0" and int.from_bytes(body[1:5], "big") == len(message)
    return message[1] if whole and len(message) >= 2 and message[0] == 8 else 0
