"""Random configurations of an http listener, and random requests for them.

Alphabets are small, so that routes overlap, and conditions are often met.
"""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import strategies as st

HOSTS = ("a.example", "b.example", "x.a.example")
ROUTE_HOSTS = (*HOSTS, "*.example", "*.a.example")
SEGMENTS = ("a", "b", "c", "{x}", "{y}")
METHODS = ("GET", "POST", "PUT", "DELETE")
VALUES = ("1", "2", "premium", "pre", "")
FIELDS = ("x-tier", "x-user")
KEYS = ("client.ip", "path.x", "query.q", "header.x-user", "cookie.c")
BALANCES = ("round_robin", "random", "least_connections", "least_request", "peak_ewma",
            "ring_hash", "maglev", "rendezvous", "prequal")
KEYED = ("ring_hash", "maglev", "rendezvous")


def _paths() -> st.SearchStrategy[str]:
    def join(segments: list[str], star: bool) -> str:
        seen: list[str] = []
        for segment in segments:        # a name stands once
            seen.append("a" if segment in seen and segment.startswith("{") else segment)
        return "/" + "/".join([*seen, *(["*"] if star else [])])

    return st.builds(join, st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=3),
                     st.booleans())


def _compare() -> st.SearchStrategy[Any]:
    return st.one_of(
        st.sampled_from(VALUES), st.booleans(),
        st.builds(lambda op, value: {op: value},
                  st.sampled_from(("prefix", "suffix", "contains")), st.sampled_from(VALUES)),
        st.sampled_from(({"regex": "^pre"}, {"regex": "[12]"})),
    )


def _conditions(negated: bool) -> st.SearchStrategy[dict[str, Any]]:
    def table(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Any]]:
        return st.dictionaries(st.sampled_from(names), _compare(), min_size=1, max_size=2)

    optional: dict[str, Any] = {
        "headers": table(FIELDS), "query": table(("q", "r")), "cookies": table(("c",)),
        "method": st.lists(st.sampled_from(METHODS), min_size=1, max_size=2, unique=True),
        "json": table(("model",)), "form": table(("user",)),
        "host": st.sampled_from(ROUTE_HOSTS), "path": _paths(),
        "client_ip": st.sampled_from((["127.0.0.0/8"], ["10.0.0.0/29"])),
        "path_regex": st.sampled_from(("/[ab].*", "/a/[0-9]+", "/.*c")),
    }

    def few(made: dict[str, Any]) -> dict[str, Any]:
        if "path_regex" in made and "path" in made:
            del made["path_regex"]
        return made

    return st.lists(
        st.sampled_from(sorted(optional)), max_size=1 if negated else 3, unique=True
    ).flatmap(lambda keys: st.fixed_dictionaries({key: optional[key] for key in keys})).map(few)


@st.composite
def configurations(draw: st.DrawFn, origins: list[str]) -> dict[str, Any]:
    """Of one listener, "web", whose routes say their names in every answer."""
    pools = {}
    for name in ("p", "q", "r"):
        balance = draw(st.sampled_from(BALANCES))
        chosen = draw(st.lists(st.sampled_from(origins), min_size=1, max_size=5, unique=True))
        pool: dict[str, Any] = {
            "balance": balance,
            "servers": [{
                "address": address, "weight": draw(st.sampled_from((1, 1, 1, 2, 3))),
                "state": draw(st.sampled_from(("up", "up", "up", "up", "draining"))),
                "priority": draw(st.sampled_from((0, 0, 0, 1))),
            } for address in chosen],
        }
        if balance in KEYED:
            pool["hash_on"] = draw(st.sampled_from(KEYS))
            if draw(st.booleans()):
                pool["bounded_load"] = 1.25
        if name != "p" and draw(st.integers(0, 3)) == 0:
            pool["fallback"] = "p"
        if draw(st.integers(0, 4)) == 0:
            pool["sticky"] = {"cookie": "c", "secret": "s" * 32}
        pools[name] = pool
    routes = [_route(draw, f"r{i}", pools) for i in range(draw(st.integers(0, 9)))]
    listener: dict[str, Any] = {"bind": "http://127.0.0.1:0", "routes": routes}
    if draw(st.booleans()) or not routes:
        listener["pool"] = draw(st.sampled_from(sorted(pools)))
    if draw(st.booleans()):
        listener["forwarded"] = {"trusted": ["127.0.0.0/8"]}
    if draw(st.booleans()):
        listener["response_headers"] = {
            "set": {"x-path": "{request.path}"}, "remove": ["Content-Type"]}
        listener["errors"] = {"404": {"body": "no such thing\n"}}
    listener["merge_slashes"] = draw(st.booleans())
    return {"listeners": {"web": listener}, "pools": pools}


def _route(draw: st.DrawFn, name: str, pools: dict[str, Any]) -> dict[str, Any]:
    match = draw(_conditions(False))
    if draw(st.integers(0, 2)) == 0:
        match["not"] = draw(_conditions(True))
    route: dict[str, Any] = {
        "name": name, "match": match, "response_headers": {"set": {"x-fastlb-route": name}},
    }
    action = draw(st.sampled_from(("pool",) * 6 + ("split", "split_on", "respond", "redirect")))
    if action == "pool":
        route["pool"] = draw(st.sampled_from(sorted(pools)))
        if pools[route["pool"]]["balance"] in KEYED and draw(st.booleans()):
            route["hash_on"] = draw(st.sampled_from([k for k in KEYS if k != "path.x"]))
    elif action in ("split", "split_on"):
        route["split"] = {"p": 3, "q": 1}
        if action == "split_on":
            route["split_on"] = draw(st.sampled_from([k for k in KEYS if k != "path.x"]))
    elif action == "respond":
        route["respond"] = {"status": 204, "headers": {"x-fastlb-route": name}}
        del route["response_headers"]
    else:
        route["redirect"] = f"/to/{name}"
        del route["response_headers"]
    return route


def request(chance: random.Random) -> dict[str, Any]:
    """method, url, headers, body."""
    segments = [chance.choice(("a", "b", "c", "1", "22", "%61", "..", "", "x%2Fy"))
                if chance.random() < 0.5 else chance.choice("abc")
                for _ in range(chance.randint(1, 4))]
    path = "/" + "/".join(segments)
    if chance.random() < 0.6:
        path += "?" + "&".join(
            f"{chance.choice('qrs')}={chance.choice(VALUES)}" for _ in range(chance.randint(1, 2)))
    headers = [("Host", chance.choice((*HOSTS, "A.example.", "other")))]
    for name in FIELDS:
        if chance.random() < 0.5:
            headers.append((name.title(), chance.choice(VALUES)))
    if chance.random() < 0.3:
        headers.append(("Cookie", f"c={chance.choice(VALUES)}"))
    if chance.random() < 0.3:
        headers.append(("X-Forwarded-For", f"10.0.0.{chance.randint(1, 9)}"))
    body = b""
    method = chance.choice(METHODS)
    if method in ("POST", "PUT"):
        value = chance.choice(VALUES)
        kind = chance.random()
        if kind < 0.4:
            headers.append(("Content-Type", "application/json"))
            body = json.dumps({chance.choice(("model", "other")): value}).encode()
        elif kind < 0.6:
            headers.append(("Content-Type", "application/x-www-form-urlencoded"))
            body = f"user={value}".encode()
        else:
            body = b"some"
    return {"method": method, "url": path, "headers": headers, "body": body}
