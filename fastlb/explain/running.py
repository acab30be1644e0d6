"""Explanations of a process that serves: of its own snapshot, with the states of its servers."""

from __future__ import annotations

from fastlb.errors import NOT_RUNNING
from fastlb.explain.explainer import Explainer
from fastlb.process.runtime import Runtime


def explainer_of(runtime: Runtime) -> Explainer:
    """On the snapshot that is published now. Raises RuntimeError when there is none."""
    snapshot = runtime.snapshot
    if snapshot is None:
        raise RuntimeError(NOT_RUNNING)
    served = [s for s in runtime.listening if s.fds]
    binds = {
        listener.name: [s.address for s in served if s.listener == listener.name] or listener.binds
        for listener in runtime.effective.listeners
    }
    places: dict[str, int] = {}
    for place, sockets in enumerate(served):
        places.setdefault(sockets.listener, place)
    return Explainer(runtime.effective, snapshot, binds, places, True)
