"""examples/live.toml: an encoder publishes by RTMP, nginx makes HLS of it, and viewers get both,
through one port."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.examples.programs import RTMP_MODULE, Program, Programs, found, programs_in
from tests.examples.running import Running, Start
from tests.flow.conftest import DEADLINE_S, wait_until
from tests.ports import free_ports

FFMPEG, FFPROBE = found("ffmpeg"), found("ffprobe")
NGINX = Path("/usr/sbin/nginx")           # of the same version as its module
pytestmark = [
    pytest.mark.skipif(
        FFMPEG is None or FFPROBE is None, reason="there is no ffmpeg (apt-get install ffmpeg)"),
    pytest.mark.skipif(
        not (NGINX.exists() and RTMP_MODULE.exists()),
        reason="there is no nginx for RTMP (apt-get install libnginx-mod-rtmp)"),
    pytest.mark.slow,
]

QUALITIES = {"hd": 128, "sd": 64}           # how wide their pictures are
REGIONS = {"eu": "live.example", "us": "us.live.example"}
# Of each region: what pools need, and which quality it is.
SERVERS = {"hd 0": "hd", "hd 1": "hd", "sd 0": "sd"}

MAIN = """\
load_module {module};
daemon off;
master_process off;
worker_processes 1;
pid {name}.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
rtmp {{ server {{
    listen 127.0.0.1:{rtmp};
    notify_method get;
    {applications}
}} }}
"""
WEB = """\
http {{
    access_log off;
    client_body_temp_path {name}.body; proxy_temp_path {name}.proxy; fastcgi_temp_path {name}.fcgi;
    uwsgi_temp_path {name}.uwsgi; scgi_temp_path {name}.scgi;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
    root {folder}/{name};
    {servers}
}}
"""


class Studio:
    """Two ingest servers, which push to two regions, each an nginx."""

    def __init__(self, programs: Programs) -> None:
        self.programs = programs
        self.rtmp = dict(zip(["ingest 0", "ingest 1", *REGIONS], free_ports(4), strict=True))
        ports = iter(free_ports(len(REGIONS) * len(SERVERS)))
        self.web = {f"{region}-{name}": next(ports) for region in REGIONS for name in SERVERS}
        self.running: dict[str, Program] = {}
        for region in REGIONS:
            self._region(region)
        for i in range(2):
            self._ingest(f"ingest {i}")

    def addresses(self) -> dict[str, list[str]]:
        """The servers of each pool."""
        found: dict[str, list[str]] = {}
        for name, port in {**self.web, **self.rtmp}.items():
            if " " in name:
                found.setdefault(name.split()[0], []).append(f"127.0.0.1:{port}")
        return found

    def _nginx(self, name: str, config: str, *ports: int) -> None:
        file = self.programs.folder / f"{name.replace(' ', '-')}.conf"
        file.write_text(config)
        self.running[name] = self.programs.start(
            file.stem, str(NGINX), "-p", str(self.programs.folder), "-e", "stderr",
            "-c", str(file), ports=ports)

    def _ingest(self, name: str) -> None:
        applications = "".join(
            f"application {quality} {{ live on; "
            + "".join(f"push rtmp://127.0.0.1:{self.rtmp[region]}/{quality}; "
                      for region in REGIONS) + "}\n"
            for quality in QUALITIES)
        self._nginx(name, MAIN.format(
            module=RTMP_MODULE, name=name.replace(" ", "-"), rtmp=self.rtmp[name],
            applications=applications), self.rtmp[name])

    def _region(self, region: str) -> None:
        folder = self.programs.folder
        for quality in QUALITIES:
            (folder / region / quality).mkdir(parents=True)
        applications = "".join(
            f"application {quality} {{ live on; hls on; hls_path {folder}/{region}/{quality}; "
            "hls_nested on; hls_continuous on; hls_fragment 1s; hls_playlist_length 30s; }\n"
            for quality in QUALITIES)
        servers = "".join(
            f"server {{ listen 127.0.0.1:{self.web[f'{region}-{name}']}; "
            f'add_header x-served-by "{region}-{name}" always; }}\n' for name in SERVERS)
        ports = [self.rtmp[region], *(self.web[f"{region}-{name}"] for name in SERVERS)]
        self._nginx(region, MAIN.format(
            module=RTMP_MODULE, name=region, rtmp=self.rtmp[region], applications=applications
        ) + WEB.format(name=region, folder=folder, servers=servers), *ports)

    def publish(self, where: tuple[str, int], show: str) -> Program:
        """An encoder, of both qualities, until it is stopped or ten minutes are over."""
        source = ["-re", "-f", "lavfi", "-i", "testsrc=size=128x72:rate=10",
                  "-f", "lavfi", "-i", "sine=frequency=440"]
        # A key frame each second, so that each second can be a segment.
        coded = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10",
                 "-pix_fmt", "yuv420p", "-c:a", "aac", "-t", "600", "-f", "flv"]
        outputs = [
            word for quality, width in QUALITIES.items()
            for word in ["-map", "0:v", "-map", "1:a", "-s", f"{width}x{width * 9 // 16}", *coded,
                         f"rtmp://{where[0]}:{where[1]}/{quality}/{show}"]
        ]
        return self.programs.start(
            f"encoder-{len(self.programs.running)}", str(FFMPEG), "-nostdin", "-loglevel",
            "warning", *source, *outputs)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with programs_in(tmp_path) as programs:
        yield Studio(programs)


@pytest.fixture
def live(start: Start, studio: Studio) -> Iterator[Running]:
    yield start("live.toml", studio.addresses())
    studio.programs.stop()


Viewer = Callable[..., httpx.Response]


@pytest.fixture
def watch(live: Running) -> Iterator[Viewer]:
    """Asks for a path in a region, through the port that encoders publish to."""
    with httpx.Client(trust_env=False, timeout=DEADLINE_S) as client:
        host, port = live.where("live")

        def get(region: str, path: str, by: httpx.Client = client) -> httpx.Response:
            return by.get(f"http://{host}:{port}{path}", headers={"host": REGIONS[region]})

        yield get


def segments(playlist: httpx.Response) -> list[str]:
    lines = playlist.text.splitlines() if playlist.status_code == 200 else []
    return [line for line in lines if line.endswith(".ts")]


def wait_segments(watch: Viewer, region: str, path: str, after: int = 0) -> list[str]:
    """The playlist's segments, once there are two more than `after`."""
    wait_until(lambda: len(segments(watch(region, path))) >= after + 2,
               lambda: f"{region}{path}: {watch(region, path).text}")
    return segments(watch(region, path))


