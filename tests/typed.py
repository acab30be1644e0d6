"""What type checkers say of keywords: read by mypy alone, where an ignored error that isn't there
is an error."""

from __future__ import annotations

import fastlb


def right(lb: fastlb.Balancer, test: fastlb.testing.TestBalancer) -> None:
    api = lb.pool(
        "api", ["127.0.0.1:9001", fastlb.Server("127.0.0.1:9002", weight=2)],
        retry=fastlb.Retry(attempts=2, on=["503"]), health={"http": "/", "interval": "2s"},
        limits={"max_requests": 5}, tls=True, outliers={"latency": 3.0},
    )
    web = lb.listen(
        ["http://127.0.0.1:0"], pool=api, max_connections=5, keepalive=False,
        routes=[{"name": "a", "match": {"path": "/a", "not": {"host": "a.test"}}, "pool": "api"}],
    )
    web.route("/a", match={"headers": {"x-a": {"prefix": "b"}, "x-b": True}}, deadline="1s",
              retry=fastlb.Retry(attempts=1), priority="high")
    fastlb.Balancer("fastlb.toml")
    fastlb.Balancer(access_log={"path": "-"}, admin=False, threads="auto")
    test.listen(pool=test.pool("a", [test.origin()], retry={"attempts": 2}), h2c=True)


def wrong(lb: fastlb.Balancer, test: fastlb.testing.TestBalancer) -> None:
    lb.pool("api", retrys={"attempts": 2})  # type: ignore[call-arg]
    lb.pool("api", retry={"attemps": 2})  # type: ignore[arg-type]
    lb.pool("api", protocol="h3")  # type: ignore[arg-type]
    lb.pool("api", connect_timeout=5)  # type: ignore[arg-type]
    lb.listen("http://127.0.0.1:0", max_conections=5)  # type: ignore[call-arg]
    web = lb.listen("http://127.0.0.1:0", max_requests="5")  # type: ignore[arg-type]
    web.route("/a", deadlin="1s")  # type: ignore[call-arg]
    web.route("/a", match={"pth": "/a"})  # type: ignore[arg-type]
    fastlb.Balancer(acces_log={"path": "-"})  # type: ignore[call-arg]
    test.pool("a", retrys={"attempts": 2})  # type: ignore[call-arg]
    test.listen(h2d=True)  # type: ignore[call-arg]
    with lb:
        pass
