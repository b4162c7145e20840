"""Results of the quality benchmark: lines of a file, the table and the plot made of them."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import matplotlib
from measuring import print_table
from quality_sides import SIDES, Cell

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after its backend was chosen

OURS = "autoseg"
SCORES = {"macro_iou": "macro IoU", "macro_imagewise_iou": "imagewise"}
"""Keys of a line, as the table calls them."""

Line = dict[str, Any]


def cell_of(line: Line) -> Cell:
    """What a line is the result of."""
    return Cell(**{field.name: line[field.name] for field in fields(Cell)})


def read_results(file: Path) -> dict[Cell, Line]:
    """The newest result of each cell; lines cut off by a kill are left out."""
    results: dict[Cell, Line] = {}
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        results[cell_of(line)] = line
    return results


def append_result(file: Path, cell: Cell, facts: Line) -> None:
    """Add one line; what was cut off before it stays a line of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    cut_off = file.exists() and file.stat().st_size and not file.read_bytes().endswith(b"\n")
    with file.open("a", encoding="utf-8") as lines:
        text = json.dumps({**asdict(cell), **facts}, ensure_ascii=False)
        lines.write(("\n" if cut_off else "") + text + "\n")


def spread(values: Sequence[float], signed: bool = False) -> str:
    """Mean and sample deviation of shares, in points."""
    if not values:
        return ""
    points = [100 * value for value in values]
    mean = statistics.mean(points)
    text = f"{mean:+.2f}" if signed else f"{mean:.2f}"
    return f"{text} ± {statistics.stdev(points):.2f}" if len(points) > 1 else text


def title_of(cell: Cell) -> str:
    """The data of a cell, and the machine it was measured on."""
    subset = "" if cell.subset is None else f", {cell.subset} labelled images"
    return f"{cell.dataset}{subset}, {cell.threads} threads, {cell.device}"


def grouped(results: dict[Cell, Line]) -> dict[str, dict[Cell, Line]]:
    """Results by data set and machine."""
    groups: dict[str, dict[Cell, Line]] = defaultdict(dict)
    for cell, line in results.items():
        groups[title_of(cell)][cell] = line
    return dict(sorted(groups.items()))


def scores_of(
    results: dict[Cell, Line], side: str, budget_s: float, key: str
) -> dict[tuple[str, int], float]:
    """Scores of one side at one budget, by data and seed."""
    return {
        (title_of(cell), cell.seed): line[key]
        for cell, line in results.items()
        if (cell.side, cell.budget_s) == (side, budget_s)
    }


def table_rows(results: dict[Cell, Line]) -> list[list[str]]:
    """One row for each budget and side; what autoseg is ahead by is paired by data and seed."""
    rows = []
    for budget_s in sorted({cell.budget_s for cell in results}):
        for side in SIDES:
            row = [f"{budget_s:g} s {side}"]
            for key in SCORES:
                theirs = scores_of(results, side, budget_s, key)
                ours = scores_of(results, OURS, budget_s, key)
                ahead = [ours[pair] - theirs[pair] for pair in ours if pair in theirs]
                row += [spread(list(theirs.values()))]
                row += ["" if side == OURS else spread(ahead, signed=True)]
                wins = "" if side == OURS else f"{sum(gain > 0 for gain in ahead)}/{len(ahead)}"
            lines = [
                line
                for cell, line in results.items()
                if (cell.side, cell.budget_s) == (side, budget_s)
            ]
            if lines:
                row += [wins, str(len(lines)), f"{max(line['wall_s'] for line in lines):.0f}"]
                row += [f"{max(line['peak_memory_bytes'] for line in lines) / 1e9:.1f}"]
                rows.append(row)
    return rows


HEADER = ["budget, side"]
for _name in SCORES.values():
    HEADER += [_name, "autoseg ahead by"]
HEADER += ["wins", "cells", "wall, s", "GB"]


def common(results: dict[Cell, Line]) -> dict[Cell, Line]:
    """Cells of data, budgets and seeds that every side there is has finished."""
    sides = {cell.side for cell in results}

    def place(cell: Cell) -> tuple[str, float, int]:
        return title_of(cell), cell.budget_s, cell.seed

    done: dict[tuple[str, float, int], set[str]] = defaultdict(set)
    for cell in results:
        done[place(cell)].add(cell.side)
    return {cell: line for cell, line in results.items() if done[place(cell)] == sides}


def print_report(results: dict[Cell, Line]) -> None:
    """A table for each data set, and one over all cells that every side has finished."""
    groups = grouped(results)
    for title, group in groups.items():
        print_table(f"{title}, test split", HEADER, table_rows(group))
    if len(groups) > 1 and (shared := common(results)):
        print_table("all cells that every side has finished", HEADER, table_rows(shared))
    commits = sorted({line["commit"] for cell, line in results.items() if cell.side == OURS})
    print(f"autoseg at {', '.join(commits) or 'no commit yet'}")


def plot(results: dict[Cell, Line], file: Path) -> None:
    """Draw score against budget, one panel for each data set; the suffix decides the format."""
    groups = grouped(results)
    figure, axes = pyplot.subplots(
        1, len(groups), figsize=(5 * len(groups), 4), squeeze=False, layout="constrained"
    )
    for panel, (title, group) in zip(axes[0], groups.items(), strict=True):
        for side in SIDES:
            points = sorted(_points(group, side))
            if points:
                budgets, means, deviations = zip(*points, strict=True)
                bold = 2.5 if side == OURS else 1.2
                panel.errorbar(
                    budgets, means, deviations, marker="o", capsize=3, label=side, linewidth=bold
                )
        budgets = sorted({cell.budget_s / 60 for cell in group})
        panel.set(title=title, xlabel="budget, minutes", ylabel="test macro IoU, %", xscale="log")
        panel.set_xticks(budgets, [f"{budget:g}" for budget in budgets], minor=False)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    axes[0][0].legend()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _points(group: dict[Cell, Line], side: str) -> Iterable[tuple[float, float, float]]:
    """Budget in minutes, mean and deviation of the macro IoU in points."""
    for budget_s in {cell.budget_s for cell in group if cell.side == side}:
        points = [100 * value for value in scores_of(group, side, budget_s, "macro_iou").values()]
        deviation = statistics.stdev(points) if len(points) > 1 else 0.0
        yield budget_s / 60, statistics.mean(points), deviation
