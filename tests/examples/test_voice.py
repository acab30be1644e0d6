"""Streams of RTP both ways without loss, and SIP whose calls stay together."""

from __future__ import annotations

import asyncio
import csv
import random
import shutil
import socket
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from tests.examples.running import Running, Start
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.udp.conftest import Server
from tests.ports import free_ports

NOBODY = [f"127.0.0.1:{i}" for i in (1, 2, 3)]        # for pools that a test doesn't use
STREAMS = 20
PACKETS = 100
PERIOD_S = 0.02                     # 50 packets a second, as G.711 has them
SAMPLES = 160
SIP = """\
{method} sip:bob@example.com SIP/2.0\r
Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK{branch}\r
From: <sip:alice@example.com>;tag=1\r
To: <sip:bob@example.com>\r
{header}: {call}\r
CSeq: 1 {method}\r
Content-Length: {length}\r
\r
{body}"""


def rtp(ssrc: int, i: int) -> bytes:
    """A packet of PCMU (RFC 3550, 5.1), whose sound nobody else makes."""
    sequence = (65_500 + i) % 65_536                # they wrap around on the way
    head = b"\x80\x00" + sequence.to_bytes(2, "big")
    head += (SAMPLES * i % 2**32).to_bytes(4, "big") + ssrc.to_bytes(4, "big")
    return head + random.Random(f"{ssrc} {i}").randbytes(SAMPLES)


class Speaker(asyncio.DatagramProtocol):
    """Sends a stream to a peer, 50 packets a second, and keeps what it hears."""

    def __init__(self, ssrc: int) -> None:
        self.ssrc = ssrc
        self.heard: list[bytes] = []
        self.sent = 0
        self.loop = asyncio.get_running_loop()
        self.done = self.loop.create_future()       # all was sent, and as much heard

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def speak(self, peer: tuple[str, int] | None) -> None:
        self.peer = peer
        self.begun = self.loop.time()
        self._next()

    def _next(self) -> None:
        self.transport.sendto(rtp(self.ssrc, self.sent), self.peer)
        self.sent += 1
        if self.sent < PACKETS:
            self.loop.call_at(self.begun + self.sent * PERIOD_S, self._next)
        self._look()

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self.heard.append(data)
        self._look()

    def _look(self) -> None:
        if self.sent == PACKETS and len(self.heard) >= PACKETS and not self.done.done():
            self.done.set_result(None)


