"""A load balancer for real-time systems: an engine without the GIL, programmed in plain Python.

    import asyncio, fastlb

    lb = fastlb.Balancer()
    api = lb.pool("api", ["127.0.0.1:9001", "127.0.0.1:9002"])
    web = lb.listen("tcp://127.0.0.1:0", pool=api)

    async def main():
        async with lb:
            print(web.url)

    asyncio.run(main())
"""

from typing import TYPE_CHECKING, Any

from fastlb._version import __version__

if TYPE_CHECKING:
    from fastlb.balancer import Balancer
    from fastlb.client import Client, connect
    from fastlb.config.model import Config
    from fastlb.control.events import Event
    from fastlb.errors import BindError, ConfigError, Problem
    from fastlb.handles import Listener, Pool, RunningServer, Server

__all__ = [
    "Balancer",
    "BindError",
    "Client",
    "Config",
    "ConfigError",
    "Event",
    "Listener",
    "Pool",
    "Problem",
    "RunningServer",
    "Server",
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
    "Server": "fastlb.handles",
    "RunningServer": "fastlb.handles",
    "Event": "fastlb.control.events",
    "BindError": "fastlb.errors",
    "ConfigError": "fastlb.errors",
    "Problem": "fastlb.errors",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
