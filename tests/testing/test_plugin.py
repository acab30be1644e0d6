"""The plugin in runs of pytest of its own: any kind of test, any loop, xdist; and nobody's else."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ASK = """
import urllib.request

def ask(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return opener.open(url, timeout=30).read().decode()

def site_of(balancer):
    return balancer.listen(pool=balancer.pool(servers=[balancer.origin("hello")]))
"""

# (the run around it may have imported fastlb before pytest could rewrite its assertions)
STRICT = ("-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")

PLAIN = ASK + """
import pytest

def test_plain(balancer):
    assert ask(site_of(balancer).url) == "hello"

class TestInAClass:
    def test_method(self, balancer):
        assert ask(site_of(balancer).url) == "hello"

@pytest.mark.parametrize("n", range(3))
def test_each_has_its_own(balancer, n):
    assert not balancer.balancer.config.pools
    assert ask(site_of(balancer).url) == "hello"

def test_unused(balancer):
    pass
"""

ASYNCIO = ASK + """
import asyncio, httpx, pytest

@pytest.mark.asyncio
async def test_asyncio(balancer):
    site = site_of(balancer)
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
        answers = await asyncio.gather(*(client.get(site.url) for _ in range(5)))
    assert {answer.text for answer in answers} == {"hello"}

@pytest.mark.asyncio
async def test_a_policy_runs_beside_the_tests_own_loop(balancer):
    import fastlb, threading
    site = site_of(balancer)
    here = threading.get_ident()

    @site.route("/policy", deadline="30s")
    async def policy(request):
        await asyncio.sleep(0)
        return fastlb.Response(200, str(threading.get_ident() == here))

    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
        assert (await client.get(site.url + "/policy")).text == "False"
"""

ANYIO = ASK + """
import httpx, pytest

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
async def test_anyio(balancer, anyio_backend):
    site = site_of(balancer)
    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
        assert (await client.get(site.url)).text == "hello"
"""

TRIO = ASK + """
import httpx, trio

def test_trio(balancer):
    site = site_of(balancer)

    async def main():
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=30) as client:
            assert (await client.get(site.url)).text == "hello"

    trio.run(main)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


@pytest.mark.parametrize(
    ("text", "passed"), [(PLAIN, 6), (ASYNCIO, 2), (ANYIO, 2), (TRIO, 1)],
    ids=["plain", "asyncio", "anyio", "trio"],
)
def test_in_any_kind_of_test(run: pytest.Pytester, text: str, passed: int) -> None:
    run.makepyfile(text)
    run.runpytest_inprocess(*STRICT).assert_outcomes(passed=passed)


def test_under_xdist(run: pytest.Pytester) -> None:
    run.makepyfile(test_a=PLAIN, test_b=ANYIO, test_c=PLAIN)
    run.runpytest_subprocess("-n", "2").assert_outcomes(passed=14)


def test_one_for_a_session(run: pytest.Pytester) -> None:
    run.makepyfile(ASK + """
import pytest

@pytest.fixture(scope="session")
def site(balancer_session):
    return site_of(balancer_session)

@pytest.mark.parametrize("n", range(3))
def test_it(balancer_session, site, n):
    assert ask(site.url) == "hello"
    assert len(balancer_session._origins[0].requests) == n + 1
""")
    run.runpytest_inprocess().assert_outcomes(passed=3)


def test_a_marker_says_how_it_is_made(run: pytest.Pytester) -> None:
    run.makepyfile("""
import pytest

pytestmark = pytest.mark.fastlb(threads=2, max_connections=7)

def test_of_the_module(balancer):
    assert balancer.balancer.config.max_connections == 7
    assert balancer.seed == 0

@pytest.mark.fastlb(max_connections=9, seed=5)
def test_of_its_own(balancer):
    assert balancer.balancer.config.max_connections == 9
    assert (balancer.balancer._instance.threads, balancer.seed) == (2, 5)

@pytest.mark.fastlb(thread=2)
def test_a_mistake(balancer):
    pass
""")
    done = run.runpytest_inprocess("--strict-markers")
    done.assert_outcomes(passed=2, errors=1)
    done.stdout.fnmatch_lines(["*ConfigError*thread*"])


def test_a_failing_test_shows_what_origins_got(run: pytest.Pytester) -> None:
    run.makepyfile(ASK + """
def test_it(balancer):
    assert ask(site_of(balancer).url) == "goodbye"
""")
    done = run.runpytest_inprocess()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*fastlb, balancer*", "seed 0", "origin1 *: 1 requests",
                               "*GET / -> 200"])


def test_the_game_of_the_documentation(run: pytest.Pytester) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
    game = re.search(r"^## Datagrams\n.*?^```python\n(.*?)^```", page.read_text(),
                     re.DOTALL | re.MULTILINE)
    assert game is not None
    run.makepyfile(game[1])
    run.runpytest_inprocess(*STRICT).assert_outcomes(passed=1)


def test_a_failing_test_shows_datagrams(run: pytest.Pytester) -> None:
    run.makepyfile("""
def test_it(balancer):
    origin = balancer.udp_origin(b"pong")
    site = balancer.listen("udp://127.0.0.1:0", pool=balancer.pool(servers=[origin]))
    client = balancer.connect(site)
    client.send(b"ping")
    assert client.recv(100) == b"ping"
""")
    done = run.runpytest_inprocess()
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["origin1 127.0.0.1:*: 1 datagrams",
                               "    b'ping' of 127.0.0.1:* -> answered"])


def test_what_an_origins_function_raises_is_an_error(run: pytest.Pytester) -> None:
    run.makepyfile(ASK + """
import urllib.error, pytest

def test_it(balancer):
    def broken(request):
        raise KeyError("mine")
    site = balancer.listen(pool=balancer.pool(servers=[balancer.origin(broken)]))
    with pytest.raises(urllib.error.HTTPError):
        ask(site.url)
""")
    done = run.runpytest_inprocess()
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*KeyError: 'mine'*"])


def test_other_runs_notice_nothing(run: pytest.Pytester) -> None:
    run.makepyfile("""
import sys, threading

def test_nothing_of_ours_is_imported():
    ours = {name for name in sys.modules if name.partition(".")[0] == "fastlb"}
    assert ours == {"fastlb", "fastlb._version", "fastlb.testing", "fastlb.testing.plugin"}
    assert not {"uvloop", "pydantic", "httptools", "rich", "dns"} & set(sys.modules)
    assert threading.active_count() == 1
""")
    run.runpytest_subprocess("-p", "no:xdist", "-p", "no:benchmark").assert_outcomes(passed=1)


def test_a_fixture_of_the_same_name_wins(run: pytest.Pytester) -> None:
    run.makeconftest("""
import pytest

@pytest.fixture
def balancer():
    return "mine"
""")
    run.makepyfile("""
def test_it(balancer):
    assert balancer == "mine"

def test_it_fails_as_ever(balancer):
    assert not balancer
""")
    run.runpytest_inprocess().assert_outcomes(passed=1, failed=1)


def test_the_plugin_imports_nothing_but_pytest() -> None:
    program = (
        "import sys, pytest, _pytest.pytester; before = set(sys.modules);"
        " import fastlb.testing.plugin;"
        " print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == str(
        ["fastlb", "fastlb._version", "fastlb.testing", "fastlb.testing.plugin"]
    ), done.stderr
