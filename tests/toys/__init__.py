"""Toys: one of each thing that docs/extending.md shows how to add. `make toys` adds them to a copy
of the tree, builds it and runs their tests.

A file that ends in `.toy` is a new one, at the place that it would have in the tree. EDITS are what
is inserted into others: behind the first line that is or begins with an anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PLACE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Edit:
    path: str
    anchor: str
    text: str


@dataclass(frozen=True)
class Toy:
    """`limit` is how many files it may touch, with its tests and its documents. The generated ones
    (docs/config.md, fastlb/keywords) are written by `make generate`."""

    name: str
    limit: int
    edits: tuple[Edit, ...]

    def files(self) -> dict[str, Path]:
        """The new ones: by their places in the tree, the templates."""
        top = PLACE / self.name
        return {str(path.relative_to(top).with_suffix("")): path
                for path in sorted(top.rglob("*.toy"))}

    def touched(self) -> set[str]:
        return {*self.files(), *(edit.path for edit in self.edits)}


LOADED = "fastlb/_core/__init__.py"
TOYS = (
    Toy("fact", 3, (
        Edit(LOADED, '    "facts.request",', '    "facts.family",\n'),
    )),
    Toy("balance", 4, (
        Edit(LOADED, '    "balance.hashing",', '    "balance.first",\n'),
        Edit("docs/policies.md", "| `rendezvous` |",
             "| `first` | the first server that can be had | a spare that is warm |\n"),
    )),
    Toy("pool_key", 4, (
        Edit("fastlb/config/model.py", '    """Requests on one connection to a server;',
             '''\
    max_response_status: Annotated[
        int, Whole(0, 0, 599, "servers know what they say"), Plain("HTTP", zero="any")
    ] = 0
    """A response with a higher status is answered with 502; 0: any is passed on."""
'''),
        Edit("fastlb/_core/base/parts.pxd", "    uint32_t max_h2_window_bytes",
             "    uint16_t max_response_status        # 0: any\n"),
        Edit("fastlb/_core/http/response.pyx", "    http.status = head.status",
             '''\
    if x.pool.keys.max_response_status and head.status > x.pool.keys.max_response_status:
        return fail(x, REASON_BAD_RESPONSE)
'''),
    )),
    Toy("filter", 5, (
        Edit(LOADED, '    "filters.identity",', '    "filters.stamp",\n'),
        *(Edit("examples/full.toml", above,
               '# A text that every response carries in x-stamp. Default: none.\nstamp = "blue"\n')
          for above in ("compress = true", 'compress = { codings = ["gzip"] }',
                        'compress = { codings = ["zstd"')),
    )),
)
