"""A load balancer for real-time systems: an engine without the GIL, programmed in plain Python.

    >>> import urllib.request, fastlb
    >>> lb = fastlb.Balancer(threads=1)
    >>> api = lb.pool("api", ["127.0.0.1:9001", "127.0.0.1:9002"], balance="least_request")
    >>> docs = lb.pool("docs", ["127.0.0.1:9003"], retry=fastlb.Retry(attempts=2))
    >>> web = lb.listen("http://127.0.0.1:0", pool=api)
    >>> @web.route("/hello/{name}")
    ... def hello(request: fastlb.Request) -> fastlb.Decision:
    ...     if request.headers.get("x-user-tier") == "premium":
    ...         return docs
    ...     return fastlb.Response(200, f"hello, {request.path_params['name']}")
    >>> with lb.background():
    ...     urllib.request.urlopen(f"{web.url}/hello/world").read()
    b'hello, world'

In an async program, `async with lb:`; as a program of its own, `lb.run()`. docs/python.md has more
on policies, docs/testing.md on tests, and `fastlb --help` on the command line.
"""

from typing import TYPE_CHECKING, Any

from fastlb._version import __version__

if TYPE_CHECKING:
    from fastlb import testing as testing
    from fastlb.balancer import Balancer
    from fastlb.client import Client, connect
    from fastlb.config.failing import Retry
    from fastlb.config.health import Health
    from fastlb.config.model import Config
    from fastlb.config.rate_limits import Limit
    from fastlb.config.server import Server
    from fastlb.control.events import Event
    from fastlb.errors import BindError, ConfigError, Problem
    from fastlb.handles import Listener, Pool, RateLimit, RunningServer
    from fastlb.policy import (
        Close,
        Connection,
        Decision,
        Forward,
        Hashed,
        More,
        Redirect,
        Request,
        Response,
        Tls,
    )

__all__ = [
    "Balancer",
    "BindError",
    "Client",
    "Close",
    "Config",
    "ConfigError",
    "Connection",
    "Decision",
    "Event",
    "Forward",
    "Hashed",
    "Health",
    "Limit",
    "Listener",
    "More",
    "Pool",
    "Problem",
    "RateLimit",
    "Redirect",
    "Request",
    "Response",
    "Retry",
    "RunningServer",
    "Server",
    "Tls",
    "connect",
    "__version__",
]

# Imported when first used: `import fastlb` costs no more than this file.
_HOMES = {
    "Balancer": "fastlb.balancer",
    "Client": "fastlb.client",
    "connect": "fastlb.client",
    "Listener": "fastlb.handles",
    "Pool": "fastlb.handles",
    "Config": "fastlb.config.model",
    "Server": "fastlb.config.server",
    "RateLimit": "fastlb.handles",
    "RunningServer": "fastlb.handles",
    "Health": "fastlb.config.health",
    "Limit": "fastlb.config.rate_limits",
    "Retry": "fastlb.config.failing",
    "Event": "fastlb.control.events",
    "BindError": "fastlb.errors",
    **dict.fromkeys(
        ("Close", "Connection", "Decision", "Forward", "Hashed", "More", "Redirect", "Request",
         "Response", "Tls"),
        "fastlb.policy",
    ),
    "ConfigError": "fastlb.errors",
    "Problem": "fastlb.errors",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "testing":               # (which fixtures are annotated with)
        return import_module("fastlb.testing")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
