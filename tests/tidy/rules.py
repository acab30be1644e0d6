"""What the tree keeps to. Each rule takes {path: text} and yields what breaks it, a line each."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

Tree = Mapping[str, str]

ROOT = Path(__file__).resolve().parents[2]
PLACES = ("fastlb", "tests", "tools", "bench", "examples", "setup.py")
SUFFIXES = (".py", ".pyi", ".pyx", ".pxd", ".h", ".c", ".sh")

LINE_COLUMNS_MAX = 100
# About 400 and about 70 are aimed at; where a little more reads better than a seam, it may stand.
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 77

CORE = "fastlb/_core/"


def _layers(start: str) -> list[list[str]]:
    """The layers that docs/architecture.md names on the line after `start`, the lowest first."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    found = re.search(rf"^{start}:\s+(\S.*(?:\n\s+\S.*)*)$", text, re.M)
    assert found, f"docs/architecture.md has no line that begins with {start}:"
    return [re.findall(r"[\w.]+", level) for level in found[1].split("<")]


def _ranks(start: str) -> dict[str, int]:
    return {name: rank for rank, level in enumerate(_layers(start)) for name in level}


CORE_RANKS = _ranks("core")
PYTHON_RANKS = _ranks("python")
# Modules that are the face of `process`, or use it as others do.
FACES = dict.fromkeys(_layers("process, too")[0], "process")
# Modules of the core that Python may import, beside tables.
DOORS = "|".join(map(re.escape, _layers("doors")[0]))
# What a class says about itself with the help of what lies above it, imported when it is asked.
LATE = {
    ("fastlb.config.base", "fastlb.config.check"),
    ("fastlb.config.model", "fastlb.config.check"),
    ("fastlb.config.model", "fastlb.config.reader"),
    ("fastlb.explain.model", "fastlb.explain.shown"),
}
# Private names that libraries make people use.
FOREIGN_PRIVATE = {"_current_frames", "_get_running_loop", "_exit", "_active_span_processor"}
SYSTEM_NAMES = ("accept4", "EPOLLRDHUP", "splice", "SO_REUSEPORT")
SHAPELESS = re.compile(r"(?:^|_)(?:utils?|common|helpers?|managers?)(?:_|$)")
LEFT_OVER = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")


def tree() -> dict[str, str]:
    """All source files as they stand."""
    found = {}
    for place in PLACES:
        top = ROOT / place
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.suffix in SUFFIXES and "build" not in path.parts[len(ROOT.parts) :]:
                found[str(path.relative_to(ROOT))] = path.read_text()
    return found


def _code(line: str) -> str:
    return line.split("#")[0]


def _c_code(line: str) -> str:
    return re.sub(r"/\*.*?(\*/|$)|//.*|^\s*\*.*", "", line)


def _module(path: str) -> str:
    return str(PurePosixPath(path).with_suffix("")).replace("/", ".").removesuffix(".__init__")


def _core_layer(module: str) -> str:
    """fastlb._core.stages.relay -> stages; what lies in _core itself belongs to the engine."""
    parts = module.split(".")[2:]
    return parts[0] if len(parts) > 1 or (parts and parts[0] in CORE_RANKS) else "engine"


_CYTHON_IMPORT = re.compile(
    r"^\s*(?:from\s+([\w.]+)\s+(?:cimport|import)\b|(?:cimport|import)\s+([\w., ]+))"
)


