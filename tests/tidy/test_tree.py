"""The tree keeps its rules, and each rule would notice if it didn't."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.tidy import rules

Rule = Callable[[rules.Tree], Iterator[str]]


@pytest.fixture(scope="module")
def tree() -> dict[str, str]:
    return rules.tree()


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule, tree: dict[str, str]) -> None:
    broken = list(rule(tree))
    assert not broken, "\n" + "\n".join(broken)


def test_the_whole_core_is_looked_at(tree: dict[str, str]) -> None:
    on_disk = (rules.ROOT / "fastlb/_core").rglob("*.p[yx][xd]")
    assert {str(path.relative_to(rules.ROOT)) for path in on_disk} <= set(tree)
    assert "fastlb/_core/engine.pyx" in tree


BAD = [
    (rules.core_layers, "fastlb/_core/base/mem.pyx", "from fastlb._core.stages.relay cimport f"),
    (rules.core_layers, "fastlb/_core/base/mem.pxd", "cimport fastlb._core.tables.live"),
    (rules.core_layers, "fastlb/_core/ext/linux.pxd", "from fastlb._core.base.types cimport Core"),
    (rules.core_layers, "fastlb/_core/stages/relay.pyx", "from fastlb._core.engine cimport f"),
    (rules.core_layers, "fastlb/_core/stages/a.pyx", "from fastlb._core.stages.b cimport f"),
    (rules.core_layers, "fastlb/_core/proto/a.pyx", "from fastlb._core.tables.b cimport f"),
    (rules.core_layers, "fastlb/_core/balance/a.pyx", "from fastlb._core.failing.b cimport f"),
    (rules.core_layers, "fastlb/_core/http/a.pyx", "from fastlb._core.policy.b cimport f"),
    (rules.core_layers, "fastlb/_core/stages/a.pyx", "from fastlb._core.exchange.b cimport f"),
    (rules.core_layers, "fastlb/_core/engine.pyx", "from fastlb._core.explain.b cimport f"),
    (rules.core_layers, "fastlb/_core/base/a.pyx", "from fastlb._core.loop.conveyor cimport f"),
    (rules.core_layers, "fastlb/_core/engine.pyx", "def f():\n    import fastlb.config.limits"),
    (rules.core_layers, "fastlb/_core/engine.pyx", "from fastlb import errors"),
    (rules.core_layers, "fastlb/_core/engine.pyx", "from .base cimport mem"),
    (rules.core_layers, "fastlb/_core/magic/a.pyx", "from fastlb._core.base.b cimport f"),
    (rules.python_layers, "fastlb/config/a.py", "from fastlb.compile.pools import ring"),
    (rules.python_layers, "fastlb/errors.py", "import fastlb.config.model"),
    (rules.python_layers, "fastlb/compile/a.py", "from fastlb.observe import metrics"),
    (rules.python_layers, "fastlb/control/a.py", "def f():\n    from fastlb import balancer"),
    (rules.python_layers, "fastlb/process/a.py", "from fastlb.cli import main"),
    (rules.python_layers, "fastlb/process/a.py", "from fastlb._core.base.mem import f"),
    (rules.python_layers, "fastlb/process/a.py", "from fastlb._core.loop import conveyor"),
    (rules.python_layers, "fastlb/magic/a.py", "from fastlb.errors import ConfigError"),
    (rules.python_layers, "fastlb/config/a.py", "from . import limits"),
    (rules.private_names, "fastlb/process/a.py", "from fastlb.process.b import _f"),
    (rules.private_names, "fastlb/process/a.py", "def f(x):\n    return x._y"),
    (rules.private_names, "fastlb/process/a.py", "def f():\n    self.x._y()"),
    (rules.system_names, "fastlb/_core/engine.pyx", "    splice(a, b)"),
    (rules.system_names, "fastlb/_core/stages/accept.pyx", "    fd = accept4(fd)"),
    (rules.system_names, "fastlb/_core/c/fastlb.h", "#define X EPOLLRDHUP"),
    (rules.system_names, "fastlb/_core/c/fastlb.h", "    return syscall(SYS_accept4, fd);"),
    (rules.stubs, "fastlb/_core/engine.pyi", "class Engine: ..."),
    (rules.line_lengths, "fastlb/_core/engine.pyx", "x" * 101),
    (rules.line_lengths, "bench/load.c", "\t" + "x" * 93),
    (rules.file_lengths, "fastlb/_core/engine.pyx", "x\n" * 451),
    (rules.function_lengths, "fastlb/a.py", "def f():\n" + "    x = 1\n" * 77),
    (rules.function_lengths, "fastlb/_core/a.pyx", "cdef f(\n  int x\n):\n" + "  y\n\n" * 50),
    (rules.names_that_say_nothing, "fastlb/process/socket_utils.py", ""),
    (rules.names_that_say_nothing, "fastlb/common/sockets.py", ""),
    (rules.names_that_say_nothing, "tests/flow/helpers.py", ""),
    (rules.left_over, "fastlb/a.py", "x = 1  # TO" "DO: y"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_a_rule_notices(rule: Rule, path: str, text: str) -> None:
    assert len(list(rule({path: text}))) == 1


GOOD = [
    (rules.core_layers, "fastlb/_core/engine.pyx", "from fastlb._core.stages.a cimport f"),
    (rules.core_layers, "fastlb/_core/stages/a.pxd", "from fastlb._core.base.types cimport Core"),
    (rules.core_layers, "fastlb/_core/base/a.pyx", "from fastlb._core.base.b cimport f"),
    (rules.core_layers, "fastlb/_core/base/a.pyx", "from libc.errno cimport EAGAIN"),
    (
        rules.python_layers,
        "fastlb/config/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from fastlb.cli import main",
    ),
    (rules.python_layers, "fastlb/process/a.py", "from fastlb._core.tables.live import Live"),
    (rules.python_layers, "fastlb/process/a.py", "from fastlb.balancer import Balancer"),
    (rules.core_layers, "fastlb/_core/tables/a.pyx", "from fastlb._core.proto.b cimport f"),
    (rules.private_names, "fastlb/process/a.py", "def _f(x):\n    return x._f"),
    (rules.private_names, "fastlb/process/a.py", "class A(B):\n    x = 1\n    def f(self):\n"
     "        return self._g + super()._h()"),
    (rules.system_names, "fastlb/_core/base/net.pxd", "    splice(a, b)"),
    (rules.system_names, "fastlb/_core/engine.pyx", "x = 1  # splice would be slower"),
    (rules.system_names, "fastlb/_core/c/fastlb.h", "/* accept4\n * and splice */\nint f(void);"),
    (rules.system_names, "fastlb/process/sockets.py", "SO_REUSEPORT"),
    (rules.line_lengths, "fastlb/a.py", "x" * 100),
    (rules.function_lengths, "fastlb/_core/a.pyx", "cdef f():\n  x\ncdef g():\n" + "  y\n" * 70),
]


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_a_rule_lets_pass(rule: Rule, path: str, text: str) -> None:
    assert not list(rule({path: text}))


def test_a_module_that_python_imports_needs_a_stub() -> None:
    files = {"fastlb/_core/engine.pyx": "", "fastlb/a.py": "from fastlb._core.engine import Engine"}
    assert list(rules.stubs(files)) == ["fastlb/a.py:1: fastlb._core.engine has no .pyi"]
    assert not list(rules.stubs({**files, "fastlb/_core/engine.pyi": ""}))


A, B, C = "fastlb/process/a.py", "fastlb/process/b.py", "fastlb/process/c.py"


def test_modules_that_import_each_other_are_told() -> None:
    files = {A: "import fastlb.process.b", B: "def f():\n    from fastlb.process import c", C: ""}
    assert not list(rules.circles(files))
    files[C] = "from fastlb.process.a import f"
    assert list(rules.circles(files)) == [
        "fastlb.process.a, fastlb.process.b, fastlb.process.c: they import each other"]


def test_a_pxd_closes_a_circle_of_the_core() -> None:
    files = {"fastlb/_core/base/a.pyx": "from fastlb._core.base.b cimport f",
             "fastlb/_core/base/a.pxd": "", "fastlb/_core/base/b.pyx": "",
             "fastlb/_core/base/b.pxd": "from fastlb._core.base.a cimport f"}
    assert len(list(rules.circles(files))) == 1


def test_the_layers_are_those_that_the_docs_draw() -> None:
    assert list(rules.CORE_RANKS)[:2] == ["ext", "base"] and "stages" in rules.CORE_RANKS
    assert rules.PYTHON_RANKS["errors"] < rules.PYTHON_RANKS["config"] < rules.PYTHON_RANKS["cli"]
    assert rules.FACES["balancer"] == "process" and "engine" in rules.DOORS
