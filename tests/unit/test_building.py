"""Mistakes of a program that builds a balancer are told where they are made."""

from __future__ import annotations

import http.client

import pytest

import fastlb


def test_a_wrong_key_is_told_at_once() -> None:
    with pytest.raises(fastlb.ConfigError, match="thread: 'thread' is not a key here; did you mean"
                                                 " 'threads'"):
        fastlb.Balancer(thread=2)


def test_one_text_is_no_list_of_servers() -> None:
    lb = fastlb.Balancer()
    told = r"""^pools\.api\.servers: '127\.0\.0\.1:1' is not a list; write \["127\.0\.0\.1:1"\]$"""
    with pytest.raises(fastlb.ConfigError, match=told):
        lb.pool("api", "127.0.0.1:1")
    pool = lb.pool("api")
    with pytest.raises(fastlb.ConfigError, match=told):
        pool.set_servers("127.0.0.1:1")


def test_a_status_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="'gone' is not a status from 200 to 599"):
        fastlb.Response("gone")  # type: ignore[arg-type]


def test_an_http_listener_can_have_policies_alone() -> None:
    lb = fastlb.Balancer(threads=1)
    web = lb.listen("http://127.0.0.1:0")

    @web.route("/hello", deadline="30s")
    def hello(request: fastlb.Request) -> fastlb.Decision:
        return fastlb.Response(200, "hello")

    with lb.background():
        assert [_status(web.url, path) for path in ("/hello", "/else")] == [200, 404]


def test_an_http_listener_with_nothing_says_so_to_clients() -> None:
    lb = fastlb.Balancer(threads=1)
    web = lb.listen("http://127.0.0.1:0")
    with lb.background():
        assert _status(web.url, "/") == 404


def _status(url: str, path: str) -> int:
    client = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    client.request("GET", path)
    status = client.getresponse().status
    client.close()
    return status
