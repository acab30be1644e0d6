"""What a client of a WebSocket over HTTP/2 (RFC 8441) hears at the end of a stop."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest

from fastlb.process import threads
from tests.flow.conftest import wait_until
from tests.flow.http.conftest import HttpSite
from tests.flow.http.peers import Message, Wire
from tests.flow.http2.conftest import Origins
from tests.flow.http2.peers import DATA
from tests.flow.http2.raw import END_HEADERS, Raw

pytestmark = pytest.mark.modes("inline")

Web = Callable[..., HttpSite]

SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STOP_S = 8.0
GOING = b"\x88\x02\x03\xe9"             # a close frame, without a key, of 1001


def upgrading(then: Callable[[Wire], None]) -> Callable[[Wire, Message], bool]:
    def serve(wire: Wire, request: Message) -> bool:
        key = request["sec-websocket-key"].encode()
        wire.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  b"Upgrade: websocket\r\nSec-WebSocket-Accept: "
                  + base64.b64encode(hashlib.sha1(key + SALT).digest()) + b"\r\n\r\n")
        then(wire)
        return False

    return serve


@pytest.mark.parametrize(("said", "heard"), [
    (b"\x81\x05hello", b"\x81\x05hello" + GOING), (b"\x81\x05hel", b"\x81\x05hel"),
], ids=["whole", "half"])
def test_a_websocket_over_http2_ends_with_a_close_frame_between_frames(
    web: Web, origins: Origins, said: bytes, heard: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[bytes] = []

    def speak(wire: Wire) -> None:
        wire.send(said)
        got.append(wire.exactly(8))
        if said == heard:
            while wire.some():
                pass

    site = web([origins(upgrading(speak)).address], h2c=True)
    raw = Raw(site.site.connect())
    raw.send(raw.head(1, (":protocol", "websocket"), ("sec-websocket-version", "13"),
                      method="CONNECT", path="/chat", flags=END_HEADERS))
    assert raw.until(DATA, 1).payload == said
    # Half of it is for whoever ends by itself, the rest for close frames: time enough for engines
    # and peers that a busy machine keeps waiting.
    monkeypatch.setattr(threads, "PARTING_S", STOP_S / 2)
    stopping = site.site.balancer.stop(timeout=STOP_S)
    while heard.endswith(GOING) and raw.until(DATA, 1).payload != GOING:
        pass
    wait_until(lambda: got != [])
    site.site.balancer.stop()           # at once: all is said
    while raw.next() is not None:
        pass
    raw.sock.close()
    stopping.wait()
    assert b"".join(one.payload for one in raw.frames if one.kind == DATA) == heard
    assert len(got[0]) == 8 and got[0][:2] == b"\x88\x82"