class Media(asyncio.DatagramProtocol):
    """A server: answers each stream with one of its own, of another SSRC."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.streams: dict[tuple[str, int], Speaker] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        stream = self.streams.get(peer)
        if stream is None:
            ssrc = int.from_bytes(data[8:12], "big")
            stream = self.streams[peer] = Speaker(answer_of(ssrc, self.number))
            stream.connection_made(self.transport)
            stream.speak(peer)
        stream.datagram_received(data, peer)


def answer_of(ssrc: int, server: int) -> int:
    return ssrc + 1_000 * (server + 1)


def test_streams_lose_nothing_either_way(start: Start) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        medias = [Media(i) for i in range(2)]
        ends = [(await loop.create_datagram_endpoint(
            lambda one=one: one, local_addr=("127.0.0.1", 0)))[0] for one in medias]
        servers = ["{}:{}".format(*end.get_extra_info("sockname")) for end in ends]
        voice = start("voice.toml", {"sip": NOBODY, "media": servers})
        phones: list[Speaker] = []
        for i in range(STREAMS):
            end, phone = await loop.create_datagram_endpoint(
                lambda i=i: Speaker(i), remote_addr=voice.where("rtp"))
            ends.append(end)
            phones.append(phone)
        for end in ends:        # (the loop that sends reads one of each at a time: many may wait)
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for phone in phones:
            phone.speak(None)
        await asyncio.wait_for(asyncio.gather(*(one.done for one in phones)), DEADLINE_S)
        theirs = [stream for media in medias for stream in media.streams.values()]
        await asyncio.wait_for(asyncio.gather(*(one.done for one in theirs)), DEADLINE_S)
        home = {}
        for media in medias:
            for stream in media.streams.values():
                ssrc = int.from_bytes(stream.heard[0][8:12], "big")
                assert stream.heard == [rtp(ssrc, i) for i in range(PACKETS)]
                home[ssrc] = media.number
        assert sorted(home) == list(range(STREAMS))
        for ssrc, phone in enumerate(phones):
            answer = answer_of(ssrc, home[ssrc])
            assert phone.heard == [rtp(answer, i) for i in range(PACKETS)]
        assert set(home.values()) == {0, 1}
        assert voice.dropped() == {}
        for end in ends:
            end.close()

    asyncio.run(main())


class Proxy:
    """A server of SIP that says OK to all, and who it is; keeps the calls that it has seen."""

    def __init__(self, number: int) -> None:
        self.calls: dict[str, list[str]] = defaultdict(list)
        self.number = number
        self.udp = Server(self.answer)

    def answer(self, data: bytes) -> bytes:
        first, *lines = data.decode().partition("\r\n\r\n")[0].split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines if ": " in line)
        call = fields.get("Call-ID") or fields.get("i") or fields["CALL-ID"]
        self.calls[call].append(first.split()[0])
        return f"SIP/2.0 200 OK\r\nServer: {self.number}\r\nCall-ID: {call}\r\n\r\n".encode()


@pytest.fixture
def proxies() -> Iterator[list[Proxy]]:
    made = [Proxy(i) for i in range(3)]
    yield made
    for one in made:
        one.udp.close()


@pytest.fixture
def trunk(start: Start, proxies: list[Proxy]) -> Running:
    return start("voice.toml", {
        "sip": [one.udp.address for one in proxies], "media": NOBODY[:2]})


def phone_of(trunk: Running) -> socket.socket:
    phone = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    phone.settimeout(DEADLINE_S)
    phone.connect(trunk.where("sip"))
    return phone


def say(phone: socket.socket, method: str, call: str, header: str = "Call-ID",
        body: str = "") -> int:
    """The number of the server that answered."""
    phone.send(SIP.format(method=method, branch=f"{method}{call}", header=header, call=call,
                          body=body, length=len(body)).encode())
    answer = phone.recv(2000)
    assert answer.endswith(f"Call-ID: {call}\r\n\r\n".encode())
    return int(answer.partition(b"Server: ")[2].split()[0])


def test_each_call_stays_with_its_server(trunk: Running, proxies: list[Proxy]) -> None:
    with phone_of(trunk) as operator, phone_of(trunk) as other:
        calls = [f"call-{i}@example.com" for i in range(60)]
        misleading = "i: nobody\r\nCall-ID: nobody\r\n"         # (of a body, not of the head)
        homes = {call: say(operator, "INVITE", call, body=misleading) for call in calls}
        assert set(homes.values()) == {0, 1, 2}
        for call, home in homes.items():
            assert say(operator, "INFO", call, "i") == home
            assert say(operator, "UPDATE", call, "CALL-ID") == home
            assert say(other, "BYE", call) == home              # the other side hangs up
        for one in proxies:
            assert one.calls == {call: ["INVITE", "INFO", "UPDATE", "BYE"]
                                 for call, home in homes.items() if home == one.number}


def test_what_is_no_call_is_dropped_and_counted(trunk: Running, proxies: list[Proxy]) -> None:
    with phone_of(trunk) as phone:
        said = [b"\r\n\r\n", b"OPTIONS sip:a SIP/2.0\r\n\r\nCall-ID: body\r\n", b"\0" * 1200,
                b"INVITE sip:a SIP/2.0\r\nX-Call-ID: 1\r\nCall-ID:\r\nMax-Forwards: 1\r\n\r\n"]
        for data in said:
            phone.send(data)
        wait_until(lambda: trunk.dropped() == {"dropped_policy": len(said)},
                   lambda: str(trunk.dropped()))
        assert say(phone, "INVITE", "good") in (0, 1, 2)
        assert Counter(len(one.calls) for one in proxies) == {0: 2, 1: 1}


SIPP = shutil.which("sipp")


def figure(path: Path, name: str) -> int:
    """The latest one of a file that sipp writes a line to each second."""
    with path.open() as file:
        return int(([{name: "0"}, *csv.DictReader(file, delimiter=";")])[-1][name])


def bound(port: int) -> bool:
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(line.split()[1] == f"0100007F:{port:04X}" for line in lines)


@pytest.mark.skipif(SIPP is None, reason="sipp isn't installed: apt-get install sip-tester")
def test_calls_of_sipp(start: Start, tmp_path: Path) -> None:
    """INVITE, ACK and BYE of many calls at a time, each of which a server has to know."""
    assert SIPP is not None
    calls = 90
    common = [SIPP, "-i", "127.0.0.1", "-nostdin", "-trace_stat", "-fd", "1"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
             "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    with ExitStack() as stack:
        ports = free_ports(3, socket.SOCK_DGRAM)
        for i, port in enumerate(ports):
            one = subprocess.Popen([
                *common, "-sn", "uas", "-p", str(port), "-mp", str(11_000 + 100 * i),
                "-stf", f"uas-{i}.csv"], **quiet)
            stack.callback(one.wait, DEADLINE_S)
            stack.callback(one.kill)
        wait_until(lambda: all(bound(port) for port in ports))
        trunk = start("voice.toml", {
            "sip": [f"127.0.0.1:{port}" for port in ports], "media": NOBODY[:2]})
        done = subprocess.run([
            *common, "-sn", "uac", "{}:{}".format(*trunk.where("sip")), "-m", str(calls),
            "-r", "60", "-d", "300", "-timeout", "120s", "-timeout_error", "-stf", "uac.csv",
            "-mp", "11500"], timeout=150, check=False, **quiet)
        assert done.returncode == 0                 # all calls were good
        assert figure(tmp_path / "uac.csv", "SuccessfulCall(C)") == calls

        def answered() -> list[int]:
            files = [tmp_path / f"uas-{i}.csv" for i in range(3)]
            return [figure(file, "SuccessfulCall(C)") for file in files]

        wait_until(lambda: sum(answered()) == calls, lambda: str(answered()))
        assert all(answered())
