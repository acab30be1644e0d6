from fastlb._core.tables.histogram import Times
from fastlb._core.tables.live import Live

DROPS: tuple[str, ...]

def series_of(live: Live) -> tuple[
    dict[tuple[str, str, str], dict[int, int]], dict[tuple[str, str, str], dict[int, int]],
    dict[tuple[str, str, str], Times], int,
]: ...
