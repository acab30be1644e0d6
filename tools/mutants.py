"""Breaks the core on purpose, one line at a time, and reports what no test notices.

mutants.py N [SEED] [pytest's arguments] changes N random lines that run without the GIL, in a copy
of the tree (build/mutants). For each it builds the one module again and runs the tests that are
about it; at the end, what has survived these meets all others. A mutant that survives is a line
that could be wrong unnoticed: it deserves a test, unless it means the same as before.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.nogil import bodies

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / "build" / "mutants"
SURVIVED, UNFIT = "SURVIVED", "does not compile"
SECONDS_MAX = 900           # for the tests of one: a mutant may hang in each of them

# What is about a module, by the first of these that its path matches.
TESTS = (
    (r"base/h2|http/h2|carrier|http/grpc|http/trailers",
     "tests/flow/http2 tests/flow/http/test_states.py"),
    (r"base/tls|stages/handshake|tables/(certificates|contexts|hello)|proto/clienthello",
     "tests/core tests/flow/tls tests/flow/sniff"),
    (r"datagrams|sessions|base/(batch|sources)|introduced", "tests/flow/udp tests/core"),
    (r"proxyproto|proxied", "tests/core tests/flow/proxied"),
    (r"sniff|openings|proto/(mqtt|redis|protocols)|handing|first",
     "tests/core tests/flow/sniff tests/flow/tcp/test_policies.py"),
    (r"policies/|balance|tables/(hashring|maglev|live|states|sticky)|keyed|hedge|shadow|mirror",
     "tests/core tests/flow/http tests/flow/test_health.py"),
    (r"proto/|heard|replay|rehearsal|reasons", "tests/core tests/flow/explain tests/flow/http"),
    (r"record|observed|tables/(counts|histogram|logformat|names|records|series)|http/note|date",
     "tests/core tests/flow/observe tests/flow/http"),
    (r"relay|tunnel|base/(flow|pipe|poller|stream|mem)|conveyor|expiry|intake|lifecycle|engine"
     r"|sweep|forked|waiting|stages/(accept|connect|linger)",
     "tests/core tests/flow/tcp tests/flow/http tests/flow/manners tests/flow/udp"),
    (r"", "tests/core tests/flow/http tests/flow/tcp tests/flow/explain"),
)
# And of what is left, all that could notice.
REST = "tests/core tests/flow tests/unit tests/adversity"

SWAPS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "and": "or", "or": "and",
    "True": "False", "False": "True", "+": "-", "-": "+", "+=": "-=", "-=": "+=", "&": "|",
    "|": "&", "|=": "&=", "&=": "|=",
}
_CALL = re.compile(r"^\s+[a-z_][\w.]*\([^=]*\)$")
_ASSIGNMENT = re.compile(r"^\s+[a-z_][\w.\[\]]*(?:\.[\w\[\]]+)+ [|&+-]?= [^=].*$")
_CONDITION = re.compile(r"^(\s+)(if|elif|while) (.*):$")


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
    if not text or re.match(r'(cdef|cpdef|def|class|with|from|cimport|import|@|"|else|#)', text):
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
    lines = text.splitlines()
    found = []
    quoted = False
    inside = {n for body in bodies(text) for n in range(body.start, body.end + 1)}
    for number, line in enumerate(lines, 1):
        was_quoted = quoted
        quoted ^= line.count('"""') % 2 == 1
        if number in inside and not was_quoted and '"""' not in line:
            found += [Mutant(path, number, line, after) for after in of_line(line)]
    return found


def draw(n: int, seed: int) -> list[Mutant]:
    """So many mutants, each of another line; every line that can be changed is as likely."""
    lines: dict[tuple[str, int], list[Mutant]] = {}
    for path in sorted((ROOT / "fastlb" / "_core").rglob("*.pyx")):
        for one in candidates(str(path.relative_to(ROOT)), path.read_text()):
            lines.setdefault((one.path, one.line), []).append(one)
    choose = random.Random(seed)
    return [choose.choice(lines[key]) for key in choose.sample(sorted(lines), min(n, len(lines)))]


def tests_of(path: str) -> list[str]:
    within = path.removeprefix("fastlb/_core/")
    return next(tests for pattern, tests in TESTS if re.search(pattern, within)).split()


class Copy:
    """A tree in which a module is built, tried and put back."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments
        subprocess.run([ROOT / "tools" / "copy.sh", "mutants"], check=True)
        runs = COPY / "build" / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        self.env = {**os.environ, "FASTLB_PROBES": "1", "PYTHONPATH": str(COPY),
                    "TMPDIR": str(runs), "FASTLB_DEADLINE_S": "20"}
        said = self.build()
        if said:
            raise SystemExit(said)

    def build(self) -> str:
        """What was said if it failed."""
        done = subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=COPY, env=self.env,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.stderr + done.stdout + "failed" if done.returncode else ""

    def test(self, tests: list[str]) -> str:
        """The first test that fails, or what else went wrong; empty if nothing did."""
        log = COPY / "build" / "tests.log"
        with log.open("wb") as to, subprocess.Popen(
            [sys.executable, "-m", "pytest", "--no-build", "-x", "-q", "--modes=plain",
             "-p", "no:cacheprovider", "-o", "timeout=120", *self.arguments, *tests],
            cwd=COPY, env=self.env, stdin=subprocess.DEVNULL, stdout=to, stderr=to,
            start_new_session=True,
        ) as process:
            try:
                status = process.wait(SECONDS_MAX)
            except subprocess.TimeoutExpired:
                status = -1
            finally:            # also what the tests have left behind
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        found = re.search(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.M)
        if status == 0:
            return ""
        return found[1] if found else f"pytest, with status {status}"

    def outcome(self, mutant: Mutant, tests: list[str]) -> str:
        source = COPY / mutant.path
        text = source.read_text()
        lines = text.split("\n")
        assert lines[mutant.line - 1] == mutant.before
        lines[mutant.line - 1] = mutant.after
        name = source.stem + ".*.so"
        built = [*source.parent.glob(name), *(COPY / "build").glob("dev-*/temp/stamp.json"),
                 *(COPY / "build").glob(f"dev-*/lib/{Path(mutant.path).parent}/{name}")]
        for path in built:
            shutil.copy2(path, path.with_name(path.name + ".whole"))
        source.write_text("\n".join(lines))
        try:
            if self.build():
                return UNFIT
            killed = self.test(tests)
            return f"killed by {killed}" if killed else SURVIVED
        finally:
            source.write_text(text)
            for path in built:
                path.with_name(path.name + ".whole").replace(path)


def main(n: int, seed: int, arguments: list[str]) -> int:
    print(f"seed {seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # with all that it has started
    copy = Copy(arguments)
    outcomes: dict[Mutant, str] = {}
    drawn = draw(n, seed)
    for tests in (None, REST.split()):
        left = [one for one in drawn if outcomes.get(one, SURVIVED) == SURVIVED]
        for number, mutant in enumerate(left, 1):
            outcomes[mutant] = copy.outcome(mutant, tests or tests_of(mutant.path))
            print(f"{number} of {len(left)}: {mutant}\n    {outcomes[mutant]}", flush=True)
    survivors = [one for one in drawn if outcomes[one] == SURVIVED]
    unfit = sum(one == UNFIT for one in outcomes.values())
    print(f"\n{len(survivors)} of {n - unfit} survived, and {unfit} did not compile (seed {seed})")
    print(*survivors, sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(
        int(sys.argv[1]),
        int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().getrandbits(32),
        sys.argv[3:]))
