from array import array
from collections.abc import Sequence

from fastlb._core.explain.requests import Reasons

class Side:
    def __init__(
        self, reasons: Reasons, names: Sequence[bytes], binds: Sequence[int], bind: int,
        host: bytes, pools: array[int], servers: array[int],
    ) -> None: ...

class Replay:
    def __init__(self, one: Side, other: Side | None = None) -> None: ...
    def feed(self, block: bytes) -> None: ...
    @property
    def totals(self) -> dict[str, int]: ...
    @property
    def unknown(self) -> list[bytes]: ...
    @property
    def lost(self) -> list[bytes]: ...
    def counted(
        self,
    ) -> list[
        tuple[tuple[int, int, int, int, int], tuple[int, int, int, int, int], int, int]
    ]: ...