def _cython_imports(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        found = _CYTHON_IMPORT.match(_code(line))
        if found:
            names = [found[1]] if found[1] else found[2].split(",")
            for name in names:
                yield number, name.strip().split(" ")[0]


def core_layers(files: Tree) -> Iterator[str]:
    """A module imports from its own layer and from lower ones; a stage never reaches another."""
    for path, text in files.items():
        if not path.startswith(CORE) or not path.endswith((".pyx", ".pxd")):
            continue
        mine = _core_layer(_module(path))
        for line, name in _cython_imports(text):
            if name.startswith("."):
                yield f"{path}:{line}: a relative import; the build only follows absolute ones"
            if not name.startswith("fastlb"):
                continue
            if not name.startswith("fastlb._core."):
                yield f"{path}:{line}: the core imports {name}, which is Python's side"
                continue
            theirs = _core_layer(name)
            if mine not in CORE_RANKS or theirs not in CORE_RANKS:
                yield f"{path}:{line}: {mine} or {theirs} is no layer of the core"
            elif mine == theirs == "stages" and name != _module(path):
                yield f"{path}:{line}: a stage reaches another, {name}"
            elif mine != theirs and CORE_RANKS[theirs] >= CORE_RANKS[mine]:
                yield f"{path}:{line}: {mine} must not know {theirs} ({name})"


def _python_imports(text: str) -> Iterator[tuple[int, str]]:
    """Imports that run, at the top or in a function; those for type checkers alone don't count."""

    def is_package(module: str) -> bool:
        return module.startswith("fastlb.") and (ROOT / module.replace(".", "/")).is_dir()

    def walk(node: ast.AST) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from walk(other)
            return
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or not node.module:
                yield node.lineno, "." * node.level + (node.module or "")
            elif node.module == "fastlb" or is_package(node.module):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    yield from walk(ast.parse(text))


def _python_layer(module: str) -> str:
    parts = module.split(".")
    top = parts[1] if len(parts) > 1 else ""
    return FACES.get(top, top)


def python_layers(files: Tree) -> Iterator[str]:
    """The same in Python, which reaches the core through its doors and its tables."""
    for path, text in files.items():
        if not path.startswith("fastlb/") or not path.endswith(".py") or path.startswith(CORE):
            continue
        mine = _python_layer(_module(path))
        if not mine:
            continue  # fastlb/__init__.py names everything and imports it when it is asked for
        for line, name in _python_imports(text):
            if name.startswith("."):
                yield f"{path}:{line}: a relative import"
            elif name.startswith("fastlb._core"):
                if not re.match(rf"fastlb\._core\.(?:(?:{DOORS})$|tables\.\w+$)", name):
                    yield f"{path}:{line}: {name} is not for Python; engine and tables are"
            elif name.startswith("fastlb."):
                theirs = _python_layer(name)
                if mine not in PYTHON_RANKS or theirs not in PYTHON_RANKS:
                    yield f"{path}:{line}: {mine} or {theirs} is no layer of fastlb"
                elif mine != theirs and PYTHON_RANKS[theirs] >= PYTHON_RANKS[mine]:
                    yield f"{path}:{line}: {mine} must not know {theirs} ({name})"


def _edges(files: Tree) -> dict[str, set[str]]:
    """Which module imports which, when it runs; a .pxd counts as its .pyx."""
    modules = {_module(path) for path in files if path.startswith("fastlb/")}
    edges: dict[str, set[str]] = {}
    for path, text in files.items():
        if not path.startswith("fastlb/") or not path.endswith((".py", ".pyx", ".pxd")):
            continue
        mine = _module(path)
        imports = _python_imports(text) if path.endswith(".py") else _cython_imports(text)
        for _, name in imports:
            if name in modules and name != mine and (mine, name) not in LATE:
                edges.setdefault(mine, set()).add(name)
    return edges


def circles(files: Tree) -> Iterator[str]:
    """No module reaches itself through what it imports."""
    edges = _edges(files)
    reached: dict[str, set[str]] = {}
    for start in edges:
        found: set[str] = set()
        ahead = [start]
        while ahead:
            for name in edges.get(ahead.pop(), ()):
                if name not in found:
                    found.add(name)
                    ahead.append(name)
        reached[start] = found
    told: set[str] = set()
    for start in sorted(reached):
        circle = {name for name in reached[start] if start in reached.get(name, ())}
        if circle and start not in told:
            told |= circle
            yield f"{', '.join(sorted(circle))}: they import each other"


def _own_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def private_names(files: Tree) -> Iterator[str]:
    """What begins with an underscore is used by its own module, and by subclasses."""
    for path, text in files.items():
        if not path.startswith("fastlb/") or not path.endswith(".py"):
            continue
        tree = ast.parse(text)
        own = {*_own_names(tree), *FOREIGN_PRIVATE, "_core", "_version"}
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom):
                if (node.module or "").startswith("fastlb"):
                    names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in (
                    "self", "cls", "super()"):
                names = [node.attr]
            for name in names:
                if name.startswith("_") and not name.startswith("__") and name not in own:
                    yield f"{path}:{node.lineno}: {name} is another module's"


