from collections.abc import Iterable
from typing import Any

from fastlb._core.explain.requests import Reasons

_Told = tuple[Iterable[str], tuple[str, int] | None]

class Heard(Reasons):
    def connection(
        self, bind: int, client: tuple[str, int] | None, secured: Iterable[str] | None = None,
        told: _Told | None = None, first: bytes = b"", chosen: bytes = b"",
    ) -> dict[str, Any]: ...
    def sniffed_routes(self) -> list[list[tuple[bool, bytes | None]]]: ...
    def question_of(self, local_host: str, local_port: int) -> tuple[Any, Any]: ...
    def decided(self, result: object = None, failure: bool = False) -> dict[str, Any]: ...
