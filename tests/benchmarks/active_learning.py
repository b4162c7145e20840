"""Correct and teach: the most uncertain images against as many at random.

A model learns from a few images. Then, in rounds, images of the pool get their ground truth, as if
a person had corrected them, and the model trains on: once with the images of a batch whose
`Prediction.uncertainty` is highest, once with as many at random. Both go on from the same first
model, with the same seeds and equally many training windows, so with equal time, whatever else the
machine does meanwhile. Scores are those of the test split at working size.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import DATA, print_table

from autoseg.checkpoint import Weights
from autoseg.config import Geometry, Recipe
from autoseg.data.cache import Cache, build_cache
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.evaluation import forward_of
from autoseg.files import autoseg_home
from autoseg.inference import segment
from autoseg.metrics import iou, macro, macro_imagewise
from autoseg.prediction import Prediction
from autoseg.preprocessing import Preprocessing, round_up
from autoseg.search.final import COOLDOWN_SHARE
from autoseg.training.hardware import Precision, has_fast_bf16
from autoseg.training.schedule import Schedule
from autoseg.training.trial import TrainingData, Trial

VAL_SHARE = 0.2
"""Share of the first images that chooses weights, as in a search of so few."""

DECODER_WINDOWS = 160
"""Length of the first model's decoder phase."""

SCORES = {"macro-imagewise IoU": macro_imagewise, "macro IoU": macro}

Pick = Callable[[Trial, np.ndarray, np.random.Generator], list[int]]
"""The next images to correct, of those left."""


@dataclass(frozen=True)
class Setting:
    """What all runs of the benchmark share."""

    dataset: CheckedDataset
    cache: Cache
    recipe: Recipe
    precision: Precision
    start: int
    add: int
    rounds: int
    first_windows: int
    windows: int
    gallery: int
    """Images among which the most uncertain are sought, as in one batch of the Predict tab."""

    def split(self, name: str) -> np.ndarray:
        """Images of a given split."""
        return np.flatnonzero([sample.split == name for sample in self.dataset.samples])

    def trial(
        self, train: Sequence[int], val: Sequence[int], seed: int, weights: Weights | None
    ) -> Trial:
        """A network to train, new or from weights."""
        data = TrainingData(
            self.cache, tuple(sorted(train)), tuple(sorted(val)), self.dataset.classes.num_classes
        )
        return Trial(self.recipe, data, self.precision, seed, weights)

    def uncertainty(self, trial: Trial, index: int) -> float:
        """Of one image at working size."""
        trial.model.eval()
        image = self.cache.image(index)
        window = (round_up(image.shape[0]), round_up(image.shape[1]))
        as_it_is = Preprocessing(
            Geometry(window=window, scale=1.0), trial.preprocessing.mean, trial.preprocessing.std
        )
        with self.precision.autocast():
            found = segment(forward_of(trial.model), image, as_it_is, device=self.precision.device)
        classes = self.dataset.classes
        return Prediction(found.mask, found.confidence, classes.names, classes.palette).uncertainty

    def pick_uncertain(self, trial: Trial, left: np.ndarray, rng: np.random.Generator) -> list[int]:
        """The images of a batch of which the model is least sure."""
        batch = rng.choice(left, min(self.gallery, len(left)), replace=False)
        doubts = np.asarray([self.uncertainty(trial, int(i)) for i in batch])
        return [int(i) for i in batch[np.argsort(-doubts, kind="stable")[: self.add]]]

    def pick_random(self, trial: Trial, left: np.ndarray, rng: np.random.Generator) -> list[int]:
        """Any images."""
        return [int(i) for i in rng.choice(left, self.add, replace=False)]


def score(setting: Setting, trial: Trial) -> dict[str, float]:
    """On the test split."""
    confusions = trial.evaluate(setting.split("test").tolist())
    return {name: float(reduction(iou, confusions)) for name, reduction in SCORES.items()}


def run_seed(setting: Setting, seed: int) -> dict[str, list[dict[str, float]]]:
    """Scores after the first model and after every round, by strategy."""
    pool = np.random.default_rng(seed).permutation(setting.split("train"))
    first, rest = pool[: setting.start].tolist(), np.sort(pool[setting.start :])
    n_val = max(1, round(VAL_SHARE * setting.start))
    val, train = first[:n_val], first[n_val:]
    trial = setting.trial(train, val, seed, None)
    trial.train_decoder(
        Schedule(windows=DECODER_WINDOWS, cooldown_share=0.3), 4 * len(train), 2**30
    )
    schedule = Schedule(windows=setting.first_windows, cooldown_share=COOLDOWN_SHARE)
    weights = trial.fine_tune(schedule).weights
    begin = score(setting, trial)
    trial.close()
    strategies: dict[str, Pick] = {
        "uncertain": setting.pick_uncertain,
        "random": setting.pick_random,
    }
    return {
        name: [begin, *_teach(setting, pick, train, val, rest, weights, seed)]
        for name, pick in strategies.items()
    }


