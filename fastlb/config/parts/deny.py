"""`deny` of a route: networks whose clients get 403."""

from __future__ import annotations

from fastlb.config.network_parts import network_part
from fastlb.config.networks import NetworkRule

PART = network_part(
    "deny",
    "Networks whose clients get 403: names of `[networks.NAME]`, networks, or a list of both."
    " Clients are those that trusted proxies saw (`forwarded.trusted`). The `deny` of a listener"
    " closes their connections before anything is read.",
    "denied are clients of",
    (("`deny = { ... }` and `allow = { ... }`", NetworkRule),))
