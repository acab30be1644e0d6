"""Breaks the core on purpose, one line at a time, and reports what no test notices.

mutants.py N [SEED] [WORKERS] changes N random lines that run without the GIL, in a copy of the tree
(build/mutants). One build has all mutants, and a number in shared memory says which is at work. The
tests, in their plain mode, are dealt to WORKERS processes (tools/mutated.py): each finds out which
mutants its tests reach, and then lets some of these tests meet each. A mutant that survives is a
line that could be wrong unnoticed: it deserves a test, unless it means the same as before.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.nogil import bodies

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "mutants"
TESTS = ("tests/core", "tests/flow", "tests/adversity")
MUTANTS_MAX = 8191          # as mutants.h has it
EACH = 8                    # of a module, on average

SWAPS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "and": "or", "or": "and",
    "True": "False", "False": "True", "+": "-", "-": "+", "+=": "-=", "-=": "+=", "&": "|",
    "|": "&", "|=": "&=", "&=": "|=",
}
_CALL = re.compile(r"^\s+[a-z_][\w.]*\([^=]*\)$")
_ASSIGNMENT = re.compile(r"^\s+[a-z_][\w.\[\]]*(?:\.[\w\[\]]+)+ [|&+-]?= [^=].*$")
_CONDITION = re.compile(r"^(\s+)(if|elif|while) (.*):$")
_NOT_ALONE = re.compile(
    r'(cdef|cpdef|def|class|with|from|cimport|import|for|@|"|else|try|except|finally|#)')
DECLARATION = '\ncdef extern from "mutants.h" nogil:\n    bint fl_is_mutant(int number)\n'


@dataclass(frozen=True)
class Mutant:
    path: str
    line: int           # from 1
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}\n    - {self.before.strip()}\n    + {self.after.strip()}"


def _code(line: str) -> str:
    """Without its comment."""
    return re.sub(r"\s+#.*$", "", line)


def _swaps(line: str) -> Iterator[str]:
    """The line with one operator or number of it another."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(line.strip()).readline))
    except (tokenize.TokenError, IndentationError, SyntaxError):
        return
    indent = len(line) - len(line.lstrip())
    for token in tokens:
        start, end = token.start[1] + indent, token.end[1] + indent
        before, after = line[:start], line[end:]
        if token.string in SWAPS:
            # (a cast is written without spaces, and so is a sign)
            if token.type == tokenize.NAME or (before.endswith(" ") and after.startswith(" ")):
                yield before + SWAPS[token.string] + after
        elif token.string == "not" and not before.rstrip().endswith(" is"):
            yield before + after.lstrip()
        elif token.type == tokenize.NUMBER and token.string.isdigit():
            yield before + str(int(token.string) + 1) + after


def of_line(line: str) -> list[str]:
    """What the line could be by mistake. None for a declaration or a part of a statement."""
    code = _code(line)
    text = code.strip()
    if not text or _NOT_ALONE.match(text):
        return []
    if any(code.count(a) != code.count(b) for a, b in ("()", "[]", "{}")) or text.endswith("\\"):
        return []
    indent = code[: len(code) - len(code.lstrip())]
    made = list(_swaps(code))
    condition = _CONDITION.match(code)
    if condition and condition[2] != "while":
        made.append(f"{condition[1]}{condition[2]} not ({condition[3]}):")
    if _CALL.match(code) or _ASSIGNMENT.match(code) or text in ("break", "continue", "return"):
        made.append(indent + "pass")
    return made


def candidates(path: str, text: str) -> list[Mutant]:
    found = []
    quoted = False
    depth = 0           # of brackets that lines before have left open
    inside = {n for body in bodies(text) for n in range(body.start, body.end + 1)}
    for number, line in enumerate(text.splitlines(), 1):
        alone = depth == 0 and not quoted and '"""' not in line
        quoted ^= line.count('"""') % 2 == 1
        if not quoted and '"""' not in line:
            code = re.sub(r"'[^']*'|\"[^\"]*\"", "", _code(line))
            depth += sum(code.count(one) for one in "([{") - sum(code.count(one) for one in ")]}")
            depth = max(depth, 0) if not code.rstrip().endswith("\\") else max(depth, 1)
        if alone and number in inside:
            found += [Mutant(path, number, line, after) for after in of_line(line)]
    return found


