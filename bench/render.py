"""Tables, ratios and the page docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.model import Column, Row, Scenario, Table, Target
from bench.peers import Peer
from bench.peers.fastlb import Fastlb

METHOD = """\
The balancer runs on CPU 0 with one worker thread; the load generator and the origin share CPU 1.
Cost is CPU time of the balancer's whole process tree (every thread's schedstat, before and after
the window) over the requests completed in it. Figures are medians over the rounds; within a round
the balancers take turns, each in a fresh process that has done its start. The load generator
(bench/load.c) checks status, length and bytes of the answers; a single error of any kind voids the
row. Datagrams are checked on both sides (bench/datagrams.c, bench/datagram_origin.c): one that is
lost is counted, one that is changed, comes twice or comes to somebody else voids the row. System
calls are counted with `strace -f -c` in a run of their own. A reading that other programs on the
two CPUs disturbed is taken again. `direct` is the load on the origin without a balancer.

Targets are judged by the ratio of the medians. The ratio of the best rounds is shown beside it, as
noise here only ever adds.

Machines differ, and this one varies by tens of percent between runs: quote the ratios, not the
figures."""


@dataclass(frozen=True)
class Run:
    """All that a page says about a run besides its tables."""

    date: str
    command: str
    rounds: int
    seconds: float
    machine: list[tuple[str, str]]
    peers: Sequence[Peer]
    versions: dict[str, str]
    left_out: list[str]


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def grid(rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns, numbers to the right; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: list[str]) -> str:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [f"{'-' * (w - 1)}:" if i else "-" * w for i, w in enumerate(widths)]
    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])])


def _cells(row: Row, columns: Sequence[Column], syscalls: bool) -> list[str]:
    cells = [row.peer]
    for i, column in enumerate(columns):
        if row.void:
            cells.append("void" if i == 0 else "")
            continue
        cells.append(number(row.value(column.key), column.digits))
        if i == 0:
            spread = row.spread(column.key)
            cells.append("" if spread is None else "-".join(
                number(v, column.digits) for v in spread))
    if row.void:
        cells.append("")
    if syscalls:
        cells.append(number(row.syscalls, 2))
    return cells


def table(found: Table) -> str:
    """One scenario's table, with what is to be said about its rows below it."""
    scenario = found.scenario
    first, *rest = [column.title for column in scenario.columns]
    head = ["", first, "min-max", *rest, *(["syscalls/request"] if scenario.syscalls else [])]
    rows = [_cells(row, scenario.columns, scenario.syscalls) for row in found.rows]
    parts = [grid([head, *rows])]
    below = [f"- {note}" for note in scenario.notes]
    for row in found.rows:
        if row.void:
            below.append(f"- {row.peer} is void: {row.void}")
        if row.syscall_names:
            below.append(f"- {row.peer}, system calls per request: {row.syscall_names}")
    disturbed = [f"{r.peer} {r.disturbed}/{len(r.readings)}" for r in found.rows if r.disturbed]
    if disturbed:
        below.append(f"- readings that other programs disturbed: {', '.join(disturbed)}")
    if below:
        parts.append("\n".join(below))
    return "\n\n".join(parts)


@dataclass(frozen=True)
class Verdict:
    scenario: Scenario
    target: Target
    label: str
    value: float | None
    reference: str
    ratio: float | None
    best_ratio: float | None
    more: float | None

    @property
    def met(self) -> bool | None:
        measured = self.ratio if self.target.against else self.value
        if self.target.more:
            measured = self.more
        return None if measured is None else measured <= self.target.limit

    def cells(self) -> list[str]:
        target = self.target
        column = _column(self.scenario, target)
        limit = f"{target.limit:.2f} of the cheapest of {', '.join(target.against)}"
        if len(target.against) == 1:
            limit = f"{target.limit:.2f} of {target.against[0]}"
        if target.more:
            limit = f"{number(target.limit, column.digits)} {column.title} more, and is" \
                f" {number(self.more, column.digits)}"
        if not target.against:
            limit = f"{number(target.limit, column.digits)} {column.title}"
        verdict = {True: "met", False: "not met", None: "not measured"}[self.met]
        return [self.scenario.title, self.label, number(self.value, column.digits),
                self.reference, number(self.ratio, 3), number(self.best_ratio, 3), limit, verdict]


def _column(scenario: Scenario, target: Target) -> Column:
    if not target.key:
        return scenario.columns[0]
    return next(column for column in scenario.columns if column.key == target.key)


