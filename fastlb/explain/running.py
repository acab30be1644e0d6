"""Explanations of a process that serves: of its own snapshot, with the states of its servers."""

from __future__ import annotations

from typing import Any

from fastlb.explain.explainer import Explainer
from fastlb.explain.model import Explanation
from fastlb.process.runtime import Runtime


def explainer_of(runtime: Runtime) -> Explainer:
    """On the snapshot that is published now. Raises RuntimeError when there is none."""
    snapshot = runtime._snapshot
    if snapshot is None:
        raise RuntimeError("the balancer isn't running")
    served = [s for s in runtime.listening if s.fds]
    binds = {
        listener.name: [s.address for s in served if s.listener == listener.name] or listener.binds
        for listener in runtime.effective.listeners
    }
    places: dict[str, int] = {}
    for place, sockets in enumerate(served):
        places.setdefault(sockets.listener, place)
    return Explainer(runtime.effective, snapshot, binds, places, True)


ASKED = {
    "method": str, "url": str, "headers": list, "body": str, "client": str, "listener": str,
    "call_policy": bool,
}


def explain_json(runtime: Runtime, asked: Any) -> dict[str, Any]:
    """What a process is asked over its admin API, and answers: `asked` has "url" and what else
    `ASKED` lists; "headers" are pairs, and "body" is text. Raises ValueError."""
    if not isinstance(asked, dict):
        raise ValueError("an object with url is asked for")
    for key, value in asked.items():
        if key not in ASKED:
            raise ValueError(f"{key}: not known; one of: {', '.join(ASKED)}")
        if value is not None and not isinstance(value, ASKED[key]):
            raise ValueError(f"{key}: {value!r} is no {ASKED[key].__name__}")
    if not isinstance(asked.get("url"), str):
        raise ValueError("url: missing")
    headers = asked.get("headers") or []
    if not all(isinstance(pair, list) and len(pair) == 2
               and all(isinstance(text, str) for text in pair) for pair in headers):
        raise ValueError("headers: pairs of name and value are asked for")
    explanation: Explanation = explainer_of(runtime).explain(
        asked.get("method") or "GET", asked["url"], [(name, value) for name, value in headers],
        (asked.get("body") or "").encode("utf-8", "surrogateescape"),
        asked.get("client") or "127.0.0.1", asked.get("listener"),
        asked.get("call_policy") or False,
    )
    return explanation.as_json()
