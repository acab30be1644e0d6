"""`fastlb check` on databases of where clients are, and on what asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlb.cli import run
from tests.mmdb import database, place

LISTENER = '[listeners.web]\nbind = "http://127.0.0.1:8080"\npool = "p"\n'
ROUTE = '[[listeners.web.routes]]\nname = "r"\npool = "p"\n'
POOL = '[pools.p]\nservers = [{ address = "10.0.0.1:80", zone = "eu" }]\n'
OVERRIDE = '[geo]\noverrides = { "10.0.0.0/8" = { country = "DE", asn = 7 } }\n'


def check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> tuple[int, list[str], list[str]]:
    path = tmp_path / "fastlb.toml"
    path.write_text(text)
    status = run(["check", str(path)])
    out, err = capsys.readouterr()
    lines = [" ".join(line.split()) for line in out.splitlines()]
    return status, lines, err.replace(f"{path}: ", "").splitlines()


def test_databases_overrides_and_zones_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.mmdb"
    file.write_bytes(database({"192.0.2.0/24": place("DE")}))
    status, lines, err = check(tmp_path, capsys, LISTENER + POOL + (
        'nearest = { country = { DE = "eu" }, others = ["eu"] }\n'
        f'[geo]\ncountry = "{file}"\nrefresh = "1h"\n'
        'overrides = { "10.0.0.0/8" = { country = "DE", region = "DE-BE", asn = 7 } }\n'))
    assert (status, err) == (0, [])
    for line in (f"country {file} geo", "refresh 1h geo", "override 10.0.0.0/8 DE, DE-BE, AS 7 geo",
                 "nearest DE: eu; others: eu pool"):
        assert line in lines


@pytest.mark.parametrize(("listener", "pool", "geo", "warnings"), [
    ('match.client.country = "DE"\n', "", "", [
        "listeners.web: route 'r' is about client.country, and there is no [geo] with a database"]),
    ('match.not.client.asn = "7"\nsplit_on = "client.region"\n', "", "", [
        "listeners.web: route 'r' is about client.asn, and there is no [geo] with a database",
        "listeners.web: route 'r' is about client.region, and there is no [geo] with a database"]),
    ('match.client.region = "DE-BE"\n', "", OVERRIDE, [
        "listeners.web: route 'r' is about client.region, and geo has no database that knows it"
        " (city)"]),
    ('match.client.country = "DE"\nhash_on = "client.asn"\n', 'balance = "maglev"\n', OVERRIDE,
     []),
    ("", 'balance = "maglev"\nhash_on = "client.continent"\n', "", [
        "pools.p.hash_on: it is client.continent, and there is no [geo] with a database: client.ip"
        " is hashed instead"]),
    ("", 'nearest = { continent = { EU = "eu" } }\n', OVERRIDE, [
        "pools.p.nearest.continent: it is about client.continent, and geo has no database that"
        " knows it (country or city)"]),
    ("", 'nearest = { others = "eu" }\n', "", []),
])
def test_what_no_database_knows_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], listener: str, pool: str, geo: str,
    warnings: list[str],
) -> None:
    route = ROUTE + listener
    if "split_on" in listener:
        route = route.replace('pool = "p"', "split = { p = 1 }")
    status, _, err = check(tmp_path, capsys, LISTENER + route + POOL + pool + geo)
    assert status == 0
    assert [one for one in err if "client." in one] == [f"warning: {one}" for one in warnings]


@pytest.mark.parametrize(("data", "why"), [
    (None, "can't be read: No such file or directory"),
    (b"nonsense", "is no database that can be used: Error opening database file (c.mmdb). Is this"
     " a valid MaxMind DB file?"),
])
def test_broken_database_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes | None, why: str
) -> None:
    file = tmp_path / "c.mmdb"
    if data is not None:
        file.write_bytes(data)
    pool = '[pools.p]\nservers = ["10.0.0.1:80"]\n'
    status, _, err = check(tmp_path, capsys, f'{LISTENER}{pool}[geo]\ncity = "{file}"\n')
    assert status == 2
    assert any(f":7: geo.city: {file} {why}" in one for one in err), err
