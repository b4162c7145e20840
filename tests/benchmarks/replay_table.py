"""Learning curves of many recipes on many data sets, once, for `replay.py` to search in seconds.

Every row is one recipe on one data set: its trial as the search trains it (a decoder on the frozen
encoder, then fine-tuning at a constant rate), scored on the validation images at every rung, by its
averaged weights and by a copy whose rate falls to 0 over a little more training (a mini-cooldown),
and final phases of two lengths from the trial's last weights, scored on the test images too.

Once all recipes of a data set are there, the weights of trials of the best one's encoder are
averaged as long as the validation score rises (a greedy soup: Wortsman et al. 2022, "Model soups",
arXiv 2203.05482), and a final phase from there is scored as well. Weights are not kept, so that is
done only where all recipes were trained in one go.

Lengths are counted in windows, not in seconds, so the machine may do other work meanwhile. Rows
that the file has already are left out: the same command goes on after a break.

    python tests/benchmarks/replay_table.py --datasets coffee_leaf dsb2018 --subsets 100,50
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from quality_sides import Data, prepared

from autoseg.checkpoint import Weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe
from autoseg.data.cache import Cache, build_cache
from autoseg.metrics import iou, macro_imagewise
from autoseg.search.final import COOLDOWN_SHARE
from autoseg.search.flips import choose_flip
from autoseg.search.geometry import object_widths, plan_geometry
from autoseg.search.planning import choose_batch_size
from autoseg.search.space import DECODER_LR, ENCODER_LR_RATIO
from autoseg.training.hardware import Precision, has_fast_bf16
from autoseg.training.schedule import Schedule
from autoseg.training.trainer import Evaluation
from autoseg.training.trial import TrainingData, Trial

TABLE = Path(__file__).parent / "results" / "replay.jsonl"
SOUPS = Path(__file__).parent / "results" / "replay_soups.jsonl"

RUNGS = (1 / 9, 1 / 3, 1.0)
"""Shares of the longest trial after which it is scored."""
TRIAL_WINDOWS = (133, 400, 1200)
"""Lengths of a search trial: to the first rung of the longest one, to the second, whole."""
FINAL_WINDOWS = (240, 1400)
"""Lengths of the final phase; the shorter one is hardly more than a cooldown."""
DECODER_WINDOWS = 400
"""Length of the decoder phase that all recipes of an encoder start from."""
MINI_COOLDOWN = 0.15
"""Length of a rung's mini-cooldown, as a share of the training so far."""
AFFORDABLE_PIXELS = 15e6
"""What the working size is planned for: windows of 96x96, so that a row takes a minute."""
TIMED_STEPS = 5
"""Steps whose CPU time is taken."""
SAMPLED = 4
"""Recipes drawn at random, beside those of `_LOOKED_AT`."""


@dataclass(frozen=True)
class Row:
    """One recipe on one data set."""

    dataset: str
    subset: int
    """Labelled images, validation included."""
    seed: int
    point: int
    """Position in `_LOOKED_AT`, and after it among the drawn recipes."""
    recipe: dict[str, Any]
    """What the search chooses: encoder, frozen depth, rates."""
    n_train: int
    cost: float
    """CPU time of a fine-tuning step by that of the reference recipe's."""
    scores: tuple[float, ...]
    """On the validation images at `RUNGS`, in percent."""
    cooled: tuple[float, ...]
    """The same of copies after a mini-cooldown."""
    confusions: tuple[list[Any], ...]
    """On the validation images after each of `TRIAL_WINDOWS`, (n, K, K), of 1000 each."""
    final_scores: tuple[float, ...]
    """On the validation images after each of `FINAL_WINDOWS`, in percent."""
    test: tuple[float, ...]
    """On the test images after the longest trial, then after each of `FINAL_WINDOWS`, in
    percent."""


@dataclass(frozen=True)
class Soup:
    """The averaged weights of several recipes' trials on one data set, trained on."""

    dataset: str
    subset: int
    seed: int
    points: tuple[int, ...]
    """Whose trials were averaged, the best first; one alone: no other made it better."""
    scores: tuple[float, float]
    """Of the best trial and of the soup on the validation images, in percent."""
    test: tuple[float, float]
    """On the test images after the longer final phase from each, in percent."""


