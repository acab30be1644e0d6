"""Each http example does what its comments say, with real clients and servers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from websockets.asyncio.client import connect

from tests.examples.conftest import Example
from tests.flow.conftest import DEADLINE_S

Run = Callable[[str], Example]
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148"
TABLET = "Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148"


def test_api(example: Run) -> None:
    api = example("api.toml")
    assert {api.who("/users/1") for _ in range(4)} == {"users 0", "users 1"}
    assert api.pool("/users", "POST") == "users"
    assert api.pool("/search/x?q=1") == "search"
    assert {api.who("/orders/7") for _ in range(4)} == {"orders-replicas 0", "orders-replicas 1"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert api.pool("/orders/7", method) == "orders-primary"
    assert api.pool("/orders/7", x_consistency="strong") == "orders-primary"
    assert api.who("/elsewhere") == "404"
    assert api.client.post("/users", content=bytes(2 << 20)).status_code == 413
    seen = api.client.get("/users", headers={"x-forwarded-for": "6.6.6.6"}).json()["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1" and "x-forwarded-host" not in seen


def test_mobile(example: Run) -> None:
    web = example("mobile.toml")
    assert web.pool("/", user_agent="Mozilla/5.0 (X11; Linux x86_64)") == "desktop"
    assert web.pool("/", user_agent=PHONE) == "mobile"
    assert web.pool("/", user_agent=TABLET) == "desktop"
    assert web.pool("/", x_client="android/3.1") == "mobile"
    assert web.pool("/", x_client="windows/3.1") == "desktop"
    seen = web.client.get("/", headers={"x-client": "ios/1", "x-device": "x"}).json()["headers"]
    assert seen["x-device"] == "app"


def test_chat(example: Run) -> None:
    chat = example("chat.toml")
    homes = {team: chat.who(f"/teams/{team}/messages", "POST") for team in range(40)}
    assert len(set(homes.values())) == 3
    with ThreadPoolExecutor(4) as pool:                     # whoever asks, and over any connection
        for team, home in homes.items():
            asked = pool.map(lambda _, team=team: httpx.post(
                f"{chat.url}/teams/{team}/messages", trust_env=False,
                timeout=DEADLINE_S).json()["name"], range(2))
            assert set(asked) == {home}
    sent = 200
    with chat.client.stream("GET", "/teams/7/events", timeout=30) as events:
        assert events.headers["x-server"] == homes[7]
        assert events.headers["x-accel-buffering"] == "no"
        lines = events.iter_lines()
        assert next(lines) == ": here"
        next(lines)
        with httpx.Client(base_url=chat.url, trust_env=False, timeout=DEADLINE_S) as poster:
            for i in range(sent):                           # each arrives before the next is sent
                poster.post("/teams/7/messages", content=f"message {i}")
                assert next(lines) == f"data: message {i}"
                assert next(lines) == ""
            poster.post("/teams/7/messages", content="end")
        assert list(lines) == []

    async def talk() -> None:
        url = chat.url.replace("http://", "ws://")
        async with connect(f"{url}/teams/7/socket", open_timeout=DEADLINE_S) as ws:
            for i in range(50):
                await ws.send(str(i))
                assert await ws.recv() == f"{homes[7]}: {i}"

    asyncio.run(talk())


def test_documents(example: Run) -> None:
    editor = example("documents.toml")
    url = editor.url.replace("http://", "ws://")

    async def where(query: str, **headers: str) -> str:
        async with connect(f"{url}{query}", additional_headers=headers,
                           open_timeout=DEADLINE_S) as ws:
            await ws.send("x")
            return str(await ws.recv()).removesuffix(": x")

    async def all_meet(doc: str) -> None:
        home = editor.who(f"/docs/{doc}/text")
        assert home.startswith("standard")
        assert editor.who(f"/docs/{doc}/comments", "POST") == home
        assert await where(f"/docs/{doc}/live") == home
        assert await where(f"/sync?doc_id={doc}") == home
        fast = editor.who(f"/docs/{doc}/text", x_team_tier="premium")
        assert fast.startswith("premium")
        assert await where(f"/docs/{doc}/live", **{"x-team-tier": "premium"}) == fast
        assert await where(f"/sync?tier=premium&doc_id={doc}") == fast

    async def main() -> None:
        for i in range(12):
            await all_meet(f"doc-{i}")

    asyncio.run(main())
    assert {editor.who(f"/docs/{i}/x") for i in range(60)} == {f"standard {i}" for i in range(3)}
    assert editor.who("/sync") == "404"


def test_video(example: Run) -> None:
    video = example("video.toml")
    assert video.pool("/watch/1/0.ts") == "eu-sd"
    assert video.pool("/watch/1/0.ts", x_region="eu", x_quality="720p") == "eu-sd"
    assert video.pool("/watch/1/0.ts", x_region="us", x_quality="720p") == "us-sd"
    for region in ("eu", "us"):
        keys = {"x_region": region, "x_quality": "2160p"}
        homes = {i: video.who(f"/watch/{i}/0.ts", **keys) for i in range(30)}
        assert set(homes.values()) == {f"{region}-hd 0", f"{region}-hd 1"}
        for i, home in homes.items():
            assert video.who(f"/watch/{i}/1.ts", **keys) == home
    got = video.client.get("/watch/1/0.ts", headers={"x-region": "ap"})
    assert got.status_code == 307
    assert got.headers["location"] == "https://ap.video.example/watch/1/0.ts"


def test_experiment(example: Run) -> None:
    shop = example("experiment.toml")
    halves = {i: shop.pool("/checkout/cart", cookie=f"user={i}") for i in range(200)}
    shares = Counter(halves.values())
    assert set(shares) == {"checkout-a", "checkout-b"} and min(shares.values()) > 60
    for i in range(0, 200, 7):
        assert shop.pool("/checkout/pay", cookie=f"a=b; user={i}") == halves[i]
    assert {shop.pool("/checkout/cart") for _ in range(10)} == {shop.pool("/checkout/cart")}
    assert shop.client.get("/checkout/cart").headers["x-experiment"] == "checkout"
    assert {shop.pool("/", cookie="canary=1") for _ in range(20)} == {"next"}
    canary = Counter(shop.pool("/") for _ in range(1000))
    assert set(canary) == {"stable", "next"} and 15 <= canary["next"] <= 100
