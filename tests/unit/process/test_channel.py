"""Messages between a worker and its parent: none is lost, and nobody is held up."""

from __future__ import annotations

import asyncio
import os
import resource
import socket

import pytest
import uvloop

from fastlb.process.channel import Outbox, Truncated, receive, send
from fastlb.process.worker import Parent

LISTENERS = 1_500


def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.settimeout(30)
    return ours, theirs


def test_many_listeners_are_all_told_to_a_parent_that_is_busy() -> None:
    ours, theirs = pair()
    labels: list[str] = []

    def read() -> None:
        while (heard := receive(theirs)) is not None and heard[0]["op"] == "hold":
            labels.append(heard[0]["label"])
            for fd in heard[1]:
                os.close(fd)

    async def main() -> None:
        parent = Parent(ours)
        parent.follow(asyncio.get_running_loop())
        with socket.socket() as sock:
            for i in range(LISTENERS):
                parent.hold(str(i), [sock], None)
        parent.say("ready")                 # nobody has read a word until now
        await asyncio.to_thread(read)
        await parent.close()

    loop = uvloop.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
        theirs.close()
    assert labels == [str(i) for i in range(LISTENERS)]


def test_last_words_reach_a_parent_that_reads_late() -> None:
    ours, theirs = pair()
    full: list[bool] = []
    outbox = Outbox(ours, full.append)
    while not full:
        outbox.say({"op": "notify", "state": "x" * 1000})
    outbox.say({"op": "last"})
    for _ in range(2):                      # (room for it)
        assert receive(theirs)
    outbox.end(30)
    ours.close()
    said = []
    while (heard := receive(theirs)) is not None:
        said.append(heard[0]["op"])
    assert said[-1] == "last"
    theirs.close()


def test_descriptors_that_do_not_fit_are_told() -> None:
    ours, theirs = pair()
    with socket.socket() as sock:
        send(ours, {"op": "hold", "label": "a"}, [sock.fileno()])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, before[1]))
    try:
        with pytest.raises(Truncated) as error:
            receive(theirs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert error.value.message == {"op": "hold", "label": "a"}
    ours.close()
    theirs.close()