def width_of(url: str, *options: str) -> int:
    """Of the picture that a player gets, sound beside it."""
    said = subprocess.run(
        [str(FFPROBE), "-loglevel", "error", *options, "-show_streams", "-of", "json", url],
        capture_output=True, text=True, timeout=DEADLINE_S * 4)
    assert said.returncode == 0, said.stderr
    streams = {stream["codec_name"]: stream for stream in json.loads(said.stdout)["streams"]}
    assert streams.keys() == {"h264", "aac"}
    return int(streams["h264"]["width"])


def connections(live: Running, pool: str) -> list[int]:
    return [stats["connections"] for stats in live.pool(pool).stats().values()]


def test_a_stream_and_its_viewers_share_a_port(
    live: Running, studio: Studio, watch: Viewer
) -> None:
    encoder = studio.publish(live.where("live"), "show")
    host, port = live.where("live")
    for region, host_name in REGIONS.items():
        for quality, width in QUALITIES.items():
            path = f"/{quality}/show/index.m3u8"
            names = wait_segments(watch, region, path)
            playlist = watch(region, path)
            served_by = playlist.headers["x-served-by"]
            assert served_by.rpartition(" ")[0] == f"{region}-{quality}"
            for name in names[:2]:          # from the server that has the playlist
                segment = watch(region, f"/{quality}/show/{name}")
                assert segment.headers["x-served-by"] == served_by
                assert segment.content[:1] == b"\x47"       # of MPEG-TS, each packet's first byte
            # A player's own way: the playlist, and what it names.
            assert width_of(f"http://{host}:{port}{path}", "-headers",
                            f"Host: {host_name}\r\n") == width
    assert width_of(f"rtmp://{host}:{port}/sd/show") == QUALITIES["sd"]
    assert connections(live, "ingest")[0] >= 3      # two published, one played
    assert connections(live, "ingest")[1] == 0
    assert encoder.process.poll() is None, encoder.said()
    with httpx.Client(http1=False, http2=True, trust_env=False,
                      timeout=DEADLINE_S) as client:
        got = watch("us", "/sd/show/index.m3u8", client)
        assert got.http_version == "HTTP/2" and got.headers["x-served-by"] == "us-sd 0"
    assert watch("us", "/4k/show/index.m3u8").status_code == 404


def test_shows_are_spread_over_the_servers_of_a_quality(live: Running, watch: Viewer) -> None:
    homes = {show: watch("eu", f"/hd/{show}/index.m3u8").headers["x-served-by"]
             for show in map(str, range(30))}
    assert set(homes.values()) == {"eu-hd 0", "eu-hd 1"}
    for show, home in homes.items():
        assert watch("eu", f"/hd/{show}/0.ts").headers["x-served-by"] == home


def test_an_encoder_comes_back_to_the_other_ingest_server(
    live: Running, studio: Studio, watch: Viewer
) -> None:
    path = "/sd/show/index.m3u8"
    encoder = studio.publish(live.where("live"), "show")
    wait_segments(watch, "eu", path)
    studio.running["ingest 0"].stop()
    wait_until(lambda: encoder.process.poll() is not None, encoder.said)    # it was told
    assert connections(live, "ingest")[1] == 0
    before = len(segments(watch("eu", path)))
    studio.publish(live.where("live"), "show")
    wait_segments(watch, "eu", path, after=before)
    assert connections(live, "ingest")[1] == 2
