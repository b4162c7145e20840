"""Results of the quality benchmark: lines of a file, the table and the plot made of them."""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import matplotlib
from measuring import print_table
from quality_sides import OWN_SIDES, SIDES, Cell

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402 - after its backend was chosen

OURS = "autoseg"
PEERS = tuple(side for side in SIDES if side not in OWN_SIDES)
SCORES = {"macro_iou": "macro IoU", "macro_imagewise_iou": "imagewise"}
"""Keys of a line, as the table calls them."""

Line = dict[str, Any]


def cell_of(line: Line) -> Cell:
    """What a line is the result of."""
    return Cell(**{f.name: line[f.name] for f in fields(Cell) if f.name in line})


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
    side = "" if cell.max_side is None else f", at most {cell.max_side} pixels"
    return f"{cell.dataset}{subset}{side}, {cell.threads} threads, {cell.device}"


def grouped(results: dict[Cell, Line]) -> dict[str, dict[Cell, Line]]:
    """Results by data set and machine."""
    groups: dict[str, dict[Cell, Line]] = defaultdict(dict)
    for cell, line in results.items():
        groups[title_of(cell)][cell] = line
    return dict(sorted(groups.items()))


def of_side(results: dict[Cell, Line], side: str, budget_s: float) -> dict[Cell, Line]:
    """Results of one side at one budget."""
    wanted = (side, budget_s)
    return {c: line for c, line in results.items() if (c.side, c.budget_s) == wanted}


def ahead_by(ours: dict[Cell, Line], theirs: dict[Cell, Line], key: str) -> list[float]:
    """What ours score more than theirs on the same data with the same seed."""
    known = {(title_of(cell), cell.seed): line[key] for cell, line in ours.items()}
    pairs = [((title_of(cell), cell.seed), line[key]) for cell, line in theirs.items()]
    return [known[place] - score for place, score in pairs if place in known]


def table_row(side: str, theirs: dict[Cell, Line], ours: dict[Cell, Line]) -> list[str]:
    """Cells of one side at one budget in `HEADER`'s order, beside autoseg's at the same budget."""
    lines = theirs.values()
    row = []
    for key in SCORES:
        gains = [] if side == OURS else ahead_by(ours, theirs, key)
        row += [spread([line[key] for line in lines]), spread(gains, signed=True)]
    gains = [] if side == OURS else ahead_by(ours, theirs, "macro_iou")
    wins = f"{sum(gain > 0 for gain in gains)}/{len(gains)}" if gains else ""
    wall_s = max(line["wall_s"] for line in lines)
    memory = max(line["peak_memory_bytes"] for line in lines)
    return [*row, wins, str(len(lines)), f"{wall_s:.0f}", f"{memory / 1e9:.1f}"]


def table_rows(results: dict[Cell, Line]) -> list[list[str]]:
    """One row for each budget and side there is."""
    rows = []
    for budget_s in sorted({cell.budget_s for cell in results}):
        ours = of_side(results, OURS, budget_s)
        for side in SIDES:
            if theirs := of_side(results, side, budget_s):
                rows.append([f"{budget_s:g} s {side}", *table_row(side, theirs, ours)])
    return rows


HEADER = ["budget, side"]
for _name in SCORES.values():
    HEADER += [_name, "autoseg ahead by"]
HEADER += ["wins", "cells", "wall, s", "GB"]


def mean_score(results: dict[Cell, Line]) -> float:
    """Mean macro IoU."""
    return statistics.mean(line["macro_iou"] for line in results.values())


def reached(group: dict[Cell, Line]) -> list[str]:
    """In which budget autoseg reaches what the best peer has at each, in sentences."""
    budgets = sorted({cell.budget_s for cell in group})
    sentences = []
    for budget_s in budgets:
        peers = {side: found for side in PEERS if (found := of_side(group, side, budget_s))}
        ours = {b: found for b in budgets if (found := of_side(group, OURS, b))}
        if not peers or not ours:
            continue
        best = max(peers, key=lambda side: mean_score(peers[side]))
        goal = mean_score(peers[best])
        within = [b for b, found in ours.items() if mean_score(found) >= goal]
        when = f"in {within[0]:g} s" if within else f"not in {max(ours):g} s"
        sentences.append(
            f"The best peer in {budget_s:g} s is {best} with {100 * goal:.2f}; autoseg reaches "
            f"that {when}."
        )
    return sentences


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
        print_table(f"{title}, test split, mean ± deviation of seeds", HEADER, table_rows(group))
        print(*reached(group), sep="\n")
    if len(groups) > 1 and (shared := common(results)):
        title = "all cells that every side has finished, mean ± deviation of cells"
        print_table(title, HEADER, table_rows(shared))
    print_flips(results)
    print_circumstances(results)


def print_flips(results: dict[Cell, Line]) -> None:
    """What averaging each prediction with that of the mirrored image is worth."""
    both = [(line, line["flipped"]) for line in results.values() if line.get("flipped")]
    if both:
        gains = {
            name: spread([flipped[key] - line[key] for line, flipped in both], signed=True)
            for key, name in SCORES.items()
        }
        told = ", ".join(f"{name} {gain}" for name, gain in gains.items())
        print(f"averaged with mirrored images, {len(both)} models: {told}")


def print_circumstances(results: dict[Cell, Line]) -> None:
    """Which code and machines the results are of, and how many are doubtful."""
    ours = Counter(line["commit"] for cell, line in results.items() if cell.side == OURS)
    machines = Counter(line["machine"] for line in results.values())
    for name, counts in (("autoseg at", ours), ("measured on", machines)):
        print(name, ", ".join(f"{value} ({count})" for value, count in sorted(counts.items())))
    busy = sum((line["load_before"] or 0) > 0.5 for line in results.values())
    if busy:
        print(f"{busy} of {len(results)} cells began while the machine was busy (load above 0.5)")


def plot(results: dict[Cell, Line], file: Path) -> None:
    """Draw score against budget, one panel for each data set; the suffix decides the format."""
    groups = grouped(results)
    figure, axes = pyplot.subplots(
        1, len(groups), figsize=(5 * len(groups), 4), squeeze=False, layout="constrained"
    )
    shown = {}
    for panel, (title, group) in zip(axes[0], groups.items(), strict=True):
        for number, side in enumerate(SIDES):
            if points := sorted(_points(group, side)):
                budgets, means, deviations = zip(*points, strict=True)
                width = 2.5 if side == OURS else 1.2
                style = {"color": f"C{number}", "linewidth": width, "marker": "o", "capsize": 3}
                shown[side] = panel.errorbar(budgets, means, deviations, **style)
        budgets = sorted({cell.budget_s / 60 for cell in group})
        panel.set(title=title, xlabel="budget, minutes", ylabel="test macro IoU, %", xscale="log")
        panel.set_xticks(budgets, [f"{budget:.3g}" for budget in budgets])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    figure.legend(shown.values(), shown, loc="outside right center")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _points(group: dict[Cell, Line], side: str) -> Iterable[tuple[float, float, float]]:
    """Budget in minutes, mean and deviation of the macro IoU in points."""
    for budget_s in {cell.budget_s for cell in group if cell.side == side}:
        lines = of_side(group, side, budget_s).values()
        points = [100 * line["macro_iou"] for line in lines]
        deviation = statistics.stdev(points) if len(points) > 1 else 0.0
        yield budget_s / 60, statistics.mean(points), deviation
