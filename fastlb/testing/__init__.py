"""Tests with a real balancer: the fixtures `balancer` and `balancer_session` of the pytest plugin.

    def test_retry(balancer):
        a, b = balancer.origin(), balancer.origin()
        site = balancer.listen(pool=balancer.pool("api", [a, b]))
        a.fault(refuse=True)
        assert httpx.get(site.url).status_code == 200

`TestBalancer` works without pytest too, in a `with`; `request()` makes one for a policy alone.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlb.testing.balancer import TestBalancer
    from fastlb.testing.datagrams import Datagram, UdpOrigin
    from fastlb.testing.faults import Fault
    from fastlb.testing.origins import Answer, Origin, Received, TcpOrigin
    from fastlb.testing.requests import request

__all__ = [
    "Answer", "Datagram", "Fault", "Origin", "Received", "TcpOrigin", "TestBalancer", "UdpOrigin",
    "request",
]

# Imported when first used: pytest imports the plugin in every run of whoever has fastlb installed.
_HOMES = {
    "Answer": "origins",
    "Datagram": "datagrams",
    "Fault": "faults",
    "Origin": "origins",
    "Received": "origins",
    "TcpOrigin": "origins",
    "TestBalancer": "balancer",
    "UdpOrigin": "datagrams",
    "request": "requests",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
