"""The tools that judge other code, on made-up input: each must be able to find something."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools import again, annotation, core_coverage, mutants, sanitizer_logs
from tools.nogil import Body, bodies

ROOT = Path(__file__).resolve().parents[2]

PYX = """\
cdef extern from "x.h" nogil:
    int f(int)

cdef int one(
    int x,      # (
    int y,
) noexcept nogil:
    return x

cdef class C:
    cdef int two(self) except -1:
        return 1

    def three(self):
        with nogil:
            one(1, 2)

            one(2, 3)
        return 4

cdef inline bint four(void* p) noexcept nogil: # why
    return p != NULL
"""


def test_nogil_code_is_found_by_its_text() -> None:
    assert bodies(PYX) == [
        Body("one", header=4, start=8, end=8),
        Body("three", header=15, start=16, end=18),
        Body("four", header=21, start=22, end=22),
    ]


def page(scores: dict[int, int]) -> str:
    return "\n".join(
        f'<pre class="cython line score-{score}" onclick="(function(f){{}})">'
        f'+<span class="">{line:02}</span>: <span class="n">x</span></pre>'
        for line, score in scores.items()
    )


def test_a_yellow_line_of_nogil_code_is_found() -> None:
    assert list(annotation.yellow(page({8: 0, 12: 9, 15: 14, 16: 0}), PYX)) == []
    assert list(annotation.yellow(page({8: 3, 12: 9, 18: 1}), PYX)) == [(8, "one"), (18, "three")]


def test_an_annotation_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(SystemExit, match="form"):
        list(annotation.yellow("<pre>1: x</pre>", PYX))


def test_an_inline_function_that_calls_python_is_found() -> None:
    c_text = (
        "static CYTHON_INLINE int __pyx_f_6fastlb_4base_four(void *); /*proto*/\n"
        "static CYTHON_INLINE int __pyx_f_6fastlb_4base_four(void *p) {\n  %s\n}\n"
    )
    assert not list(annotation.python_calls(c_text % "return p != NULL;", {"four"}))
    found = annotation.python_calls(c_text % "if (__Pyx_ErrOccurredWithGIL()) {}", {"four"})
    assert [call for _, call in found] == ["__Pyx_ErrOccurredWithGIL("]


LEAK = """\
==7==ERROR: LeakSanitizer: detected memory leaks

Direct leak of 64 byte(s) in 1 object(s) allocated from:
    #0 0x7f in __interceptor_malloc (/lib/libasan.so.8+0x1)
    #1 0x55 in PyObject_Malloc (/usr/bin/python3+0x1)
%s    #3 0x55 in _PyEval_EvalFrameDefault (/usr/bin/python3+0x2)

