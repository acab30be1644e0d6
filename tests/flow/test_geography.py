"""Where clients are: facts of databases that are replaced while engines ask, and zones by them."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import fastlb
from fastlb.errors import ConfigError
from fastlb.observe.metrics import Metrics
from fastlb.testing import TestBalancer
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.mmdb import database, place, system

pytestmark = pytest.mark.plain

GERMAN, AMERICAN, CANADIAN, NOBODY = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.9"
PLACES = {
    f"{GERMAN}/32": place("DE", "EU", "BE"), f"{AMERICAN}/32": place("US", "NA", "CA"),
    f"{CANADIAN}/32": place("CA", "NA"), "192.0.2.0/24": place("FR", "EU"),
}


def replace(path: Path, data: bytes) -> None:
    """As it should be done: written beside it, and renamed."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """`geo` with a database of cities and one of systems."""
    (tmp_path / "city.mmdb").write_bytes(database(PLACES))
    (tmp_path / "asn.mmdb").write_bytes(database({f"{GERMAN}/32": system(64496)}))
    return {"city": str(tmp_path / "city.mmdb"), "asn": str(tmp_path / "asn.mmdb"),
            "refresh": "1s"}


@pytest.fixture(params=[0, 2], ids=["inline", "threads"])
def made(request: pytest.FixtureRequest, files: dict[str, Any]) -> Iterator[TestBalancer]:
    with TestBalancer(threads=request.param, geo=files) as balancer:
        yield balancer


@contextmanager
def client_at(source: str) -> Iterator[httpx.Client]:
    transport = httpx.HTTPTransport(local_address=source)
    with httpx.Client(transport=transport, trust_env=False, timeout=DEADLINE_S) as client:
        yield client


def get(url: str, source: str, **headers: str) -> httpx.Response:
    with client_at(source) as client:
        return client.get(url, headers=headers)


def from_source(url: str, source: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    host, _, port = url.partition("://")[2].rpartition(":")
    client = socket.socket(socket.AF_INET, kind)
    client.settimeout(DEADLINE_S)
    client.bind((source, 0))
    client.connect((host, int(port)))
    return client


def totals(made: TestBalancer) -> dict[str, int]:
    found: dict[str, int] = {}
    for engine in made.balancer._instance.running().engines.all:
        for name, n in engine.totals().items():
            found[name] = found.get(name, 0) + n
    return found


TELLS = {"name": "tells", "respond": {"body": "ok"}, "response_headers": {"set": {
    "x-at": "{client.continent}/{client.country}/{client.region}/{client.asn}"}}}


def at(url: str, source: str = GERMAN, **headers: str) -> str:
    return str(get(url, source, **headers).headers["x-at"])


# --- facts ---

def test_routes_and_headers_know_where_a_client_is(made: TestBalancer) -> None:
    origin = made.origin()
    made.pool("p", servers=[origin])
    site = made.listen(routes=[
        {"name": "states", "match": {"client": {"country": ["US", "MX"]}},
         "respond": {"body": "states"}},
        {"name": "not", "match": {"path": "/not", "not": {"client": {"continent": "EU"}}},
         "respond": {"body": "far"}},
        {"name": "berlin", "match": {"path": "/berlin", "client": {"region": "DE-BE"}},
         "respond": {"body": "berlin"}},
        {"name": "known", "match": {"path": "/known", "client": {"asn": True}},
         "respond": {"body": "known"}},
        {"name": "rest", "pool": "p", "request_headers": {"set": {
            "x-country": "{client.country}", "x-asn": "{client.asn}"}}}])
    for source, path, body in (
            (AMERICAN, "/", "states"), (GERMAN, "/", "origin1"), (CANADIAN, "/not", "far"),
            (GERMAN, "/not", "origin1"), (NOBODY, "/not", "far"), (GERMAN, "/berlin", "berlin"),
            (CANADIAN, "/berlin", "origin1"), (GERMAN, "/known", "known"),
            (NOBODY, "/known", "origin1")):
        assert get(f"{site.url}{path}", source).text.strip() == body, (source, path)
    get(site.url, GERMAN)
    get(site.url, NOBODY, **{"x-country": "DE"})
    german, nobody = origin.requests[-2:]
    assert (german.headers["x-country"], german.headers["x-asn"]) == ("DE", "64496")
    assert not nobody.headers.get("x-country")


def test_client_is_whom_trusted_proxies_saw(made: TestBalancer) -> None:
    site = made.listen(forwarded={"trusted": [NOBODY]}, routes=[TELLS])
    assert at(site.url, NOBODY, **{"x-forwarded-for": "192.0.2.7"}) == "EU/FR//"
    assert at(site.url, NOBODY, **{"x-forwarded-for": "[2002:c000:207::1]:80"}) == "EU/FR//"
    assert at(site.url, NOBODY, **{"x-forwarded-for": "unknown"}) == "///"
    assert at(site.url, GERMAN, **{"x-forwarded-for": "192.0.2.7"}) == "EU/DE/DE-BE/64496"


def test_each_request_of_a_connection_has_its_own_client(made: TestBalancer) -> None:
    site = made.listen(forwarded={"trusted": [NOBODY]}, routes=[TELLS])
    with client_at(NOBODY) as client:
        for address, expected in (("192.0.2.7", "EU/FR//"), ("198.51.100.1", "///"),
                                  (AMERICAN, "NA/US/US-CA/")):
            got = client.get(site.url, headers={"x-forwarded-for": address})
            assert got.headers["x-at"] == expected


def test_policy_sees_facts(made: TestBalancer) -> None:
    seen: list[dict[str, str]] = []
    site = made.listen(pool=made.pool(servers=[made.origin()]))

    @site.route("/*", name="asks")
    def asks(request: fastlb.Request) -> None:
        seen.append(dict(request.facts))

    get(site.url, GERMAN)
    get(site.url, NOBODY)
    assert seen == [{"client.country": "DE", "client.continent": "EU", "client.region": "DE-BE",
                     "client.asn": "64496"}, {}]


def test_rate_limit_counts_by_country(made: TestBalancer) -> None:
    site = made.listen(routes=[TELLS], rate_limit={"key": "client.country", "limit": "1/h"})
    assert [get(site.url, source).status_code for source in (GERMAN, GERMAN, AMERICAN)] == [
        200, 429, 200]


def test_connections_are_routed_by_country(made: TestBalancer) -> None:
    origins = [made.tcp_origin(greeting=name) for name in (b"eu", b"na")]
    for name, origin in zip(("eu", "na"), origins, strict=True):
        made.pool(name, servers=[origin])
    site = made.listen("tcp://127.0.0.1:0", pool="na", routes=[
        {"name": "eu", "match": {"client": {"continent": "EU"}}, "pool": "eu"}])
    for source, greeting in ((GERMAN, b"eu"), (CANADIAN, b"na"), (NOBODY, b"na")):
        with from_source(site.url, source) as client:
            assert client.recv(2) == greeting


def test_records_of_requests_connections_and_sessions_have_them(made: TestBalancer) -> None:
    web = made.listen(routes=[TELLS])
    tcp = made.listen("tcp://127.0.0.1:0", pool=made.pool(servers=[made.tcp_origin()]))
    udp = made.listen("udp://127.0.0.1:0", pool=made.pool(servers=[made.udp_origin()]),
                      idle_timeout="1m")
    get(web.url, GERMAN)
    for url, kind in ((tcp.url, socket.SOCK_STREAM), (udp.url, socket.SOCK_DGRAM)):
        with from_source(url, GERMAN, kind) as client:
            client.send(b"x")
            assert client.recv(9) == b"x"
    made.clock.advance("2m")
    wait_until(lambda: len(made.records) == 3)
    for record in made.records:
        assert record.facts["client.country"] == "DE", record
        assert record.facts["client.asn"] == "64496", record


def test_clients_that_nobody_knows_are_counted(made: TestBalancer) -> None:
    site = made.listen(routes=[TELLS])
    for source in (NOBODY, NOBODY, GERMAN):
        get(site.url, source)
    runtime = made.balancer._instance.running()
    found = totals(made)
    assert (found["places_unknown"], found["places_found"]) == (2, 1)
    text = Metrics(runtime).render().decode()
    assert 'fastlb_geo_lookups_total{outcome="unknown"} 2\n' in text
    assert 'fastlb_geo_built_timestamp_seconds{database="city"} 1700000000\n' in text


# --- files that change ---

def test_replaced_file_is_picked_up(made: TestBalancer, files: dict[str, Any]) -> None:
    site = made.listen(routes=[TELLS])
    assert at(site.url) == "EU/DE/DE-BE/64496"
    replace(Path(files["city"]), database({f"{GERMAN}/32": place("AT", "EU", "9")}))
    made.clock.advance("1s")
    wait_until(lambda: at(site.url) == "EU/AT/AT-9/64496")
    assert at(site.url, AMERICAN) == "///"


@pytest.mark.parametrize(("data", "why"), [
    (None, "can't be read: No such file or directory"),
    (b"", "is no database that can be used"),
    (b"\0" * 4096, "is no database that can be used"),
    (database({"10.0.0.0/8": system(1)}), "knows no country of any network; it calls itself Test"),
])
def test_broken_file_keeps_what_was_known(
    made: TestBalancer, files: dict[str, Any], caplog: pytest.LogCaptureFixture,
    data: bytes | None, why: str,
) -> None:
    path = Path(files["city"])
    site = made.listen(routes=[TELLS])
    assert at(site.url) == "EU/DE/DE-BE/64496"
    if data is None:
        path.unlink()
    else:
        replace(path, data)
    geography = made.balancer._instance.running().geography
    wait_until(lambda: made.clock.advance("1s") is None and geography.failures >= 3)
    assert why in caplog.text
    assert at(site.url) == "EU/DE/DE-BE/64496"
    assert len(re.findall(r"geo\.city: ", caplog.text)) == 1
    assert "what was known of clients is kept" in caplog.text
    replace(path, database({f"{GERMAN}/32": place("AT", "EU")}))
    made.clock.advance("1s")
    wait_until(lambda: at(site.url) == "EU/AT//64496")


@pytest.mark.parametrize("data", [None, b"", b"\xab\xcd\xefMaxMind.com"])
def test_broken_file_is_an_error_at_start(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "x.mmdb"
    if data is not None:
        path.write_bytes(data)
    balancer = fastlb.Balancer(threads=1, geo={"country": str(path)})
    balancer.listen("http://127.0.0.1:0", pool=balancer.pool("p", ["127.0.0.1:9"]))
    with pytest.raises(ConfigError, match=r"x\.mmdb") as raised, balancer.background():
        pass
    assert raised.value.problems[0].path == "geo.country"


def reload(made: TestBalancer, config: dict[str, Any]) -> None:
    asyncio.run(made.balancer.reload(fastlb.Config.build(config)))


def test_reload_takes_other_databases_and_none(
    made: TestBalancer, files: dict[str, Any], tmp_path: Path
) -> None:
    site = made.listen(routes=[TELLS])
    assert at(site.url) == "EU/DE/DE-BE/64496"
    config = made.balancer.config.model_dump(by_alias=True, exclude_unset=True)
    (tmp_path / "c").write_bytes(database({f"{GERMAN}/32": place("AT")}))
    config["geo"] = {"country": str(tmp_path / "c")}
    reload(made, config)
    assert at(site.url) == "/AT//"
    config["geo"] = {**files, "overrides": {f"{GERMAN}/32": {"country": "CH"}}}
    reload(made, config)
    assert (at(site.url), at(site.url, AMERICAN)) == ("/CH//", "NA/US/US-CA/")
    broken = {**config, "geo": {"asn": str(tmp_path / "none")}}
    with pytest.raises(ConfigError, match="can't be read"):
        reload(made, broken)
    assert at(site.url) == "/CH//"
    del config["geo"]
    reload(made, config)
    assert at(site.url) == "///"
    config["geo"] = files
    reload(made, config)
    assert at(site.url) == "EU/DE/DE-BE/64496"


def test_200_replacements_under_load_leave_no_answer_wrong(
    made: TestBalancer, files: dict[str, Any]
) -> None:
    """Each database has another country with its own region. A request that sees two databases has
    the country of one and the region of another."""
    site = made.listen(routes=[TELLS])
    codes = [f"{a}{b}" for a in "ABCDE" for b in "FGHIJ"]
    data = [database({"127.0.0.0/8": place(code, "EU", code)}) for code in codes]
    path = Path(files["city"])
    replace(path, data[0])
    at(site.url)
    made.clock.advance("1s")
    wait_until(lambda: at(site.url).startswith(f"EU/{codes[0]}/"))
    wrong: list[str] = []
    seen: set[str] = set()
    asked = 0
    over = threading.Event()

    def ask() -> None:
        nonlocal asked
        with client_at(GERMAN) as client:
            while not over.is_set():
                got = client.get(site.url).headers["x-at"]
                found = re.fullmatch(r"EU/(..)/(..)-(..)/64496", got)
                if found is None or len(set(found.groups())) != 1 or found[1] not in codes:
                    wrong.append(got)
                else:
                    seen.add(found[1])
                asked += 1

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    geography = made.balancer._instance.running().geography
    for n in range(200):
        before = geography.read["city"]
        replace(path, data[(n + 1) % len(data)])
        while geography.read["city"] is before:
            made.clock.advance("1s")
        if n % 20 == 0:
            then = asked
            wait_until(lambda then=then: asked > then + 2)
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(seen) >= 5
    wait_until(lambda: made.clock.advance("1s") is None and len(geography._retiring) == 0)


def test_a_request_keeps_its_place_while_it_waits(
    made: TestBalancer, files: dict[str, Any]
) -> None:
    """What was found for a route holds for the rest of the request, whatever comes meanwhile."""
    asked, go_on = threading.Event(), threading.Event()
    origin = made.origin()
    site = made.listen(pool=made.pool("p", servers=[origin]))

    @site.route("/*", name="asks", deadline="1h", match={"client": {"country": "DE"}},
                request_headers={"set": {"x-at": "{client.country}/{client.region}"}})
    async def asks(request: fastlb.Request) -> None:
        asked.set()
        await asyncio.to_thread(go_on.wait, DEADLINE_S)

    thread = threading.Thread(target=get, args=(site.url, GERMAN))
    thread.start()
    assert asked.wait(DEADLINE_S)
    geography = made.balancer._instance.running().geography
    before = geography.read["city"]
    replace(Path(files["city"]), database({f"{GERMAN}/32": place("AT", "EU", "9")}))
    while geography.read["city"] is before:
        made.clock.advance("1s")
    go_on.set()
    thread.join()
    assert [one.headers["x-at"] for one in origin.requests] == ["DE/DE-BE"]


# --- what is said of it ---

def test_explain_says_where_a_client_is(made: TestBalancer) -> None:
    site = made.listen(routes=[TELLS])
    for client, expected in ((f"{GERMAN}:7", "in DE-BE (EU), AS 64496"),
                             (CANADIAN, "in CA (NA)"), (NOBODY, "where it is isn't known")):
        found = made.balancer.explain("GET", site.url, client=client)
        assert found.place == expected
        assert expected in str(found)
    assert totals(made)["places_found"] == 0


# --- nearest ---

def zoned(made: TestBalancer, **nearest: Any) -> tuple[fastlb.Listener, dict[str, Any]]:
    origins = {zone: made.origin(name=zone) for zone in ("eu", "us", "ca")}
    pool = made.pool("p", servers=[
        fastlb.Server(one.address, zone=zone) for zone, one in origins.items()
    ], nearest=nearest, retry={"attempts": 1}, outliers={"consecutive_failures": 1})
    return made.listen(pool=pool), origins


def served_by(url: str, source: str) -> str:
    return get(url, source).text.strip()


def test_clients_get_the_zone_that_comes_first_for_them(made: TestBalancer) -> None:
    site, _ = zoned(made, country={"CA": ["ca", "us"]}, continent={"EU": "eu", "NA": ["us", "ca"]},
                    others=["ca"])
    for source, zone in ((GERMAN, "eu"), (AMERICAN, "us"), (CANADIAN, "ca"), (NOBODY, "ca")):
        assert [served_by(site.url, source) for _ in range(4)] == [zone] * 4, source


def test_clients_get_the_next_zone_while_the_first_has_no_healthy_server(
    made: TestBalancer
) -> None:
    site, origins = zoned(made, continent={"EU": ["eu", "ca", "us"], "NA": ["us", "eu"]})
    assert served_by(site.url, GERMAN) == "eu"
    servers = {zone: made.balancer.pools["p"].servers[one.address]
               for zone, one in origins.items()}
    servers["eu"].disable()
    wait_until(lambda: served_by(site.url, GERMAN) == "ca")
    assert served_by(site.url, AMERICAN) == "us"
    servers["us"].disable()
    wait_until(lambda: served_by(site.url, AMERICAN) == "ca")       # (us, then eu, then the rest)
    servers["eu"].enable()
    wait_until(lambda: served_by(site.url, AMERICAN) == "eu")
    assert served_by(site.url, GERMAN) == "eu"


def test_priority_comes_before_zones(made: TestBalancer) -> None:
    first, second = made.origin(name="first"), made.origin(name="second")
    pool = made.pool("p", servers=[
        fastlb.Server(first.address, zone="us"), fastlb.Server(second.address, zone="eu",
                                                               priority=1)],
        nearest={"continent": {"EU": ["eu", "us"]}})
    site = made.listen(pool=pool)
    assert {served_by(site.url, GERMAN) for _ in range(3)} == {"first"}


def test_connections_and_sessions_get_the_nearest_zone_too(made: TestBalancer) -> None:
    tcp = {zone: made.tcp_origin(greeting=zone.encode()) for zone in ("eu", "us")}
    udp = {zone: made.udp_origin(zone.encode()) for zone in ("eu", "us")}
    nearest: Any = {"continent": {"EU": "eu", "NA": "us"}}
    sites = []
    for scheme, origins in (("tcp", tcp), ("udp", udp)):
        pool = made.pool(scheme, servers=[
            fastlb.Server(one.address, zone=zone) for zone, one in origins.items()],
            nearest=nearest)
        sites.append(made.listen(f"{scheme}://127.0.0.1:0", pool=pool))
    for source, zone in ((GERMAN, b"eu"), (AMERICAN, b"us")) * 2:
        with from_source(sites[0].url, source) as client:
            assert client.recv(2) == zone
        with from_source(sites[1].url, source, socket.SOCK_DGRAM) as client:
            client.send(b"x")
            assert client.recv(9) == zone


def test_explain_names_the_nearest_server(made: TestBalancer) -> None:
    site, origins = zoned(made, continent={"EU": "eu", "NA": ["us", "ca"]})
    for source, zone in ((GERMAN, "eu"), (AMERICAN, "us")):
        assert made.balancer.explain("GET", site.url, client=source).server == \
            origins[zone].address
