# Filters register themselves when they are imported; whoever makes tables needs them.
from fastlb._core.filters import compress, identity

__all__ = ["compress", "identity"]
