# Facts, balancing methods and filters register themselves when they are imported; tables know them
# by number. Their order here is that of errors and documents.
import importlib

REGISTERED = (
    "facts.client",
    "facts.geography",
    "facts.request",
    "balance.turns",
    "balance.load",
    "balance.prequal",
    "balance.hashing",
    "filters.access",
    "filters.rate_limit",
    "filters.policy",
    "filters.mirror",
    "filters.compress",
    "filters.identity",
)

for _name in REGISTERED:
    importlib.import_module(f"{__name__}.{_name}")
