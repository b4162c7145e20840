"""Searches replayed on the learning curves of `replay_table.py`: which policy wins, in seconds.

A policy is what the planner decides: the share of the time that goes to search trials, their
length, and the order in which recipes are tried ("as it is" is the table's, which the portfolio had
when the table was begun). Trials, pruning at rungs, and the choice of the winner, near-duplicates
aside, are those of the search; the time is counted in windows of the default recipe. The gain is
the mean over data sets and seeds of the test score (macro-imagewise IoU, in points) against the
default recipe trained for the whole time, with its standard error.

The order "warm" begins, after the default, with what won on other subsets and seeds of the same
data set: what a search knows from this user's earlier runs. Where there are none it is as it is.

Other tables say what each recipe is worth whatever its cost, by which score a trial should be
judged, that of its averaged weights or that of a copy after a mini-cooldown, and what averaging the
weights of several trials is worth.

What it said on 2026-11-30, of 48 rows (coffee_leaf and dsb2018, 50 and 100 images, one seed):
within 5,000 windows a search does not pay. 30 % of the time in trials of 400 windows cost 0.35 ±
0.14 points of 3,000 windows and 0.56 ± 0.22 of 5,000, as a trial's score on 10 to 20 images after
400 windows tells nothing of its final one (rank correlation -0.1; after 1,200 windows 0.4). The
order of the recipes and what won elsewhere made no difference beyond their errors; a mini-cooldown
made the ranking no better, and of four soups three had one trial only.

    python tests/benchmarks/replay.py
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
from measuring import print_table
from replay_table import (
    FINAL_WINDOWS,
    MINI_COOLDOWN,
    RUNGS,
    SAMPLED,
    SOUPS,
    TABLE,
    TRIAL_WINDOWS,
    Row,
    Soup,
    read_rows,
    read_soups,
)

from autoseg.config import MAX_FROZEN_DEPTH
from autoseg.search.budget import MIN_STEPS_BEFORE_RUNG, RUNG_SHARES
from autoseg.search.selection import Candidate, choose_winner
from autoseg.search.study import REDUCTION_FACTOR
from autoseg.search.warm_start import MOST_WINNERS, TRAIN_FACTOR

Cells = Mapping[tuple[str, int, int], Sequence[Row]]
"""Rows by data set, subset and seed."""

BUDGETS = (1500, 3000, 5000)
"""Windows of the default recipe that the time holds; `final_score` knows of no longer training."""
DECODER_SHARE = 0.25
"""What the decoder that all trials of an encoder start from costs, as a share of a whole trial."""
MIN_WINDOWS_BEFORE_RUNG = 8 * MIN_STEPS_BEFORE_RUNG
"""Eight windows make a step."""
ORDERS = 20
"""Random orders of the drawn recipes over which a policy is averaged."""


@dataclass(frozen=True)
class Policy:
    """What the planner decides."""

    share: float
    """Of the time for search trials."""
    windows: int
    """Length of a trial, one of `TRIAL_WINDOWS`."""
    portfolio: str
    """"as it is", "full first" (what fine-tunes everything before what is frozen), "none", or
    "warm" (what won on other subsets and seeds of the data set first)."""


@dataclass
class Replay:
    """One search on one data set."""

    rows: Sequence[Row]
    """Recipes in the order in which they are tried, the default first."""
    policy: Policy
    budget: float
    """Windows of the default recipe."""
    _rungs: dict[float, list[float]] = field(default_factory=lambda: defaultdict(list))
    _started: set[str] = field(default_factory=set)
    """Encoders that have a decoder to start from."""

    def score(self) -> float:
        """On the test images, in percent."""
        default = self.rows[0]
        left = self.policy.share * self.budget
        ended: dict[int, Row] = {}
        spent = 0.0
        for row in self.rows:
            if left - spent < row.cost * self.policy.windows * RUNG_SHARES[1]:
                break
            spent += self._decoder_cost(row)
            if row.recipe["frozen_depth"] == MAX_FROZEN_DEPTH:
                ended[row.point] = row  # The decoder's start is the trial.
                continue
            trained, whole = self._train(row, left - spent)
            spent += row.cost * trained
            if whole:
                ended[row.point] = row
        if not ended:
            return final_score(default, self.budget)
        candidates = {number: self._candidate(row) for number, row in ended.items()}
        winner = ended[choose_winner(candidates, default.point, seed=0)]
        return final_score(winner, self.policy.windows + (self.budget - spent) / winner.cost)

    def _decoder_cost(self, row: Row) -> float:
        """Windows of the default recipe that the decoder of a trial's encoder costs, once."""
        name = row.recipe["encoder_name"]
        if name in self._started:
            return 0.0
        self._started.add(name)
        whole = max(other.cost for other in self.rows if other.recipe["encoder_name"] == name)
        return DECODER_SHARE * self.policy.windows * whole

    def _train(self, row: Row, limit: float) -> tuple[float, bool]:
        """Windows that a trial was trained on, and whether it came to its end."""
        length = self.policy.windows
        for share in RUNG_SHARES:
            if share * length * row.cost > limit:
                return limit / row.cost, False
            is_rung = MIN_WINDOWS_BEFORE_RUNG <= share * length < length
            if is_rung and not self._goes_on(row, share):
                return share * length, False
        return length, True

    def _goes_on(self, row: Row, share: float) -> bool:
        """Successive halving as Optuna does it."""
        score = row.scores[nearest_rung(share * self.policy.windows / TRIAL_WINDOWS[-1])]
        seen = self._rungs[share]
        seen.append(score)
        better = sorted(seen, reverse=True)[: max(1, len(seen) // REDUCTION_FACTOR)]
        return score >= better[-1]

    def _candidate(self, row: Row) -> Candidate:
        matrices = np.array(row.confusions[TRIAL_WINDOWS.index(self.policy.windows)])
        return Candidate(row.point, np.round(10 * matrices).astype(np.int64), row.cost)


def nearest_rung(share: float) -> int:
    """Position in `RUNGS`."""
    return int(np.argmin([abs(share - rung) for rung in RUNGS]))


def final_score(row: Row, windows: float) -> float:
    """On the test images after so many windows in all, in percent.

    Linear in the logarithm of the length between the lengths that were trained, and on from them.
    """
    known = [TRIAL_WINDOWS[-1] + more for more in FINAL_WINDOWS]
    low, high = row.test[1:]
    slope = (high - low) / np.log(known[1] / known[0])
    # The gain of a longer training fades: no more than one more doubling is believed.
    reached = min(max(windows, 0.5 * known[0]), 2 * known[1])
    return float(low + slope * np.log(reached / known[0]))


def orders(rows: Sequence[Row], portfolio: str, won: Sequence[int] = ()) -> Iterator[list[Row]]:
    """The recipes of one data set as a policy tries them.

    Args:
        rows: All of them.
        portfolio: As in `Policy`.
        won: Points that won on other subsets and seeds, the nearest first.
    """
    ordered = sorted(rows, key=lambda row: row.point)
    first, drawn = ordered[:-SAMPLED], ordered[-SAMPLED:]
    if portfolio == "warm":
        earlier = [row for point in won for row in ordered if row.point == point]
        first = [first[0], *earlier, *(row for row in first[1:] if row not in earlier)]
        drawn = [row for row in drawn if row not in earlier]
    if portfolio == "full first":
        first = [first[0], *sorted(first[1:], key=lambda row: row.recipe["frozen_depth"])]
    if portfolio == "none":
        first, drawn = first[:1], [*first[1:], *drawn]
    for seed in range(ORDERS):
        yield first + [drawn[k] for k in np.random.default_rng(seed).permutation(len(drawn))]


def winners_elsewhere(cells: Cells, here: tuple[str, int, int]) -> list[int]:
    """Points that won on other subsets and seeds of a data set, as `warm_start` takes them."""
    dataset, subset, _ = here
    n_train = cells[here][0].n_train
    others = [
        (abs(np.log(key[1] / subset)), key)
        for key, rows in cells.items()
        if key[0] == dataset and key != here
        if 1 / TRAIN_FACTOR <= rows[0].n_train / n_train <= TRAIN_FACTOR
    ]
    won = [max(cells[key], key=lambda row: row.scores[-1]).point for _, key in sorted(others)]
    default = min(row.point for row in cells[here])
    return [point for point in dict.fromkeys(won) if point != default][:MOST_WINNERS]


def main() -> None:
    """Print the gain of each policy at each budget, and what else the table tells."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, nargs="+", default=[TABLE])
    parser.add_argument("--soups", type=Path, nargs="+", default=[SOUPS])
    args = parser.parse_args()
    cells: dict[tuple[str, int, int], list[Row]] = defaultdict(list)
    for table in args.table:
        for row in read_rows(table):
            cells[row.dataset, row.subset, row.seed].append(row)
    whole = max(map(len, cells.values()), default=0)
    cells = {key: rows for key, rows in cells.items() if len(rows) == whole}
    print_recipes(cells)
    print_policies(cells)
    print_rung_scores(cells)
    print_soups([soup for file in args.soups for soup in read_soups(file)])


def print_recipes(cells: Cells) -> None:
    """What each recipe scores after the longest training, over the default's."""
    gains: dict[int, list[float]] = defaultdict(list)
    recipes = {row.point: row for rows in cells.values() for row in rows}
    for rows in cells.values():
        default = min(rows, key=lambda row: row.point)
        for row in rows:
            gains[row.point].append(row.test[-1] - default.test[-1])
    lines = []
    for point, row in sorted(recipes.items()):
        name, *chosen = row.recipe.values()
        told = [f"{value:.2g}" for value in (*chosen, row.cost)]
        lines.append([str(name), *told, mean_and_error(gains[point])])
    print_table(
        f"Recipes after {FINAL_WINDOWS[-1]:,} windows, against the default",
        ("encoder", "frozen depth", "decoder's rate", "encoder's share", "cost", "points"),
        lines,
    )


def print_policies(cells: Cells) -> None:
    """The gain of each policy at each budget."""
    won = {key: winners_elsewhere(cells, key) for key in cells}
    policies = [
        Policy(share, windows, portfolio)
        for portfolio, share, windows in product(
            ("as it is", "full first", "none", "warm"), (0.15, 0.3, 0.5, 0.7), TRIAL_WINDOWS
        )
    ]
    lines = []
    for policy in policies:
        line = [f"{policy.portfolio}, {policy.share:.0%}, {policy.windows} windows"]
        for budget in BUDGETS:
            gains = [gain(rows, policy, budget, won[key]) for key, rows in cells.items()]
            line.append(mean_and_error(gains))
        lines.append(line)
    best = ["the best recipe, known beforehand"]
    for budget in BUDGETS:
        best.append(mean_and_error([best_gain(rows, budget) for rows in cells.values()]))
    print_table(
        f"Gain over the default recipe, {len(cells)} data sets and seeds",
        ("portfolio, search share, trial", *(f"{budget:,} windows" for budget in BUDGETS)),
        [*lines, best],
    )
    known = sum(map(bool, won.values()))
    print(f"For {known} of {len(cells)} something else than the default won elsewhere.")


def print_rung_scores(cells: Cells) -> None:
    """What choosing by each rung's score costs: the best recipe's final test score, less that of
    the recipe with the best score at the rung, among those that fine-tune the encoder."""
    lines = []
    for rung, windows in enumerate(TRIAL_WINDOWS):
        line = [f"{windows} windows"]
        for scores in ("scores", "cooled"):
            regrets, ranks = [], []
            for rows in cells.values():
                tuned = [row for row in rows if row.recipe["frozen_depth"] < MAX_FROZEN_DEPTH]
                seen = [getattr(row, scores)[rung] for row in tuned]
                final = [row.test[-1] for row in tuned]
                regrets.append(max(final) - final[int(np.argmax(seen))])
                ranks.append(rank_correlation(seen, final))
            line += [mean_and_error(regrets), mean_and_error(ranks)]
        lines.append(line)
    print_table(
        f"Choosing by a rung: points lost, rank correlation with the final test score "
        f"(a mini-cooldown adds {MINI_COOLDOWN:.0%} to the training so far)",
        ("rung", "averaged: lost", "correlation", "cooled: lost", "correlation"),
        lines,
    )


def print_soups(soups: Sequence[Soup]) -> None:
    """What a greedy soup is worth before and after the final phase."""
    if not soups:
        return
    before = [soup.scores[1] - soup.scores[0] for soup in soups]
    after = [soup.test[1] - soup.test[0] for soup in soups]
    real = [gained for gained, soup in zip(after, soups, strict=True) if len(soup.points) > 1]
    print_table(
        "Greedy soup of trials, against the best trial alone",
        ("", "points"),
        [
            ("validation, before the final phase", mean_and_error(before)),
            ("test, after it", mean_and_error(after)),
            (f"the same where something was averaged ({len(real)})", mean_and_error(real)),
        ],
    )


def mean_and_error(values: Sequence[float]) -> str:
    """Mean and standard error, signed."""
    if not values:
        return ""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):+.2f} ±{error:.2f}"


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's, ties aside."""
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def gain(rows: Sequence[Row], policy: Policy, budget: float, won: Sequence[int] = ()) -> float:
    """Of a policy on one data set over the default recipe, in points."""
    default = min(rows, key=lambda row: row.point)
    searches = [Replay(order, policy, budget) for order in orders(rows, policy.portfolio, won)]
    scores = [search.score() for search in searches]
    return float(np.mean(scores)) - final_score(default, budget)


def best_gain(rows: Sequence[Row], budget: float) -> float:
    """Of the best of all recipes on one data set over the default recipe, in points."""
    default = min(rows, key=lambda row: row.point)
    best = max(final_score(row, budget / row.cost) for row in rows)
    return best - final_score(default, budget)


if __name__ == "__main__":
    main()