def draw(n: int, seed: int) -> list[Mutant]:
    """So many mutants, each of another line; every line that can be changed is as likely. They are
    of some modules only, so that it doesn't take long to build them."""
    lines: dict[tuple[str, int], list[Mutant]] = {}
    for path in sorted((ROOT / "fastlb" / "_core").rglob("*.pyx")):
        for one in candidates(str(path.relative_to(ROOT)), path.read_text()):
            lines.setdefault((one.path, one.line), []).append(one)
    choose = random.Random(seed)
    keys = choose.sample(sorted(lines), len(lines))
    modules = list(dict.fromkeys(path for path, _ in keys))[: max(n // EACH, 1)]
    keys = [key for key in keys if key[0] in modules][: min(n, MUTANTS_MAX)]
    return [choose.choice(lines[key]) for key in keys]


def choice(number: int, mutant: Mutant) -> list[str]:
    """Lines that are the mutant when it is at work, and else what was there before."""
    before, after = _code(mutant.before), mutant.after
    old, new = _CONDITION.match(before), _CONDITION.match(after)
    if old and new:
        return [f"{old[1]}{old[2]} (({new[3]}) if fl_is_mutant({number}) else ({old[3]})):"]
    indent = before[: len(before) - len(before.lstrip())]
    return [f"{indent}if fl_is_mutant({number}):", "    " + after,
            f"{indent}else:", "    " + before]


def mutated(text: str, mutants: dict[int, Mutant]) -> tuple[str, dict[int, int]]:
    """A module with all of its mutants, and whose each new line is."""
    made: list[str] = []
    whose: dict[int, int] = {}
    by_line = {one.line: (number, one) for number, one in mutants.items()}
    for at, line in enumerate(text.splitlines(), 1):
        if at not in by_line:
            made.append(line)
            continue
        number, one = by_line[at]
        for new in choice(number, one):
            made.append(new)
            whose[len(made)] = number
    return "\n".join(made) + "\n" + DECLARATION, whose


_PLACE = re.compile(r"(fastlb/_core/[\w/]+\.pyx):(\d+)")


def unfit_of(path: str, mutants: dict[int, Mutant], env: dict[str, str]) -> set[int]:
    """Write a module with its mutants, but for those that Cython refuses, which are returned."""
    unfit: set[int] = set()
    while True:
        text, whose = mutated((ROOT / path).read_text(), {
            number: one for number, one in mutants.items() if number not in unfit})
        if (COPY / path).read_text() != text:
            (COPY / path).write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "cython", "-3", path, "-o", COPY / "build" / Path(path).stem],
            cwd=COPY, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False)
        if done.returncode == 0:
            return unfit
        bad = {whose[int(line)] for name, line in _PLACE.findall(done.stderr)
               if name == path and int(line) in whose}
        if not bad:
            raise SystemExit(done.stderr[-10_000:])
        unfit |= bad


def build(mutants: dict[int, Mutant], env: dict[str, str]) -> set[int]:
    """Build them all into the copy; returns which did not compile."""
    by_path: dict[str, dict[int, Mutant]] = {}
    for number, one in mutants.items():
        by_path.setdefault(one.path, {})[number] = one
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        unfit = set().union(*threads.map(
            lambda path: unfit_of(path, by_path[path], env), by_path))
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=COPY, env=env,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-10_000:])
    return unfit


def main(n: int, seed: int, workers: int) -> int:
    print(f"seed {seed}", flush=True)
    subprocess.run([ROOT / "tools" / "copy.sh", "mutants"], check=True)
    shutil.copy(ROOT / "tools" / "mutants.h", COPY / "fastlb" / "_core" / "c")
    results = COPY / "build" / "results"
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir(parents=True)
    env = {**os.environ, "FASTLB_PROBES": "1", "PYTHONPATH": str(COPY), "TMPDIR": str(results)}
    mutants = dict(enumerate(draw(n, seed), 1))
    unfit = build(mutants, env)
    mutants = {number: one for number, one in mutants.items() if number not in unfit}
    (results / "mutants.json").write_text(
        json.dumps({number: asdict(one) for number, one in mutants.items()}))
    running = [subprocess.Popen(
        [sys.executable, "-m", "pytest", "--no-build", "-qs", "--modes=plain",
         *("-p", "tools.mutated", "-p", "no:cacheprovider", "-p", "no:xdist"), *TESTS],
        cwd=COPY, stdin=subprocess.DEVNULL, start_new_session=True,
        stdout=(results / f"worker-{worker}.log").open("wb"), stderr=subprocess.STDOUT,
        env={**env, "FASTLB_DEADLINE_S": "20", "FASTLB_MUTANTS": str(results / f"shared-{worker}"),
             "FASTLB_MUTANTS_WORKER": f"{worker}/{workers}"})
        for worker in range(workers)]
    try:
        for process in running:
            process.wait()
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    killed = {int(path.name.split("-")[1]) for path in results.glob("killed-*")}
    reached = {int(path.name.split("-")[1]) for path in results.glob("reached-*")}
    left = [number for number in mutants if number not in killed]
    print(f"\n{len(killed)} of {len(mutants)} were noticed, {len(unfit)} did not compile"
          f" (seed {seed}). These survived:")
    for number in left:
        print(mutants[number], "" if number in reached else "\n    (no test reaches it)")
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # with all that it has started
    raise SystemExit(main(
        int(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().getrandbits(32),
        int(sys.argv[3]) if len(sys.argv) > 3 else 2))