def system_names(files: Tree) -> Iterator[str]:
    """What another system lacks is named in base and ext alone."""
    names = re.compile(r"\b(?:SYS_|__NR_)?(?:" + "|".join(SYSTEM_NAMES) + r")\b")
    for path, text in files.items():
        if not path.startswith(CORE) or path.startswith((CORE + "base/", CORE + "ext/")):
            continue
        code = _c_code if path.endswith((".h", ".c")) else _code
        for number, line in enumerate(text.splitlines(), 1):
            found = names.search(code(line))
            if found:
                yield f"{path}:{number}: {found[0]} is named outside of base and ext"


def stubs(files: Tree) -> Iterator[str]:
    """A compiled module that Python imports says what it offers, and no .pyi stands alone."""
    for path, text in files.items():
        if path.endswith(".pyi") and path[:-1] + "x" not in files:
            yield f"{path}: there is no such compiled module"
        if path.startswith("fastlb/") and path.endswith(".py"):
            for line, name in _python_imports(text):
                file = name.replace(".", "/")
                if f"{file}.pyx" in files and f"{file}.pyi" not in files:
                    yield f"{path}:{line}: {name} has no .pyi"


def line_lengths(files: Tree) -> Iterator[str]:
    for path, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            if len(line.expandtabs(8)) > LINE_COLUMNS_MAX:
                yield f"{path}:{number}: {len(line)} columns"


def file_lengths(files: Tree) -> Iterator[str]:
    for path, text in files.items():
        lines = text.count("\n")
        if lines > FILE_LINES_MAX:
            yield f"{path}: {lines} lines"


_CYTHON_FUNCTION = re.compile(r"^(\s*)(?:def|cdef|cpdef)\s(?!class\b)[^=#]*?(\w+)\(")


def _cython_functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Name, first and last line of each function, by indentation."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        header = _CYTHON_FUNCTION.match(line)
        if header is None:
            continue
        last, depth = i, 0
        for j in range(i, len(lines)):
            stripped = lines[j].strip()
            deeper = len(lines[j]) - len(lines[j].lstrip()) > len(header[1])
            if j > i and stripped and depth <= 0 and not deeper:
                break
            depth += _code(lines[j]).count("(") - _code(lines[j]).count(")")
            if stripped:
                last = j
        yield header[2], i + 1, last + 1


def _python_functions(text: str) -> Iterator[tuple[str, int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, node.end_lineno or node.lineno


def function_lengths(files: Tree) -> Iterator[str]:
    for path, text in files.items():
        if path.endswith(".py"):
            functions = _python_functions(text)
        elif path.endswith((".pyx", ".pxd")):
            functions = _cython_functions(text)
        else:
            continue
        for name, first, last in functions:
            if last - first + 1 > FUNCTION_LINES_MAX:
                yield f"{path}:{first}: {name} has {last - first + 1} lines"


def names_that_say_nothing(files: Tree) -> Iterator[str]:
    for path in files:
        for part in PurePosixPath(path).with_suffix("").parts:
            if SHAPELESS.search(part):
                yield f"{path}: {part} says nothing about what is in it"


def left_over(files: Tree) -> Iterator[str]:
    for path, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            found = LEFT_OVER.search(line)
            if found:
                yield f"{path}:{number}: {found[0]}"


RULES = (
    core_layers,
    python_layers,
    circles,
    private_names,
    system_names,
    stubs,
    line_lengths,
    file_lengths,
    function_lengths,
    names_that_say_nothing,
    left_over,
)
