"""What a client of a WebSocket over HTTP/2 (RFC 8441) hears at the end of a stop."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable

import pytest

from tests.flow.http.peers import Message, Wire
from tests.flow.http2.conftest import Open, Origins

pytestmark = pytest.mark.modes("inline")

SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
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
    h2: Open, origins: Origins, said: bytes, heard: bytes
) -> None:
    got: list[bytes] = []

    def speak(wire: Wire) -> None:
        wire.send(said)
        got.append(wire.exactly(8))
        if said == heard:
            while wire.some():
                pass

    site, client = h2([origins(upgrading(speak)).address])
    while not client.h2.remote_settings.enable_connect_protocol:
        client.look()
    stream = client.ask("/chat", (":protocol", "websocket"), ("sec-websocket-version", "13"),
                        method="CONNECT", ends=False)
    answer = client.answers[stream]
    while bytes(answer.body) != said:
        assert client.look()
    stopping = site.site.balancer.stop(timeout=0.4)
    try:
        while bytes(answer.body) != heard or not got:
            assert client.look()
        while client.look():
            pass
    except ConnectionResetError:
        pass
    client.close()
    stopping.wait()
    assert bytes(answer.body) == heard
    assert len(got[0]) == 8 and got[0][:2] == b"\x88\x82"