SUMMARY: AddressSanitizer: 64 byte(s) leaked in 1 allocation(s).
"""
OURS = "    #2 0x7f in __pyx_f_take fastlb/_core/base/mem.pyx:12\n"


def test_a_leak_counts_when_our_code_allocated_it() -> None:
    assert sanitizer_logs.findings(LEAK % "") == []
    assert len(sanitizer_logs.findings(LEAK % OURS)) == 1
    deep = "".join(f"    #{n} 0x55 in call (/usr/bin/python3+0x3)\n" for n in range(2, 9)) + OURS
    assert sanitizer_logs.findings(LEAK % deep) == []


@pytest.mark.parametrize(
    "log",
    [
        "==9==ERROR: AddressSanitizer: heap-use-after-free on address 0x6\n",
        "fastlb/_core/engine.pyx:12:3: runtime error: signed integer overflow\n",
        "LeakSanitizer has encountered a fatal error\n",
    ],
)
def test_an_error_of_any_process_counts(log: str, tmp_path: Path) -> None:
    (tmp_path / "asan.7").write_text(LEAK % "")
    assert sanitizer_logs.main(tmp_path) == 0
    (tmp_path / "ubsan.9").write_text(log)
    assert sanitizer_logs.main(tmp_path) == 1


def test_few_processes_may_go_unchecked_for_leaks(tmp_path: Path) -> None:
    (tmp_path / "asan.0").write_text("LeakSanitizer has encountered a fatal error\n")
    for n in range(1, 20):
        (tmp_path / f"asan.{n}").write_text(LEAK % "")
    assert sanitizer_logs.main(tmp_path) == 0
    (tmp_path / "asan.1").write_text("LeakSanitizer has encountered a fatal error\n")
    assert sanitizer_logs.main(tmp_path) == 1


def gcov_line(number: int, count: int, *branches: int) -> dict[str, object]:
    return {
        "line_number": number,
        "count": count,
        "branches": [{"count": taken} for taken in branches],
    }


def test_coverage_counts_lines_and_branches_of_nogil_code_alone() -> None:
    lines = [
        gcov_line(8, 3, 3, 0),
        gcov_line(12, 0, 0, 0),
        gcov_line(18, 0),
        gcov_line(22, 0, 0, 0),
        gcov_line(22, 1, 0, 1),  # the same inline function in another module
    ]
    assert core_coverage.row("x.pyx", PYX, lines) == core_coverage.Row(
        "x.pyx", lines=3, lines_hit=2, branches=4, branches_hit=2, missed=[18]
    )


PASSED = "===== 9 passed, 1 skipped in 3.21s =====\n"
FAILED = """\
FAILED tests/a.py::test_a[x] - AssertionError
ERROR tests/a.py::test_b
==== 1 failed, 7 passed, 1 error in 61.00s (0:01:01) ====
"""


def test_runs_are_summed_up_by_what_failed() -> None:
    assert again.closing(PASSED) == "9 passed, 1 skipped in 3.21s"
    assert again.closing("killed") == "it did not come to its closing line"
    assert again.failed([PASSED, FAILED, FAILED.replace("ERROR", "passed")]) == [
        "2 times: tests/a.py::test_a[x]", "1 times: tests/a.py::test_b"]


def test_busy_loops_end_with_who_started_them() -> None:
    program = ("import os; from tools import again; import sys\n"
               "with again.busy(2) as loops:\n"
               "    print(*(loop.pid for loop in loops), flush=True); os._exit(0)")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True,
                          text=True, check=True)
    left = [int(pid) for pid in done.stdout.split()]
    assert len(left) == 2
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in left):
        assert time.monotonic() < deadline, "a loop goes on"
        time.sleep(0.05)
    with again.busy(1) as loops:
        assert loops[0].poll() is None
    assert loops[0].poll() is not None


def test_a_line_is_mutated_in_what_it_does() -> None:
    assert mutants.of_line("    if n <= 16 and not x.done:     # why <= 16") == [
        "    if n < 16 and not x.done:", "    if n <= 17 and not x.done:",
        "    if n <= 16 or not x.done:", "    if n <= 16 and x.done:",
        "    if not (n <= 16 and not x.done):"]
    assert mutants.of_line("    x.size += <uint32_t> n") == [
        "    x.size -= <uint32_t> n", "    pass"]
    assert mutants.of_line("    give_input(core, x)") == ["    pass"]
    assert mutants.of_line("        return") == ["        pass"]
    assert mutants.of_line("    return -EAGAIN") == []
    for line in ("    cdef int n = 1", "    # 1", '    """Is 1."""', "    put(a,", "", "  else:"):
        assert mutants.of_line(line) == []


def test_mutants_are_of_nogil_code_and_each_of_another_line() -> None:
    assert {(one.line, one.after) for one in mutants.candidates("x.pyx", PYX)} == {
        (16, "            one(2, 2)"), (16, "            one(1, 3)"), (16, "            pass"),
        (18, "            one(3, 3)"), (18, "            one(2, 4)"), (18, "            pass"),
        (22, "    return p == NULL")}
    drawn = mutants.draw(30, seed=1)
    assert drawn == mutants.draw(30, seed=1) != mutants.draw(30, seed=2)
    assert len({(one.path, one.line) for one in drawn}) == 30


def test_a_module_has_all_its_mutants_at_once() -> None:
    text = "cdef void f(int n) noexcept nogil:\n    if n < 1:   # why\n        return\n    n += 2\n"
    two = {7: mutants.Mutant("x.pyx", 2, "    if n < 1:   # why", "    if n <= 1:"),
           9: mutants.Mutant("x.pyx", 4, "    n += 2", "    n -= 2")}
    made, whose = mutants.mutated(text, two)
    assert made == """\
cdef void f(int n) noexcept nogil:
    if ((n <= 1) if fl_is_mutant(7) else (n < 1)):
        return
    if fl_is_mutant(9):
        n -= 2
    else:
        n += 2
""" + mutants.DECLARATION
    assert whose == {2: 7, 4: 9, 5: 9, 6: 9, 7: 9}


def test_a_part_of_a_statement_has_no_mutant() -> None:
    text = """\
cdef int f(int n) noexcept nogil:
    '''n + 1'''
    if (n == 1
            and n == 2):
        return g(n, "(",
                 n) if n else 3
    return n == 4
"""
    assert {one.line for one in mutants.candidates("x.pyx", text.replace("'''", '"""'))} == {7}
