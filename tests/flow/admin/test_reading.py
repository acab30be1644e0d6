"""What a running process says of itself."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

import fastlb
from fastlb.config.reader import loads
from tests.flow.admin.conftest import TOKEN, Admin, events_of
from tests.flow.conftest import DEADLINE_S, Origin, wait_until
from tests.flow.http.peers import HttpOrigin, get

Make = Callable[..., Admin]
Origins = Callable[..., HttpOrigin]
NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize("threads", [0, 2])
def test_the_status_counts_what_was_done(admin: Make, origins: Origins, threads: int) -> None:
    origin = origins()
    running = admin([origin.address], threads=threads)
    for _ in range(3):
        assert running.web.ask(get("/")).status == 200
    status = running.get("/status")
    assert (status["state"], status["version"]) == ("serving", fastlb.__version__)
    assert status["pid"] == os.getpid()
    (listener,) = status["listeners"]
    assert (listener["name"], listener["mode"], listener["requests"]) == ("web", "http", 3)
    assert listener["addresses"] == [running.site.listener.url]
    (pool,) = status["pools"]
    (server,) = pool["servers"]
    assert (pool["name"], pool["balance"]) == ("api", "round_robin")
    assert (server["address"], server["state"], server["requests"]) == (origin.address, "up", 3)
    assert running.get("/pools") == [running.get("/pools/api")]
    assert running.get(f"/pools/api/servers/{origin.address}")["address"] == origin.address
    assert running.get("/listeners")[0]["name"] == "web"


def test_it_says_that_it_lives_and_is_ready(admin: Make) -> None:
    running = admin([NOBODY])
    assert running.get("/healthz") == {"status": "ok"}
    assert running.get("/readyz") == {"status": "serving"}


def test_it_is_not_ready_any_more_while_it_drains(admin: Make, origin: Origin) -> None:
    running = admin([origin.address], listen="tcp://127.0.0.1:0")
    client, server = running.site.pair(origin)
    stopping = running.balancer.stop(60)
    wait_until(lambda: running.http.get("/readyz").status_code == 503)
    assert running.http.get("/readyz").json() == {"status": "draining"}
    assert running.get("/healthz") == {"status": "ok"}
    assert running.get("/status")["state"] == "stopping"
    server.close()
    client.close()
    stopping.wait(DEADLINE_S)
    assert running.balancer.admin_url is None


def test_the_configuration_comes_back_without_its_secrets(admin: Make) -> None:
    sticky = {"cookie": "c", "secret": "s" * 16}
    running = admin([NOBODY], token=TOKEN, pool={"sticky": sticky})
    made = running.get("/config")
    assert made["admin"]["token"] == "(hidden)"
    assert made["pools"]["api"]["sticky"]["secret"] == ["(hidden)"]
    assert made["pools"]["api"]["servers"] == [{"address": NOBODY}]
    text = running.http.get("/config?format=toml")
    assert text.headers["content-type"] == "application/toml; charset=utf-8"
    assert TOKEN not in text.text and "s" * 16 not in text.text
    hidden = text.text.replace("(hidden)", "h" * 16)
    assert list(loads(hidden).pools) == ["api"]
    by_accept = running.http.get("/config", headers={"accept": "application/toml"})
    assert by_accept.text == text.text


def test_everything_that_there_is_is_listed(admin: Make) -> None:
    paths = {one["path"]: one["methods"] for one in admin([NOBODY]).get("/api")["api"]}
    assert paths["/config"] == ["GET", "PUT"]
    assert paths["/pools/{pool}/servers/{address}"] == ["GET", "PATCH"]
    assert {"/status", "/metrics", "/events", "/stream", "/explain", "/reload"} <= set(paths)


def test_events_come_as_they_happen(admin: Make, origins: Origins) -> None:
    origin = origins()
    running = admin([origin.address])
    with running.http.stream("GET", "/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = answer.iter_lines()
        assert next(events_of(lines, "hello")) == {"dropped": 0}
        running.balancer.pools["api"].servers[origin.address].drain()
        event = next(events_of(lines, "event"))
    assert (event["pool"], event["server"], event["state"]) == ("api", origin.address, "draining")


def test_a_stream_has_the_status_and_what_happened_before(admin: Make, origins: Origins) -> None:
    origin = origins()
    running = admin([origin.address])
    server = running.balancer.pools["api"].servers[origin.address]
    server.drain().wait(DEADLINE_S)

    def told() -> bool:
        with running.http.stream("GET", "/stream") as answer:
            made = next(events_of(answer.iter_lines(), "status"))
        assert made["pools"][0]["servers"][0]["state"] == "draining"
        return [event["state"] for event in made["events"]] == ["draining"]

    wait_until(told)


def test_streams_end_with_the_balancer(admin: Make, origin: Origin) -> None:
    running = admin([origin.address])
    with running.http.stream("GET", "/stream") as answer:
        lines = answer.iter_lines()
        next(events_of(lines, "status"))
        running.balancer.stop(0).wait(DEADLINE_S)
        with pytest.raises(Exception, match=r".*"):     # cut off, in one of several ways
            for _ in lines:
                pass
            raise ConnectionError("at its end")


def test_a_unix_socket_is_for_its_user_alone(admin: Make, tmp_path: Path) -> None:
    path = tmp_path / "run" / "admin.sock"
    running = admin([NOBODY], bind=f"http://unix:{path}")
    assert running.balancer.admin_url == f"http://unix:{path}"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert running.get("/healthz") == {"status": "ok"}
    running.balancer.stop(0).wait(DEADLINE_S)
    assert not path.exists()


def test_several_addresses_are_one_api(admin: Make, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    running = admin([NOBODY], bind=["http://127.0.0.1:0", f"http://unix:{path}"])
    assert running.get("/readyz") == {"status": "serving"}
    assert fastlb.connect(f"http://unix:{path}").status()["state"] == "serving"
