"""Plots of docs/policies.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "img"
POINTS = 200            # of a curve: what an eye can see


def tails(name: str, title: str, curves: Mapping[str, Sequence[float]]) -> None:
    """The share of requests that took longer than so many ms; values are sorted."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "fastlb"          # the same file from the same numbers
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.2))
    for label, values in curves.items():
        shares = [10 ** (-4 * i / POINTS) for i in range(POINTS + 1)]
        at = [values[min(int(len(values) * (1 - share)), len(values) - 1)] for share in shares]
        axes.plot(at, shares, label=label, linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel="ms", ylabel="share of requests that took longer",
             title=title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    FOLDER.mkdir(exist_ok=True)
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)
