"""Brokers of MQTT, each a mosquitto, and devices, by paho."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.examples.programs import Program, Programs, found
from tests.flow.conftest import DEADLINE_S
from tests.ports import free_ports

MOSQUITTO = found("mosquitto")
NAME = "broker"             # where each broker has its own, for who asks
BRIDGED = "devices/#"
SESSION_S = 600

CONFIG = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
log_dest stderr
log_type all
user root
"""
BRIDGE = """\
connection bridge-{port}
address 127.0.0.1:{hub}
topic {topics} both 1
notifications false
bridge_protocol_version mqttv311
restart_timeout 1
"""


class Device:
    """A client that keeps its session when it leaves, and is told things with QoS 1."""

    def __init__(self, where: tuple[str, int], client_id: str, level: str = "3.1.1") -> None:
        self.client_id = client_id
        self.where = where
        self.five = level == "5"
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, **({} if self.five else {
                "clean_session": False}),
            protocol=mqtt.MQTTv5 if self.five else mqtt.MQTTv311)
        self.connected: queue.Queue[bool] = queue.Queue()       # whether there was a session
        self.left: queue.Queue[object] = queue.Queue()
        self.subscribed: queue.Queue[object] = queue.Queue()
        self.got: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *of: self.left.put(of)
        self.client.on_subscribe = lambda *of: self.subscribed.put(of)
        self.client.on_message = lambda _, __, m: self.got.put((m.topic, m.payload))

    def _on_connect(
        self, client: Any, data: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if not reason.is_failure:
            self.connected.put(flags.session_present)

    def connect(self) -> bool:
        """Whether the broker still had a session of it."""
        keys: dict[str, Any] = {}
        if self.five:
            keys = {"clean_start": False, "properties": Properties(PacketTypes.CONNECT)}
            keys["properties"].SessionExpiryInterval = SESSION_S
        self.client.connect(*self.where, keepalive=60, **keys)
        self.client.loop_start()
        return self.connected.get(timeout=DEADLINE_S)

    def subscribe(self, topic: str) -> None:
        self.client.subscribe(topic, qos=1)
        self.subscribed.get(timeout=DEADLINE_S)

    def publish(self, topic: str, payload: str, retain: bool = False) -> None:
        """Returns when the broker has it."""
        info = self.client.publish(topic, payload, qos=1, retain=retain)
        info.wait_for_publish(DEADLINE_S)
        assert info.is_published()

    def next(self) -> tuple[str, str]:
        """The topic of the next message, and what it says."""
        topic, payload = self.got.get(timeout=DEADLINE_S)
        return topic, payload.decode()

    def broker(self) -> str:
        """Who it is connected to."""
        self.subscribe(NAME)
        topic, name = self.next()
        assert topic == NAME
        self.client.unsubscribe(NAME)
        return name

    def disconnect(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Brokers:
    """By names such as "sensors 0". Those of `bridged` tell each other, by the first of them."""

    def __init__(self, programs: Programs, names: Sequence[str], bridged: str) -> None:
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.running: dict[str, Program] = {}
        hub = next(port for name, port in self.ports.items() if name.startswith(bridged))
        for name, port in self.ports.items():
            text = CONFIG.format(port=port)
            if name.startswith(bridged) and port != hub:
                text += BRIDGE.format(port=port, hub=hub, topics=BRIDGED)
            file = programs.folder / f"{name.replace(' ', '-')}.conf"
            file.write_text(text)
            self.running[name] = programs.start(
                file.stem, str(MOSQUITTO), "-c", str(file), ports=[port])
        for name, program in self.running.items():
            if name.startswith(bridged) and self.ports[name] != hub:
                program.wait_said("Received SUBACK")
        for name, port in self.ports.items():
            writer = Device(("127.0.0.1", port), "writer")
            writer.connect()
            writer.publish(NAME, name, retain=True)
            writer.disconnect()

    def addresses(self, pool: str) -> list[str]:
        return [f"127.0.0.1:{port}" for name, port in self.ports.items()
                if name.startswith(f"{pool} ")]