def _best_round(found: Table, label: str, key: str) -> float:
    row = found.row(label)
    spread = row.spread(key) if row else None
    assert spread is not None
    return spread[0]


def _verdict(found: Table, target: Target, label: str) -> Verdict:
    column = _column(found.scenario, target)
    values = {name: found.compared(name, column.key) for name in target.against}
    known = {name: value for name, value in values.items() if value is not None}
    best = min(known, key=lambda name: known[name]) if known else None
    value = found.compared(label, column.key)
    ratio = best_ratio = more = None
    if value is not None and best is not None:
        more = value - known[best]
        best_round = _best_round(found, best, column.key)
        if known[best] and best_round:          # (shares that are lost may well be 0)
            ratio = value / known[best]
            best_ratio = _best_round(found, label, column.key) / best_round
    reference = f"{best} {number(known[best], column.digits)}" if best else ""
    return Verdict(found.scenario, target, label, value, reference, ratio, best_ratio,
                   more)


def verdicts(tables: Sequence[Table], labels: Sequence[str]) -> list[Verdict]:
    """For each target and build of fastlb: its figure, what it is held against, the ratio."""
    return [
        _verdict(each, target, label)
        for each in tables for target in each.scenario.targets
        for label in ([target.of] if target.of else labels)
    ]


def target_table(found: Sequence[Verdict]) -> str:
    head = ["work", "", "figure", "against", "ratio", "of best rounds", "at most", ""]
    return grid([head, *(v.cells() for v in found)])


def ratio_table(tables: Sequence[Table], peers: Sequence[Peer]) -> str:
    """Every balancer's compared figure over HAProxy's in the same run, a line a scenario."""
    rows = [["", *(peer.label for peer in peers)]]
    for each in tables:
        base = each.compared("haproxy")
        if not base:
            continue
        values = [each.compared(peer.label) for peer in peers]
        rows.append([each.scenario.name, *("" if v is None else f"{v / base:.2f}" for v in values)])
    return grid(rows)


def builds_of_fastlb(peers: Sequence[Peer]) -> list[str]:
    return [p.label for p in peers if isinstance(p, Fastlb) and "http" in p.modes]


def _measured(run: Run) -> str:
    """What a section says that is of another run than its page."""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    return (f"Measured {run.date}, {run.rounds} rounds of {run.seconds:g} s, by"
            f" `{run.command}`; {versions}.")


def updated(before: str, run: Run, tables: Sequence[Table]) -> str:
    """A page with the sections and targets of these tables in place of those that it had."""
    head, *sections = before.rstrip("\n").split("\n\n## ")
    texts = {section.partition("\n")[0]: section for section in sections}
    method = texts.pop("Method")
    for each in tables:
        title = each.scenario.title
        texts[title] = f"{title}\n\n{table(each)}\n\n{_measured(run)}"
    known = [[cell.strip() for cell in line[1:-1].split("|")]
             for line in texts["Targets"].split("\n") if line.startswith("| ")][2:]
    titles = {each.scenario.title for each in tables}
    found = verdicts(tables, builds_of_fastlb(run.peers) or [Fastlb.name])
    head_row = ["work", "", "figure", "against", "ratio", "of best rounds", "at most", ""]
    rows = [*(row for row in known if row[0] not in titles), *(v.cells() for v in found)]
    texts["Targets"] = "Targets\n\n" + grid([head_row, *rows])
    return "\n\n## ".join([head, *texts.values(), method]) + "\n"


def page(run: Run, tables: Sequence[Table]) -> str:
    """docs/benchmarks.md."""
    facts = [["", ""], ["Date", run.date], *([a, b] for a, b in run.machine),
             ["Command", f"`{run.command}`"],
             ["Rounds", f"{run.rounds} of {run.seconds:g} s"],
             ["Versions", ", ".join(f"{k} {v}" for k, v in run.versions.items())]]
    labels = builds_of_fastlb(run.peers) or [Fastlb.name]
    parts = [
        "# Benchmarks",
        "Made by `python bench/run.py`; do not edit.",
        grid(facts),
        "## Targets",
        target_table(verdicts(tables, labels)),
        "## As ratios to HAProxy in the same run",
        ratio_table(tables, run.peers),
    ]
    for each in tables:
        parts += [f"## {each.scenario.title}", table(each)]
    notes = [note for peer in run.peers for note in peer.notes]
    parts += ["## Method", METHOD, "\n".join(f"- {note}" for note in [*notes, *run.left_out])]
    return "\n\n".join(parts) + "\n"
