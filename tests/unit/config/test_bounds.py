"""Keys that would cost a parser more than they are worth are refused before it sees them."""

from __future__ import annotations

import tracemalloc

import pytest

from fastlb.config.bounds import oversized_key
from fastlb.config.reader import loads
from fastlb.errors import ConfigError


@pytest.mark.parametrize(("text", "line", "message"), [
    ("threads = 1\n" + "a." * 20_000 + "a = 1\n", 2, "a key has more than 16 parts"),
    ('"a" . ' * 20_000 + "a = 1\n", 1, "a key has more than 16 parts"),
    ("[" + "a." * 17 + "b]\n", 1, "a key has more than 16 parts"),
    ("x = { " + "'a'." * 17 + "b = 1 }\n", 1, "a key has more than 16 parts"),
    ("\n\n" + "k" * 2000 + " = 1\n", 3, "a key has more than 1024 characters"),
])
def test_an_oversized_key_is_refused_where_it_stands(text: str, line: int, message: str) -> None:
    tracemalloc.start()
    with pytest.raises(ConfigError) as caught:
        loads(text, "a.toml")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(one.message, one.line) for one in caught.value.problems] == [(message, line)]
    assert most < 20 * len(text) + 1_000_000


DOTS = "a." * 40 + "a"


@pytest.mark.parametrize("text", [
    f'[pools.p]\nservers = ["{DOTS[:60]}:80"]\n',
    f"# {DOTS}\n[pools.p]\n",
    f'[pools.p]\n[listeners.l]\nbind = "http://127.0.0.1:1"\npool = "p"\n'
    f'[listeners.l.response_headers.set]\nx-a = """\n{DOTS}\n"""\n'.replace("\n{DOTS}\n", DOTS),
    f"[pools.p] # ' {DOTS}\nservers = ['unix:/{DOTS[:60]}']\n",
])
def test_dots_that_are_no_key_are_nobodys_business(text: str) -> None:
    assert oversized_key(text) is None


@pytest.mark.parametrize("piece", ['"""\\', '"\\"', "'''", '"', '""\\"', "a . ", "\\", "#\n'"])
def test_any_text_is_looked_at_once(piece: str) -> None:
    """Twice the text takes about twice the steps, however strings in it begin and end: a search
    that goes back would need hours for a megabyte."""
    oversized_key(piece * 250_000)


def test_very_many_mistakes_are_counted_and_not_told() -> None:
    text = "".join(f"a{i} = 0\n" for i in range(20_001))
    with pytest.raises(ConfigError) as caught:
        loads(text, "a.toml")
    assert [str(one) for one in caught.value.problems] == [
        "a.toml: not a configuration: 20,001 mistakes"]