def main() -> None:
    """Add the rows that the table lacks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--datasets", nargs="+", default=["coffee_leaf", "dsb2018"])
    parser.add_argument("--subsets", default="100")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--soups", type=Path, default=SOUPS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for dataset in args.datasets:
        for subset in map(int, args.subsets.split(",")):
            for seed in map(int, args.seeds.split(",")):
                add_rows(args.table, args.soups, dataset, subset, seed)


def read_rows(table: Path) -> list[Row]:
    """All rows of a table; none if there is no file."""
    return [Row(**line) for line in _lines(table)]


def read_soups(file: Path) -> list[Soup]:
    """All soups of a file; none if there is no file."""
    return [Soup(**line) for line in _lines(file)]


def _lines(file: Path) -> list[dict[str, Any]]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines]


def _append(file: Path, line: Row | Soup) -> None:
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(line)) + "\n")


def add_rows(table: Path, soups: Path, dataset: str, subset: int, seed: int) -> None:
    """Train every recipe on one data set, and write each as it is done; then the soup."""
    known = {(row.dataset, row.subset, row.seed, row.point) for row in read_rows(table)}
    points = list(enumerate(recipes_for_a_look()))
    if all((dataset, subset, seed, k) in known for k, _ in points):
        return
    with prepared(dataset, subset, seed) as data, TemporaryDirectory() as folder:
        lab = Lab(data, seed, Path(folder))
        rows = []
        for k, point in points:
            if (dataset, subset, seed, k) in known:
                continue
            started = time.monotonic()
            row = lab.row(dataset, subset, k, point)
            rows.append(row)
            _append(table, row)
            print(
                f"{dataset} {subset} seed {seed}, {row.recipe}: validation {row.scores[-1]:.1f}, "
                f"test {', '.join(f'{score:.1f}' for score in row.test)} "
                f"({time.monotonic() - started:.0f} s)",
                flush=True,
            )
        if len(rows) == len(points):  # Else weights are missing.
            soup = lab.soup(rows)
            _append(soups, soup)
            print(soup, flush=True)


_LOOKED_AT = (
    (0, 0, 1e-3, 0.3),
    (0, MAX_FROZEN_DEPTH, 1e-3, 0.0),
    (0, 2, 1e-3, 0.3),
    (1, 0, 1e-3, 0.1),
    (1, 2, 1e-3, 0.3),
    (2, MAX_FROZEN_DEPTH, 1e-3, 0.0),
    (2, 0, 5e-4, 0.1),
    (0, 0, 2e-3, 1.0),
)
"""Number of the EfficientNet-Lite, frozen depth, the decoder's rate and the encoder's share of it:
the default recipe first, then what searches tried after it when the table was begun."""


def recipes_for_a_look() -> Iterator[dict[str, Any]]:
    """Recipes that people choose, then some drawn from the whole space, the same in every row."""
    names = ("encoder_name", "frozen_depth", "decoder_lr", "encoder_lr_ratio")
    for number, *chosen in _LOOKED_AT:
        yield dict(zip(names, (_lite(number), *chosen), strict=True))
    rng = np.random.default_rng(0)
    for _ in range(SAMPLED):
        depth = int(rng.integers(0, MAX_FROZEN_DEPTH + 1))
        yield {
            "encoder_name": _lite(int(rng.choice(3))),
            "frozen_depth": depth,
            "decoder_lr": float(np.exp(rng.uniform(*np.log(DECODER_LR)))),
            "encoder_lr_ratio": float(np.exp(rng.uniform(*np.log(ENCODER_LR_RATIO)))),
        }


def _lite(number: int) -> str:
    return f"tf_efficientnet_lite{number}.in1k"


class Lab:
    """One data set, ready for many recipes.

    Args:
        data: The data set and its splits.
        seed: Of weights, windows and augmentation.
        folder: Where images at working size are kept.
    """

    def __init__(self, data: Data, seed: int, folder: Path) -> None:
        facts, splits = data.dataset.statistics, data.splits
        seen = sorted((*splits.train, *splits.val))
        geometry = plan_geometry(
            facts.sizes[seen],
            object_widths(facts.sizes[seen], facts.class_pixels[seen], facts.class_boundary[seen]),
            "cpu",
            affordable_pixels=AFFORDABLE_PIXELS,
            decoder_name="fpn",
        )
        self.cache: Cache = build_cache(data.dataset, geometry, folder)
        self.data = TrainingData(
            self.cache, splits.train, splits.val, data.dataset.classes.num_classes
        )
        self.test = splits.test
        self.seed = seed
        device = torch.device("cpu")
        self.precision = Precision(device, has_fast_bf16(device))
        self.base = Recipe(
            encoder_name="tf_efficientnet_lite0.in1k",
            geometry=geometry,
            flip=choose_flip(data.dataset.classes.names, self.cache, splits.train),
            batch_size=choose_batch_size(len(splits.train), "cpu", geometry.window),
            augmentation="light",
        )
        self._starts: dict[str, Weights] = {}
        self._weights: dict[int, Weights] = {}
        self._reference_step_s = self._step_s(self.base)

    def row(self, dataset: str, subset: int, number: int, point: dict[str, Any]) -> Row:
        """Train one recipe as a search would, and to its end."""
        recipe = replace(self.base, **point)
        trial = self._trial(recipe, self._start(recipe))
        present: list[Weights] = []

        def on_evaluation(_: Evaluation) -> bool:
            present.append({name: t.clone() for name, t in trial.model.state_dict().items()})
            return True

        result = trial.fine_tune(
            self._schedule(TRIAL_WINDOWS[-1], RUNGS), on_evaluation=on_evaluation
        )
        test = [self._test_score(trial)]
        trial.close()
        self._weights[number] = result.weights
        finals = [self._final(recipe, result.weights, windows) for windows in FINAL_WINDOWS]
        return Row(
            dataset,
            subset,
            self.seed,
            number,
            point,
            len(self.data.train),
            round(self._step_s(recipe) / self._reference_step_s, 2),
            tuple(map(_percent, result.evaluations)),
            tuple(
                self._cooled(recipe, weights, windows)
                for weights, windows in zip(present, TRIAL_WINDOWS, strict=True)
            ),
            tuple(map(_counts, result.evaluations)),
            tuple(validation for validation, _ in finals),
            (*test, *(score for _, score in finals)),
        )

    def soup(self, rows: Sequence[Row]) -> Soup:
        """Average trials of the best one's encoder while that helps, and train on from there.

        Encoder statistics stay what they were pretrained to be, and the decoder has group norm: no
        statistics of batches need to be taken anew.
        """
        best, *others = sorted(rows, key=lambda row: -row.scores[-1])
        recipe = replace(self.base, **best.recipe)
        points, score = [best.point], best.scores[-1]
        for row in others:
            if row.recipe["encoder_name"] != recipe.encoder_name:
                continue
            trial = self._trial(recipe, self._mean([*points, row.point]))
            tried = _percent(trial.scored().evaluations[-1])
            trial.close()
            if tried > score:
                points, score = [*points, row.point], tried
        _, test = self._final(recipe, self._mean(points), FINAL_WINDOWS[-1])
        return Soup(
            best.dataset,
            best.subset,
            self.seed,
            tuple(points),
            (best.scores[-1], score),
            (best.test[-1], test),
        )

    def _mean(self, points: Sequence[int]) -> Weights:
        """The mean of several trials' weights."""
        several = [self._weights[point] for point in points]
        return {
            name: torch.stack([w[name].float() for w in several]).mean(0) for name in several[0]
        }

    def _final(self, recipe: Recipe, weights: Weights, windows: int) -> tuple[float, float]:
        """A final phase from given weights; scores on validation and test images, in percent."""
        trial = self._trial(recipe, weights)
        try:
            final = trial.fine_tune(self._schedule(windows, (1.0,), COOLDOWN_SHARE))
            return _percent(final.evaluations[-1]), self._test_score(trial)
        finally:
            trial.close()

    def _cooled(self, recipe: Recipe, weights: Weights, windows: int) -> float:
        """Validation score after a mini-cooldown from a trial's present weights, in percent."""
        trial = self._trial(recipe, weights)
        try:
            length = round(MINI_COOLDOWN * windows)
            cooled = trial.fine_tune(Schedule(windows=length, cooldown_share=0.95))
            return _percent(cooled.evaluations[-1])
        finally:
            trial.close()

    def _trial(self, recipe: Recipe, weights: Weights | None) -> Trial:
        return Trial(recipe, self.data, self.precision, self.seed, weights)

    def _start(self, recipe: Recipe) -> Weights:
        """The decoder on the frozen encoder that all recipes of an encoder start from."""
        if recipe.encoder_name not in self._starts:
            frozen = replace(recipe, frozen_depth=MAX_FROZEN_DEPTH, decoder_lr=1e-3)
            trial = self._trial(frozen, None)
            schedule = Schedule(windows=DECODER_WINDOWS, cooldown_share=0.3)
            features = min(2 * len(self.data.train), DECODER_WINDOWS // 2)
            result = trial.train_decoder(schedule, features, 2**31)
            self._starts[recipe.encoder_name] = result.weights
            trial.close()
        return self._starts[recipe.encoder_name]

    def _schedule(self, windows: int, shares: tuple[float, ...], cooldown: float = 0.0) -> Schedule:
        return Schedule(windows=windows, cooldown_share=cooldown, evaluations=shares)

    def _step_s(self, recipe: Recipe) -> float:
        """CPU time of a fine-tuning step, in seconds: it hardly depends on what else runs."""
        trial = self._trial(recipe, None)
        try:
            trial.time_step(1)
            started = time.process_time()
            trial.time_step(TIMED_STEPS - 1)
            return (time.process_time() - started) / TIMED_STEPS
        finally:
            trial.close()

    def _test_score(self, trial: Trial) -> float:
        return round(100 * float(macro_imagewise(iou, trial.evaluate(self.test))), 2)


def _percent(evaluation: Evaluation) -> float:
    return round(100 * evaluation.score, 2)


def _counts(evaluation: Evaluation) -> list[Any]:
    """Confusion matrices in thousandths of each image: small enough to keep."""
    matrices = evaluation.confusions
    whole = matrices.sum((1, 2), keepdims=True)
    counts: list[Any] = np.round(1000 * matrices / np.maximum(1, whole), 1).tolist()
    return counts


if __name__ == "__main__":
    main()
