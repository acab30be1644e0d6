"""What a Balancer says before it runs: of files, and of mistakes in keywords."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastlb
from fastlb.config import typed
from fastlb.errors import ConfigError, NotRunningError
from tests.tidy.rules import ROOT

TEXT = """\
[listeners.web]
bind = "tcp://127.0.0.1:0"
pool = "api"
[pools.api]
servers = ["127.0.0.1:9001"]
"""


def test_a_balancer_is_made_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "fastlb.toml"
    path.write_text(TEXT)
    for given in (path, str(path)):
        lb = fastlb.Balancer(given, threads=1)
        assert list(lb.pools) == ["api"] and lb.source == str(path)
        assert list(lb.listeners) == ["web"]


def test_a_balancer_is_made_of_text() -> None:
    lb = fastlb.Balancer(TEXT)
    assert list(lb.pools) == ["api"] and lb.source is None


def test_the_file_is_what_a_reload_reads_again(tmp_path: Path) -> None:
    path = tmp_path / "fastlb.toml"
    path.write_text(TEXT)

    async def changed() -> set[str]:
        async with fastlb.Balancer(path, threads=0) as lb:
            path.write_text(TEXT + '[pools.more]\nservers = ["127.0.0.1:9002"]\n')
            await lb.reload()
            return set(lb.pools)

    assert asyncio.run(changed()) == {"api", "more"}


def test_policies_may_lie_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "fastlb.toml"
    (tmp_path / "beside_a_balancer.py").write_text("def decide(connection):\n    return None\n")
    path.write_text(TEXT.replace('"api"\n', '"api"\npolicy = "beside_a_balancer:decide"\n', 1))
    with fastlb.Balancer(path, threads=1).background() as lb:
        assert lb.listeners["web"].port


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("none.toml", "none.toml: can't be read: no such file or directory"),
        ("threads = 2", "there is no file 'threads = 2'; if it is TOML text, write it with a line"
         " break"),
        ("[nothing\n", "<string>:1: not TOML: expected ']' at the end of a table declaration"),
    ],
)
def test_a_file_that_is_none_is_told(given: str, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        fastlb.Balancer(given)
    assert str(told.value) == said


def test_a_dict_is_no_configuration() -> None:
    made: Any = {"threads": 2}
    with pytest.raises(TypeError, match=r"a dict is no configuration: .* fastlb.Config.build\("):
        fastlb.Balancer(made)
    assert fastlb.Balancer(fastlb.Config.build(made)).config.threads == 2


def test_run_in_a_running_loop_is_told() -> None:
    async def main() -> None:
        fastlb.Balancer(TEXT).run()

    with pytest.raises(RuntimeError, match="in an async program write `async with lb:`"):
        asyncio.run(main())


def test_a_second_start_is_told() -> None:
    lb = fastlb.Balancer(threads=1)
    with lb.background():
        with pytest.raises(RuntimeError, match="the balancer is running already"):
            lb.background()
        with pytest.raises(RuntimeError, match="is running: add pools and listeners before"):
            lb.pool("api")


def test_a_balancer_that_does_not_run_says_how_to_start_it() -> None:
    lb = fastlb.Balancer()
    web = lb.listen("http://127.0.0.1:0")
    with pytest.raises(RuntimeError, match=r"isn't running: start it first \(`async with lb:`"):
        print(web.url)


def test_a_name_that_is_none_is_told_with_those_that_are() -> None:
    lb = fastlb.Balancer(threads=1)
    api = lb.pool("api", ["127.0.0.1:9001"])
    with pytest.raises(KeyError, match="there is no pool 'apy'; there are: api"):
        print(lb.pools["apy"])
    with pytest.raises(KeyError, match="there is no listener 'web'; there are: none"):
        print(lb.listeners["web"])
    for i in range(30):
        lb.pool(f"p{i}")
    with pytest.raises(KeyError, match=r"there are: api, p0, .*, p14 and 15 more"):
        print(lb.pools["apy"])
    assert lb.pools.get("apy") is None and "apy" not in lb.pools
    with lb.background(), pytest.raises(KeyError, match=r"no server 'a'; there are: 127\.0"):
        print(api.servers["a"])


def test_what_a_policy_says_in_a_wrong_form_is_told() -> None:
    wrong: Any = 301
    with pytest.raises(TypeError, match=r'301 is not where to go; write Redirect\("/elsewhere"'):
        fastlb.Redirect(wrong)
    wrong = "hello"
    with pytest.raises(ValueError, match=r'is not a status .*; write Response\(200, "text"\)'):
        fastlb.Response(wrong)


def test_connect_says_how_a_process_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTLB_RUN_DIR", str(tmp_path))
    monkeypatch.delenv("FASTLB_ADMIN", raising=False)
    with pytest.raises(NotRunningError) as told:
        fastlb.connect()
    assert 'say where it is: fastlb.connect("http://127.0.0.1:9000"), as' in str(told.value)
    assert "--admin" not in str(told.value)


def test_with_alone_gives_a_hint() -> None:
    lb: Any = fastlb.Balancer()
    with pytest.raises(TypeError, match=r"`async with lb:`; .*`with lb.background\(\):`"), lb:
        raise AssertionError


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"deadlin": "1s"}, "'deadlin' is not a keyword of route(); did you mean 'deadline'?"),
        ({"method": ["GET"]}, "'method' is not a keyword of route(); did you mean 'methods'?"),
        ({"prioritee": "low"}, "'prioritee' is not a keyword of route(); did you mean 'priority'?"),
    ],
)
def test_a_misspelt_keyword_of_a_route_is_told(keys: dict[str, Any], said: str) -> None:
    web = fastlb.Balancer().listen("http://127.0.0.1:0")
    with pytest.raises(ConfigError) as told:
        web.route("/a", **keys)
    assert str(told.value).startswith(f"listeners.listener1.routes: {said}")


def test_a_route_takes_parts_as_objects() -> None:
    lb = fastlb.Balancer()
    lb.pool("api", ["127.0.0.1:9001"])
    web = lb.listen("http://127.0.0.1:0", pool="api")
    web.route("/a", name="a", retry=fastlb.Retry(attempts=2))(lambda request: None)
    retry = lb.config.listeners["listener1"].routes[0].retry
    assert retry is not None and retry.attempts == 2


@pytest.mark.parametrize("threads", ["two", -1, 65, 1.5])
def test_what_is_no_number_of_threads_is_told(threads: Any) -> None:
    with pytest.raises(ValueError, match="is not a number from 0 to 64"):
        fastlb.Balancer(threads=threads)


def test_keywords_for_type_checkers_are_current() -> None:
    for name, text in typed.texts().items():
        assert (ROOT / "fastlb" / "keywords" / name).read_text() == text, (
            "run: python -m fastlb.config.typed"
        )
    subprocess.run([sys.executable, "-c", "import fastlb.keywords.tables"], check=True)