def _teach(
    setting: Setting,
    pick: Pick,
    train: list[int],
    val: list[int],
    left: np.ndarray,
    weights: Weights,
    seed: int,
) -> list[dict[str, float]]:
    """Correct and train on, round after round; the score after each."""
    scores = []
    rng = np.random.default_rng([seed, 1])
    schedule = Schedule(windows=setting.windows, cooldown_share=COOLDOWN_SHARE)
    for number in range(setting.rounds):
        before = setting.trial(train, val, seed, weights)
        corrected = pick(before, left, rng)
        before.close()
        train, left = [*train, *corrected], np.setdiff1d(left, corrected)
        trial = setting.trial(train, val, seed + 1000 * (number + 1), weights)
        weights = trial.fine_tune(schedule).weights
        scores.append(score(setting, trial))
        trial.close()
    return scores


def print_results(setting: Setting, results: list[dict[str, list[dict[str, float]]]]) -> None:
    """Mean and spread over seeds, and the paired difference with its standard error."""
    for name in SCORES:
        rows = []
        for number in range(setting.rounds + 1):
            values = {
                strategy: 100 * np.asarray([result[strategy][number][name] for result in results])
                for strategy in ("random", "uncertain")
            }
            gain = values["uncertain"] - values["random"]
            error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else float("nan")
            rows.append(
                [
                    str(setting.start + number * setting.add),
                    *(f"{v.mean():.2f} ± {v.std():.2f}" for v in values.values()),
                    f"{gain.mean():+.2f} ± {error:.2f}" if number else "",
                    f"{(gain > 0).sum()} of {len(gain)}" if number else "",
                ]
            )
        header = ["images", "random", "uncertain", "difference ± s.e.", "uncertain is better"]
        print_table(f"{name} in %, mean ± sd of {len(results)} seeds", header, rows)


def make_setting(args: argparse.Namespace) -> Setting:
    """Read the data and choose precision and recipe."""
    dataset = check_dataset(Path(args.data))
    typical = np.median(dataset.statistics.sizes, axis=0) * args.scale
    window = (round_up(round(typical[0])), round_up(round(typical[1])))
    geometry = Geometry(window=window, scale=args.scale)
    device = torch.device("cpu")
    return Setting(
        dataset=dataset,
        cache=build_cache(dataset, geometry, autoseg_home() / "cache"),
        recipe=Recipe(
            encoder_name=args.encoder,
            geometry=geometry,
            decoder_name=args.decoder,
            flip="both",
            augmentation="strong",
        ),
        precision=Precision(device, has_fast_bf16(device)),
        start=args.start,
        add=args.add,
        rounds=args.rounds,
        first_windows=args.first_windows,
        windows=args.windows,
        gallery=args.gallery,
    )


def main() -> None:
    """Run all seeds that the log does not have yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=str(DATA / "coffee_leaf"), help="with given splits")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(8)))
    parser.add_argument("--start", type=int, default=20, help="images at the beginning")
    parser.add_argument("--add", type=int, default=10, help="images corrected per round")
    parser.add_argument("--gallery", type=int, default=100, help="images looked at per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-windows", type=int, default=800, help="of the first model")
    parser.add_argument("--windows", type=int, default=300, help="of every round")
    parser.add_argument("--scale", type=float, default=0.1875, help="of the working size")
    parser.add_argument("--encoder", default="tf_efficientnet_lite0.in1k")
    parser.add_argument("--decoder", default="fpn", help="of the results in the README")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--log", type=Path, help="JSON lines, one per seed; goes on where it ends")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    setting = make_setting(args)
    done: dict[int, dict[str, list[dict[str, float]]]] = {}
    if args.log is not None and args.log.is_file():
        lines = args.log.read_text(encoding="utf-8").splitlines()
        done = {row["seed"]: row["scores"] for row in map(json.loads, lines)}
    for seed in args.seeds:
        if seed not in done:
            done[seed] = run_seed(setting, seed)
            print(seed, json.dumps(done[seed]), flush=True)
            if args.log is not None:
                with args.log.open("a", encoding="utf-8") as log:
                    log.write(json.dumps({"seed": seed, "scores": done[seed]}) + "\n")
    print_results(setting, [done[seed] for seed in args.seeds])


if __name__ == "__main__":
    main()
