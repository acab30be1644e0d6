from collections.abc import Mapping

from fastlb._core.policy.request import Connection, Request
from fastlb._core.tables.caller import Caller
from fastlb._core.tables.live import Live

def questions(
    live: Live, callers: Mapping[int, Caller]
) -> list[tuple[int, int, int, Caller | None, Request | Connection | None, bool]]: ...
