"""Rate limits of routes: who is refused, what clients are told, and when they may come again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import fastlb
from fastlb.testing import Answer, TestBalancer
from tests.flow.conftest import DEADLINE_S
from tests.flow.http.peers import Wire


@pytest.fixture(params=[0, 2], ids=["inline", "threads"])
def made(request: pytest.FixtureRequest) -> Iterator[TestBalancer]:
    with TestBalancer(threads=request.param) as balancer:
        yield balancer


def site(made: TestBalancer, limit: Any, **keys: Any) -> fastlb.Listener:
    origin = made.origin()
    return made.listen(pool=made.pool(servers=[origin]), rate_limit=limit, **keys)


def parts(field: str) -> tuple[str, int, int]:
    """The name, r and t of one limit."""
    name, left, seconds = field.split(";")
    return name, int(left.removeprefix("r=")), int(seconds.removeprefix("t="))


def is_near(seconds: int | str, expected: int) -> bool:
    """The system's clock goes on beside the test's: a minute of it is more than a test takes."""
    return expected - 60 <= int(seconds) <= expected


def get(url: str, **keys: Any) -> httpx.Response:
    return httpx.get(url, timeout=DEADLINE_S, **keys)


def post(url: str, **keys: Any) -> httpx.Response:
    return httpx.post(url, timeout=DEADLINE_S, **keys)


def statuses(url: str, n: int, **keys: Any) -> list[int]:
    with httpx.Client(timeout=DEADLINE_S) as client:
        return [client.get(url, **keys).status_code for _ in range(n)]


def test_101st_request_is_refused(made: TestBalancer) -> None:
    web = site(made, {"limit": "100/d"})        # (one comes back in 14 minutes)
    assert statuses(web.url, 101) == [200] * 100 + [429]
    made.clock.advance("1d")
    assert statuses(web.url, 101) == [200] * 100 + [429]


def test_burst_comes_at_once_and_the_rest_evenly(made: TestBalancer) -> None:
    web = site(made, {"limit": "60/d", "burst": 2})
    assert statuses(web.url, 3) == [200, 200, 429]
    made.clock.advance("24m")
    assert statuses(web.url, 2) == [200, 429]
    made.clock.advance("1d")
    assert statuses(web.url, 3) == [200, 200, 429]


def test_refusal_says_when_to_come_back(made: TestBalancer) -> None:
    made.balancer.rate_limit("few", limit="2/h")
    web = site(made, "few")
    with httpx.Client(timeout=DEADLINE_S) as client:
        first = client.get(web.url)
        assert first.headers["ratelimit-policy"] == '"few";q=2;w=3600'
        assert first.headers["ratelimit"] == '"few";r=1;t=1800'
        name, left, seconds = parts(client.get(web.url).headers["ratelimit"])
        assert (name, left) == ('"few"', 0) and is_near(seconds, 3600)
        made.clock.advance("10m")
        refused = client.get(web.url)
    assert refused.status_code == 429
    assert refused.text == "429 Too Many Requests\n"
    assert refused.headers["x-fastlb-error"] == "rate_limited"
    assert is_near(refused.headers["retry-after"], 1200)
    name, left, seconds = parts(refused.headers["ratelimit"])
    assert (name, left) == ('"few"', 0) and is_near(seconds, 3000)
    made.clock.advance("20m")
    assert statuses(web.url, 2) == [200, 429]


def test_clients_that_take_json_are_refused_in_json(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h"})
    fields = {"Accept": "application/json"}
    assert statuses(web.url, 1) == [200]
    refused = get(web.url, headers=fields)
    assert refused.json() == {"status": 429, "error": "Too Many Requests"}


def test_connection_of_a_refused_client_lives_on(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h"})
    client = Wire(made.connect(web))
    for expected in (200, 429, 429):
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().status == expected


@pytest.mark.parametrize("headers", ["x-ratelimit", False])
def test_fields_that_tell_what_is_left_can_be_others(made: TestBalancer, headers: Any) -> None:
    web = site(made, {"limit": "2/h", "headers": headers})
    got = get(web.url).headers
    assert "ratelimit" not in got
    shown = {name: got.get(name) for name in (
        "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")}
    assert [*shown.values()] == (["2", "1", "1800"] if headers else [None] * 3)


def test_each_key_has_a_burst_of_its_own(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h", "key": "header.x-user"})
    for user in ("a", "b", "c"):
        assert statuses(web.url, 2, headers={"x-user": user}) == [200, 429]
    # Without the field, the client's address counts, which is nobody's user.
    assert statuses(web.url, 2) == [200, 429]
    assert statuses(web.url, 1, headers={"x-user": "127.0.0.1"}) == [200]


def test_client_is_who_a_trusted_proxy_says(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h"}, forwarded={"trusted": ["127.0.0.0/8"]})

    def ask(client: str) -> int:
        return get(web.url, headers={"x-forwarded-for": client}).status_code

    assert [ask("203.0.113.7"), ask("203.0.113.8"), ask("203.0.113.7")] == [200, 200, 429]
    assert [ask("203.0.113.8:4711"), ask("::ffff:203.0.113.8")] == [429, 429]
    # Of IPv6, a /64 is one client: whoever has it can use all of its addresses.
    assert [ask("2001:db8::1"), ask("2001:db8::ffff:2"), ask("2001:db8:0:1::1")] == [200, 429, 200]
    assert [ask("unknown"), ask("unknown"), ask("_hidden")] == [200, 429, 200]


def test_client_that_nobody_trusts_is_who_it_is(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h"})
    got = [get(web.url, headers={"x-forwarded-for": f"203.0.113.{i}"}).status_code
           for i in range(3)]
    assert got == [200, 429, 429]


def test_call_of_grpc_is_refused_in_its_words(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h"})
    fields = {"content-type": "application/grpc", "te": "trailers"}
    assert post(web.url, headers=fields).status_code == 200
    refused = post(web.url, headers=fields)
    assert (refused.status_code, refused.headers["grpc-status"]) == (200, "8")
    assert is_near(refused.headers["retry-after"], 3600)
    assert refused.headers["x-fastlb-error"] == "rate_limited"


def test_each_stream_of_http2_is_a_request(made: TestBalancer) -> None:
    web = made.listen("https://127.0.0.1:0", pool=made.pool(servers=[made.origin()]),
                      rate_limit={"limit": "3/h"})
    with httpx.Client(http2=True, verify=made.ssl_context, timeout=DEADLINE_S) as client:
        answers = [client.get(web.url) for _ in range(5)]
    assert {answer.http_version for answer in answers} == {"HTTP/2"}
    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2


def test_upload_of_a_refused_request_is_not_read_by_servers(made: TestBalancer) -> None:
    origin = made.origin()
    web = made.listen(pool=made.pool(servers=[origin]), rate_limit={"limit": "1/h"})
    body = b"x" * 3_000_000
    assert [post(web.url, content=body).status_code for _ in range(2)] == [200, 429]
    assert len(origin.requests) == 1


def test_page_and_edits_of_fields_hold_for_refusals(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h"}, errors={429: {"body": "Not so fast."}},
               response_headers={"set": {"retry-after": "7"}, "remove": ["ratelimit"]})
    assert statuses(web.url, 1) == [200]
    refused = get(web.url)
    assert refused.text == "Not so fast."
    assert refused.headers["retry-after"] == "7"
    assert "ratelimit" not in refused.headers and "ratelimit-policy" in refused.headers


def test_refused_request_takes_nothing_of_other_limits(made: TestBalancer) -> None:
    made.balancer.rate_limit("wide", limit="5/h")
    made.balancer.rate_limit("narrow", limit="1/h", key="header.x-user")
    web = site(made, ["wide", "narrow"])
    assert statuses(web.url, 3, headers={"x-user": "a"}) == [200, 429, 429]
    assert statuses(web.url, 1, headers={"x-user": "b"}) == [200]
    wide = made.balancer.rate_limits["wide"].stats()
    assert (wide["allowed"], wide["refused"]) == (2, 0)
    got = get(web.url, headers={"x-user": "c"})
    wide_left, narrow_left = map(parts, got.headers["ratelimit"].split(", "))
    assert wide_left[:2] == ('"wide"', 2) and is_near(wide_left[2], 2160)
    assert narrow_left == ('"narrow"', 0, 3600)


def test_client_is_told_what_is_left_of_every_limit(made: TestBalancer) -> None:
    """Also of those behind the one that refuses, which have been charged nothing."""
    made.balancer.rate_limit("narrow", limit="1/h", key="header.x-user")
    made.balancer.rate_limit("wide", limit="3/h")
    web = site(made, ["narrow", "wide"])
    assert statuses(web.url, 2, headers={"x-user": "a"}) == [200, 429]
    assert statuses(web.url, 1, headers={"x-user": "b"}) == [200]
    told = get(web.url, headers={"x-user": "a"}).headers["ratelimit"].split(", ")
    assert [parts(one)[:2] for one in told] == [('"narrow"', 0), ('"wide"', 1)]
    assert "1 of 3 left" in made.balancer.explain(
        "GET", web.url, headers={"x-user": "a"}).services[0]


def test_parameter_counts_however_it_is_spelt(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/h", "key": "query.user"})
    got = [statuses(f"{web.url}/?user={spelt}", 1)[0] for spelt in ("bob", "%62ob", "b%6Fb", "eve")]
    assert got == [200, 429, 429, 200]


def test_huge_costs_and_bytes_are_cut_and_not_forgotten(made: TestBalancer) -> None:
    web = site(made, {"limit": "1/d", "cost": {"header": "x-cost"}})
    for cost in ("999999999", "999999999999999", "18446744073709551616"):
        status = statuses(web.url, 1, headers={"x-cost": cost})[0]
        assert status == (429 if len(cost) == 9 else 200 if cost == "999999999999999" else 429)


def test_names_of_any_length_have_both_fields_or_none(made: TestBalancer) -> None:
    names = [chr(97 + i) * 100 for i in range(6)]
    for name in names:
        made.balancer.rate_limit(name, limit="9/h")
    for n in range(1, 7):
        got = get(site(made, names[:n]).url).headers
        assert ("ratelimit" in got) == ("ratelimit-policy" in got)
        assert ("ratelimit" in got) == (n <= 4)


def test_what_was_used_before_a_reload_is_settled_in_the_new_limit() -> None:
    """A request that began under "1000/d" ends under "1000/h": it has cost 100 of them."""
    import threading

    go = threading.Event()

    def slow(request: Any) -> Answer:
        assert go.wait(DEADLINE_S)
        return Answer(200, headers={"x-cost": "100"})

    def config(limit: str, address: str) -> str:
        return f"""
            pools.api = {{ servers = ["{address}"] }}
            rate_limits.few = {{ limit = "{limit}", cost = {{ response_header = "x-cost" }} }}
            [listeners.web]
            bind = "http://127.0.0.1:0"
            pool = "api"
            rate_limit = "few"
        """

    with TestBalancer() as origins:
        address = origins.origin(slow).address

        async def main() -> None:
            async with fastlb.Balancer(config("1000/d", address), threads=1) as lb:
                url = lb.listeners["web"].url
                async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
                    asked = asyncio.ensure_future(client.get(url))
                    while lb.rate_limits["few"].stats()["allowed"] == 0:
                        await asyncio.sleep(0.002)
                    await lb.reload(config("1000/h", address))
                    go.set()
                    told = parts((await asked).headers["ratelimit"])
                    assert told[:2] == ('"few"', 900) and is_near(told[2], 360)

        asyncio.run(main())


def test_handle_stands_for_its_name(made: TestBalancer) -> None:
    few, many = (made.balancer.rate_limit(name, limit=limit)
                 for name, limit in (("few", "5/h"), ("many", "9/h")))
    for value, names in ((few, ['"few"']), ([few, many], ['"few"', '"many"']),
                         ([many, "few"], ['"many"', '"few"'])):
        told = get(site(made, value).url).headers["ratelimit"].split(", ")
        assert [parts(one)[0] for one in told] == names


def test_report_refuses_nobody(made: TestBalancer) -> None:
    made.balancer.rate_limit("seen", limit="1/h", report=True)
    web = site(made, "seen")
    assert statuses(web.url, 3) == [200, 200, 200]
    stats = made.balancer.rate_limits["seen"].stats()
    assert (stats["allowed"], stats["refused"], stats["reported"]) == (1, 0, 2)


def test_cost_of_a_request_is_what_its_field_says(made: TestBalancer) -> None:
    web = site(made, {"limit": "10/h", "cost": {"header": "x-cost"}})
    assert statuses(web.url, 1, headers={"x-cost": "7"}) == [200]
    assert statuses(web.url, 1, headers={"x-cost": "4"}) == [429]
    assert statuses(web.url, 1, headers={"x-cost": "0"}) == [200]
    assert statuses(web.url, 1, headers={"x-cost": "many"}) == [200]        # (1)
    assert statuses(web.url, 1, headers={"x-cost": "2"}) == [200]
    assert statuses(web.url, 1) == [429]


def test_cost_that_the_server_tells_is_settled_afterwards(made: TestBalancer) -> None:
    origin = made.origin(Answer(200, headers={"x-cost": "7"}))
    web = made.listen(pool=made.pool(servers=[origin]), rate_limit={
        "limit": "10/h", "cost": {"response_header": "x-cost", "fixed": 2}})
    name, left, seconds = parts(get(web.url).headers["ratelimit"])
    assert (name, left) == ('"listener1/*"', 3) and is_near(seconds, 2520)
    assert statuses(web.url, 2) == [200, 429]       # (2 of 3 are reserved, and 7 are charged)


def test_bytes_are_charged_when_they_are_known(made: TestBalancer) -> None:
    origin = made.origin(Answer(200, body=b"x" * 600_000))
    web = made.listen(pool=made.pool(servers=[origin]), rate_limit={"limit": "1MB/h"})
    assert statuses(web.url, 3) == [200, 200, 429]
    made.clock.advance("30m")
    assert statuses(web.url, 2) == [200, 429]


def test_routes_that_answer_by_themselves_are_limited_too(made: TestBalancer) -> None:
    web = made.listen(rate_limit={"limit": "1/h"}, routes=[
        {"name": "hello", "match": {"path": "/hello"}, "respond": {"body": "hello"}},
        {"name": "moved", "match": {"path": "/moved"}, "redirect": "/hello", "rate_limit": []}])
    assert statuses(f"{web.url}/hello", 2) == [200, 429]
    assert statuses(f"{web.url}/moved", 2) == [302, 302]


def test_limit_of_a_listener_counts_all_of_its_routes_together(made: TestBalancer) -> None:
    pool = made.pool(servers=[made.origin()])
    web = made.listen(rate_limit={"limit": "2/h"}, routes=[
        {"name": "a", "match": {"path": "/a"}, "pool": pool.name},
        {"name": "b", "match": {"path": "/b"}, "pool": pool.name},
        {"name": "c", "match": {"path": "/c"}, "pool": pool.name, "rate_limit": {"limit": "1/h"}}])
    assert statuses(f"{web.url}/a", 1) == [200]
    assert statuses(f"{web.url}/b", 2) == [200, 429]
    assert statuses(f"{web.url}/a", 1) == [429]
    assert statuses(f"{web.url}/c", 2) == [200, 429]


def test_limit_that_is_written_in_place_is_no_other_ones_namesake(made: TestBalancer) -> None:
    pool = made.pool(servers=[made.origin()])
    for name in ("web", "web.a", "web.a.2"):
        made.balancer.rate_limit(name, limit="9/h")
    both = [{"limit": "2/h"}, {"limit": "3/h"}]
    web = made.listen(name="web", rate_limit=both, routes=[
        {"name": "a", "match": {"path": "/a"}, "pool": pool.name, "rate_limit": both},
        {"name": "b", "match": {"path": "/b"}, "pool": pool.name},
        {"name": "c", "match": {"path": "/c"}, "pool": pool.name,
         "rate_limit": ["web", "web.a", "web.a.2"]}])
    for path, names in (("/a", ("web/a", "web/a#2")), ("/b", ("web/*", "web/*#2")),
                        ("/c", ("web", "web.a", "web.a.2"))):
        told = get(web.url + path).headers["ratelimit"].split(", ")
        assert [one.split(";")[0] for one in told] == [f'"{name}"' for name in names]
        assert {one.split(";")[1] for one in told} <= {"r=1", "r=2", "r=8"}


def test_retries_are_charged_once(made: TestBalancer) -> None:
    bad, good = made.origin(), made.origin()
    bad.fault(reset=1.0)
    pool = made.pool(servers=[bad, good], retry=fastlb.Retry(attempts=2, on=["reset"]))
    web = made.listen(pool=pool, rate_limit={"limit": "10/h"})
    assert statuses(web.url, 11) == [200] * 10 + [429]


def test_reload_forgets_nothing_and_rescales_what_is_left() -> None:
    def config(limit: str) -> str:
        return f"""
            rate_limits.few = {{ limit = "{limit}" }}
            [listeners.web]
            bind = "http://127.0.0.1:0"
            rate_limit = "few"
            [[listeners.web.routes]]
            name = "all"
            respond = {{ body = "hello" }}
        """

    async def main() -> None:
        async with fastlb.Balancer(config("10/h"), threads=1) as lb:
            url = lb.listeners["web"].url
            async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
                for left in range(9, 3, -1):
                    assert f"r={left};" in (await client.get(url)).headers["ratelimit"]
                await lb.reload(config("10/h") + "\n")
                assert "r=3;" in (await client.get(url)).headers["ratelimit"]
                await lb.reload(config("20/h"))         # 7 of 20 are used now
                assert "r=12;" in (await client.get(url)).headers["ratelimit"]

    asyncio.run(main())


def test_explain_says_what_is_left_and_takes_nothing(made: TestBalancer) -> None:
    made.balancer.rate_limit("few", limit="3/h")
    web = site(made, "few")
    assert statuses(web.url, 2) == [200, 200]
    for _ in range(3):
        told = made.balancer.explain("GET", web.url)
        assert told.services[0].startswith("rate limit few: 1 of 3 left, full again in 2")
    assert statuses(web.url, 2) == [200, 429]
    told = made.balancer.explain("GET", web.url)
    assert told.answer is not None
    assert (told.answer.status, told.answer.reason) == (429, "rate_limited")


def test_configuration_of_limits_is_checked() -> None:
    with pytest.raises(fastlb.ConfigError) as caught:
        fastlb.Balancer("""
            [rate_limits.a]
            limit = "100"
            [rate_limits.b]
            limit = "1MiB/s"
            burst = 5
            cost = 2
            [rate_limits.c]
            limit = "0/s"
            key = "body"
            [rate_limits.d]
            limit = "1/s"
            limt = "1/s"
            cost = { heder = "x" }
            [defaults]
            compress = { codngs = ["br"] }
            [listeners.web]
            bind = "http://127.0.0.1:0"
            rate_limit = ["aa", { limit = "1/s", cost = { header = "x", response_header = "y" } },
                { limit = "1/d", burst = 1_000_000 }, { limit = "1/s", cost = 5 },
                { limit = "2/s", headers = "no" }, { limit = "2/s", hedders = "no" },
                { limit = "100/0s" }, { limit = "1MiB/s", burst = "0B" }]
            routes = [{ name = "all", respond = { body = "x" } }]
        """)
    said = str(caught.value)
    for line in (
        "'100' is not a rate; write it like \"100/m\" or \"10MiB/s\"",
        "rate_limits.b.burst: 5 doesn't fit limit = '1MiB/s'; write a size, such as \"1MiB\"",
        "rate_limits.b.cost: a limit of bytes counts the bytes: it has no cost",
        "rate_limits.c.limit: '0/s' is nothing at all; to refuse everything, respond with 403",
        "rate_limits.c.key: 'body' is not a key to count by. One of:",
        "listeners.web.rate_limit[0]: there is no rate limit 'aa'; did you mean 'a'?",
        "listeners.web.rate_limit[1].cost: give header or response_header, not both",
        "listeners.web.rate_limit[2].burst: 1000000 takes more than 400d to come back at '1/d'",
        "listeners.web.rate_limit[3].cost: 5 is more than 1, which may come at once",
        "listeners.web.rate_limit[4].headers: 'no' is not a valid value",
        "listeners.web.rate_limit[5].hedders: 'hedders' is not a key here; did you mean 'headers'?",
        "listeners.web.rate_limit[6].limit: '100/0s': the time is zero",
        "rate_limits.d.limt: 'limt' is not a key here; did you mean 'limit'?",
        "rate_limits.d.cost.heder: 'heder' is not a key here; did you mean 'header'?",
        "defaults.compress.codngs: 'codngs' is not a key here; did you mean 'codings'?",
        "listeners.web.rate_limit[7].burst: '0B' is not from 1B to",
    ):
        assert line in said
    assert "a table is not a text" not in said and "constrained" not in said
