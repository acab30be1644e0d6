"""`allow` of a route: networks whose clients alone are served."""

from __future__ import annotations

from fastlb.config.network_parts import network_part

PART = network_part(
    "allow",
    "Networks whose clients alone are served; others get 403. Otherwise as `deny`, which comes"
    " first.",
    "allowed are clients of")
