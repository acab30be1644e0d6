"""A key that isn't one is answered with the keys of its own table, as they are written."""

from __future__ import annotations

from typing import Any

import pytest

from fastlb import Config, ConfigError


@pytest.mark.parametrize(
    ("place", "table", "meant"),
    [
        ("pools.api.sticky", {"cooky": "x", "secret": "y"}, "cookie"),
        ("pools.api.hedge", {"dealy": "1ms"}, "delay"),
        ("pools.api.subset", {"sise": 5}, "size"),
        ("pools.api.unavailable", {"stats": 503}, "status"),
        ("access_log", {"path": "-", "formt": "json"}, "format"),
        ("tracing", {"sampel": "1%"}, "sample"),
        ("listeners.web.routes[0].match", {"jsn": {"model": "large"}}, "json"),
    ],
)
def test_a_wrong_key_gets_the_keys_of_its_table(
    place: str, table: dict[str, Any], meant: str
) -> None:
    pool: dict[str, Any] = {"servers": ["10.0.0.1:7000"]}
    route: dict[str, Any] = {"name": "x", "pool": "api"}
    listener = {"bind": "http://127.0.0.1:80", "pool": "api", "routes": [route]}
    raw: dict[str, Any] = {"listeners": {"web": listener}, "pools": {"api": pool}}
    holder = {"pools": pool, "listeners": route}.get(place.partition(".")[0], raw)
    holder[place.rpartition(".")[2]] = table

    with pytest.raises(ConfigError) as caught:
        Config.build(raw)
    problem = next(p for p in caught.value.problems if "is not a key here" in p.message)
    assert problem.path.startswith(f"{place}.")
    assert f"did you mean {meant!r}?" in problem.message
    assert not {"servers", "listeners", "json_", "not_"} & set(problem.valid)
