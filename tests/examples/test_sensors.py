"""examples/sensors.toml: real brokers of MQTT, servers of CoAP, and clients of both and HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

pytest.importorskip("aiocoap", reason="aiocoap isn't installed (pip install aiocoap)")
pytest.importorskip("paho.mqtt", reason="paho-mqtt isn't installed (pip install paho-mqtt)")

from tests.examples.applications import Servers
from tests.examples.brokers import MOSQUITTO, Brokers, Device
from tests.examples.coap import Coap
from tests.examples.programs import programs_in
from tests.examples.running import Running, Start
from tests.flow.conftest import DEADLINE_S, wait_until

pytestmark = [
    pytest.mark.skipif(
        MOSQUITTO is None, reason="there is no mosquitto (apt-get install mosquitto)"),
    pytest.mark.slow,
]

SENSORS = [f"sensors {i}" for i in range(3)]
METERS = [f"meters {i}" for i in range(2)]
COAP = [f"coap {i}" for i in range(2)]


@pytest.fixture
def brokers(tmp_path: Path) -> Iterator[Brokers]:
    with programs_in(tmp_path) as programs:
        yield Brokers(programs, SENSORS + METERS, "sensors")


@pytest.fixture
def coap() -> Iterator[Coap]:
    made = Coap(*COAP)
    yield made
    made.close()


@pytest.fixture
def sensors(start: Start, brokers: Brokers, coap: Coap, servers: Servers) -> Running:
    return start("sensors.toml", {
        "sensors": brokers.addresses("sensors"), "meters": brokers.addresses("meters"),
        "readings": [servers.start(f"readings {i}") for i in range(2)],
        "coap": [f"127.0.0.1:{port}" for port in coap.ports.values()],
    })


Devices = Callable[..., Device]


@pytest.fixture
def device(sensors: Running) -> Iterator[Devices]:
    """Makes clients by their ids, which are connected through the balancer."""
    with ExitStack() as stack:

        def make(client_id: str, level: str = "3.1.1") -> Device:
            one = Device(sensors.where("devices"), client_id, level)
            stack.callback(one.disconnect)
            one.connect()
            return one

        yield make


def homes_of(device: Devices, ids: list[str]) -> dict[str, str]:
    found = {}
    for name in ids:
        one = device(name)
        found[name] = one.broker()
        one.disconnect()
    return found


def test_a_device_has_one_broker_and_each_class_its_own(device: Devices) -> None:
    sensors = homes_of(device, [f"sensor-{i}" for i in range(40)])
    meters = homes_of(device, [f"meter-{i}" for i in range(20)])
    assert set(sensors.values()) == set(SENSORS)
    assert set(meters.values()) == set(METERS)
    for homes in (sensors, meters):
        some = dict(list(homes.items())[:8])
        assert homes_of(device, list(some)) == some


@pytest.mark.parametrize("level", ["3.1.1", "5"])
def test_what_a_device_missed_waits_at_its_broker(device: Devices, level: str) -> None:
    valve = device("valve", level)
    home = valve.broker()
    topic = "devices/valve/orders"
    valve.subscribe(topic)
    others = homes_of(device, [f"desk-{i}" for i in range(40)])
    away = device(next(name for name, other in others.items() if other != home), level)
    near = device(next(name for name, other in others.items() if other == home), level)
    away.publish(topic, "open")                     # from one broker to the other
    assert valve.next() == (topic, "open")
    valve.disconnect()
    near.publish(topic, "shut")
    for i in range(20):
        away.publish(topic, f"order {i}")
    # That all of it has come over the bridge, an observer at the same broker knows.
    guard = device(next(name for name, other in others.items()
                        if other == home and name != near.client_id), level)
    guard.subscribe("devices/valve/done")
    away.publish("devices/valve/done", "")
    assert guard.next() == ("devices/valve/done", "")
    assert valve.connect()                          # the session is still there
    assert valve.next() == (topic, "shut")
    assert [valve.next() for _ in range(20)] == [(topic, f"order {i}") for i in range(20)]


def test_devices_of_a_broker_that_dies_go_to_the_others(
    device: Devices, brokers: Brokers
) -> None:
    devices = [device(f"sensor-{i}") for i in range(12)]
    homes = {one: one.broker() for one in devices}
    lost = next(name for name in homes.values() if name != SENSORS[0])    # the others' bridge
    brokers.running[lost].stop()
    for one, home in homes.items():
        if home == lost:                            # paho tries again by itself
            assert not one.connected.get(timeout=DEADLINE_S)
            assert one.broker() in set(SENSORS) - {lost}
        else:
            assert one.broker() == home
            assert one.left.empty()
    some = devices[0].client_id
    devices[0].subscribe(f"devices/{some}/orders")
    devices[-1].publish(f"devices/{some}/orders", "still here")
    assert devices[0].next() == (f"devices/{some}/orders", "still here")


def test_readings_come_by_http_on_the_same_port(sensors: Running, device: Devices) -> None:
    host, port = sensors.where("devices")
    device("sensor-1")
    for versions in ({}, {"http1": False, "http2": True}):
        with httpx.Client(base_url=f"http://{host}:{port}", trust_env=False, timeout=DEADLINE_S,
                          **versions) as client:
            def home(i: int, client: httpx.Client = client) -> str:
                got = client.post(f"/devices/{i}/readings", json={"celsius": 21.5})
                assert got.status_code == 200
                return str(got.json()["name"])

            homes = {i: home(i) for i in range(30)}
            assert set(homes.values()) == {"readings 0", "readings 1"}
            assert {i: home(i) for i in range(30)} == homes
            assert client.get("/devices/1/readings").status_code == 404
    got = httpx.post(f"http://{host}:{port}/devices/1/readings", content=bytes(65 << 10),
                     trust_env=False, timeout=DEADLINE_S)
    assert got.status_code == 413


def test_coap(sensors: Running, coap: Coap) -> None:
    url = "coap://{}:{}".format(*sensors.where("coap"))
    clients = {one: coap.ask(one, f"{url}/who") for one in [coap.client() for _ in range(24)]}
    assert set(clients.values()) == set(COAP)
    for one, home in clients.items():
        assert coap.ask(one, f"{url}/who") == home
        # In several messages (RFC 7959), which one server has to get.
        assert coap.ask(one, f"{url}/who", bytes(5000)) == f"{home}: 5000"
    observers = {one: coap.observe(one, f"{url}/level") for one in clients}
    assert {seen.first() for seen in observers.values()} == {"0"}
    for value in range(1, 6):
        for name in COAP:
            coap.loop.call_soon_threadsafe(coap.levels[name].set, value)
        assert {seen.next() for seen in observers.values()} == {str(value)}
    for seen in observers.values():
        seen.cancel()
    assert sensors.dropped() == {}


def test_clients_of_a_coap_server_that_dies_go_to_the_other(
    sensors: Running, coap: Coap
) -> None:
    url = "coap://{}:{}".format(*sensors.where("coap"))
    clients = {one: coap.ask(one, f"{url}/who") for one in [coap.client() for _ in range(12)]}
    lost, kept = COAP
    coap.stop(lost)
    stats = sensors.pool("coap").stats
    wait_until(lambda: stats()[f"127.0.0.1:{coap.ports[lost]}"]["up"] == 0)
    assert stats()[f"127.0.0.1:{coap.ports[kept]}"]["up"] == 1      # it answers pings
    assert {coap.ask(one, f"{url}/who") for one in clients} == {kept}
