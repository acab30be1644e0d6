# Facts, balancing methods and filters register themselves when they are imported; tables know them
# by number. Their order here is that of errors and documents.
from fastlb._core.facts import client, request  # isort: skip
from fastlb._core.balance import turns, load, prequal, hashing  # isort: skip
from fastlb._core.filters import compress, identity  # isort: skip

__all__ = ["client", "compress", "hashing", "identity", "load", "prequal", "request", "turns"]
