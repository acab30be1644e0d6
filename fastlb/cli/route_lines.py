"""What `fastlb check` shows of a route besides its match and its action: its own values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fastlb.cli.lines import edits, pages, time
from fastlb.config.effective_http import EffectiveHttp, EffectiveRoute, Respond
from fastlb.config.effective_sniffing import SniffRoute
from fastlb.config.failing import EffectiveRetry
from fastlb.config.parts import PARTS
from fastlb.config.units import show, show_bytes

TIMEOUTS = ("response_header_timeout", "request_timeout", "body_idle_timeout", "websocket_timeout")


def route_lines(route: EffectiveRoute, http: EffectiveHttp) -> Iterator[str]:
    yield from _lines({
        "split_on": route.split_on,
        "hash_on": route.hash_on,
        "rewrite.path": route.rewrite_path,
        "rewrite.host": route.rewrite_host,
        "request_headers": edits(route.request_headers),
        "response_headers": edits(tuple(
            op for op in route.response_headers if op not in http.response_headers)),
        "errors": pages(route.errors),
        "respond": _respond(route.respond) if route.respond is not None else "",
        **_services(route, http),
        "priority": route.priority if route.priority != "normal" else "",
        **(_retry(route.retry) if route.retry is not None else {}),
        **{key: _own(key, route, http) for key in TIMEOUTS},
        "max_body_size": "" if route.max_body_bytes == http.body_bytes_max
        else show_bytes(route.max_body_bytes) if route.max_body_bytes else "no limit",
        "on_client_close": "" if route.on_client_close == http.on_client_close
        else route.on_client_close,
    })


def _services(route: EffectiveRoute, http: EffectiveHttp) -> dict[str, str]:
    """Those that differ from the listener's."""
    own, above = dict(route.services), dict(http.services)
    return {key: part.show(own.get(key)) for key, part in PARTS.items()
            if own.get(key) != above.get(key)}


def session_lines(route: SniffRoute) -> Iterator[str]:
    yield from _lines({"split_on": route.split_on, "hash_on": route.hash_on})


def _lines(shown: Mapping[str, str]) -> Iterator[str]:
    for key, value in shown.items():
        if value:
            yield f"      {key:<24} {value:<32} route"


def _own(key: str, route: EffectiveRoute, http: EffectiveHttp) -> str:
    ms: int = getattr(route, f"{key}_ms")
    return "" if ms == getattr(http, f"{key}_ms") else time(ms)


def _retry(retry: EffectiveRetry) -> dict[str, str]:
    return {
        "retry": f"{retry.attempts} tries{', also of POST' if retry.non_idempotent else ''}",
        "retry.on": retry.on_text or "nothing",
    }


def _respond(respond: Respond) -> str:
    fields = "".join(f", {name}: {value}" for name, value in respond.headers)
    return f"{show_bytes(len(respond.body))} of {show(respond.content_type)}{fields}"
