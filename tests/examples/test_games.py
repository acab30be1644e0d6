"""Players stay on their server; when it dies, or only hangs, they move, and nobody else does."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.examples.running import Running, Start
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.flow.silence import give_up
from tests.flow.udp.conftest import Server

SERVERS = 3
PLAYERS = [f"127.0.5.{i}" for i in range(1, 61)]
FRAMES = 20


QUERY = b"\xff\xff\xff\xffTSource Engine Query\0"     # A2S_INFO
CHALLENGE = b"\xff\xff\xff\xffA1234"


class Game:
    """A server that counts what each player did, and answers who asks about it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.moves: dict[str, int] = {}
        self.queries = 0
        self.hangs = False
        self.balancer: Any = None           # that asks it how it is
        self.udp = Server(self.play)

    @property
    def address(self) -> str:
        return self.udp.address

    def play(self, data: bytes) -> bytes | None:
        if self.hangs:
            if data == QUERY:
                give_up(self.balancer, self.udp.socket.getsockname())
            return None
        if data == QUERY:
            self.queries += 1
            return CHALLENGE
        player = data.decode()
        self.moves[player] = self.moves.get(player, 0) + 1
        return f"{self.number} {self.moves[player]}".encode()

    def close(self) -> None:
        self.udp.close()


class Player:
    """A client of an address of its own."""

    def __init__(self, host: str, where: tuple[str, int]) -> None:
        self.host = host
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(where)

    def play(self) -> tuple[int, int]:
        """The server that has this player, and its moves there."""
        self.socket.send(self.host.encode())
        number, moves = self.socket.recv(100).split()
        return int(number), int(moves)

    def plays_on(self, within: float = 0.1) -> tuple[int, int]:
        """The same, again and again, as games do, until somebody answers."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.socket.settimeout(within)
            try:
                return self.play()
            except TimeoutError:
                assert time.monotonic() < deadline, f"{self.host} is alone"
            finally:
                self.socket.settimeout(DEADLINE_S)


@pytest.fixture
def games() -> Iterator[list[Game]]:
    with ExitStack() as stack:
        made = [Game(i) for i in range(SERVERS)]
        for one in made:
            stack.enter_context(contextlib.closing(one))
        yield made


@pytest.fixture
def match(start: Start, games: list[Game]) -> Running:
    running = start("games.toml", {"games": [one.address for one in games]})
    for one in games:
        one.balancer = running.balancer
    return running


@pytest.fixture
def players(match: Running) -> Iterator[list[Player]]:
    made = [Player(host, match.where("game")) for host in PLAYERS]
    yield made
    for one in made:
        one.socket.close()


def homes_of(players: list[Player]) -> list[int]:
    """After FRAMES moves, none of which was lost or seen elsewhere."""
    homes = [one.play()[0] for one in players]
    for i in range(2, FRAMES + 1):
        for player, home in zip(players, homes, strict=True):
            assert player.play() == (home, i)
    assert set(homes) == set(range(SERVERS))
    return homes


@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
def test_only_the_players_of_a_server_that_is_gone_move(
    match: Running, games: list[Game], players: list[Player], hangs: bool
) -> None:
    homes = homes_of(players)
    gone = games[1]
    wait_until(lambda: all(one.queries for one in games))
    if hangs:                       # its port is there, and takes what comes: only the check tells
        gone.hangs = True
    else:
        gone.close()
    after = []
    for player, home in zip(players, homes, strict=True):
        if home == 1:
            number, moves = player.plays_on()
            assert number != 1 and moves == 1
        else:
            number, moves = player.play()
            assert (number, moves) == (home, FRAMES + 1)
        after.append((number, moves))
    for player, (number, moves) in zip(players, after, strict=True):
        assert player.play() == (number, moves + 1)
    stats = match.pool("games").stats()
    wait_until(lambda: not match.pool("games").stats()[gone.address]["up"])
    assert all(stats[one.address]["connect_failures"] == 0 for one in games if one is not gone)


def test_who_comes_back_from_another_port_finds_the_same_server(
    match: Running, games: list[Game], players: list[Player]
) -> None:
    homes = homes_of(players)
    for player, home in zip(players, homes, strict=True):
        again = Player(player.host, match.where("game"))
        assert again.play() == (home, FRAMES + 1)
        again.socket.close()
    assert sum(len(one.moves) for one in games) == len(PLAYERS)
