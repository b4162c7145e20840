"""One choice at a time, at equal pixels: what it is worth in a training without a search.

A variant is an FPN on EfficientNet-Lite0 with the default rates, some choices changed, as
`name=value` with commas between: any field of a recipe, or one of `CHOICES`. Each is trained as a
run without a search trains its recipe (a decoder on the frozen encoder, then everything, with a
cooldown) on as many pixels of windows as are asked for, and scored on the test images at their own
size. Time does not count, so the machine may do other work meanwhile. Rows that the file has
already are left out.

    python tests/benchmarks/ablations.py --dataset coffee_leaf --subset 50 \\
        augmentation=light augmentation=light,refit=1
"""

import argparse
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measuring import print_table
from quality_sides import Data, prepared

from autoseg.checkpoint import Weights
from autoseg.config import MAX_FROZEN_DEPTH, Geometry, Recipe
from autoseg.data.cache import build_cache
from autoseg.judging import predict_weights
from autoseg.metrics import iou, macro, macro_imagewise
from autoseg.search.final import COOLDOWN_SHARE
from autoseg.search.flips import choose_flip
from autoseg.search.geometry import OBJECT_WIDTH_PX, object_widths, plan_geometry
from autoseg.search.planning import (
    DECODER_EPOCHS,
    DECODER_SHARE,
    LEAST_DECODER_WINDOWS,
    choose_batch_size,
)
from autoseg.training.hardware import Precision, has_fast_bf16
from autoseg.training.schedule import Schedule
from autoseg.training.trial import TrainingData, Trial

RESULTS = Path(__file__).parent / "results" / "ablations.jsonl"

FEATURE_COST, DECODER_COST = 0.2, 0.4
"""Cost of computing a window's features, and of a decoder step on them, in fine-tuning steps."""

CHOICES: dict[str, Any] = {
    "planned": None,  # Megapixels that the working size is planned for; else all.
    "object_width": OBJECT_WIDTH_PX,  # That the thinnest class keeps, in pixels.
    "decoder_share": DECODER_SHARE,
    "cooldown_share": COOLDOWN_SHARE,
    "refit": 0,  # Whether the validation images are trained on, too.
    "cost": 1.0,  # Of a step, by that of the default encoder: larger ones get fewer windows.
}
"""What can be chosen beside the recipe, and what is chosen otherwise."""


@dataclass(frozen=True)
class Row:
    """One variant on one data set."""

    dataset: str
    subset: int | None
    """Labelled images, validation included; None: all."""
    seed: int
    megapixels: float
    """Of windows trained on, the decoder phase included."""
    variant: str
    macro_iou: float
    """On the test images, in percent."""
    imagewise_iou: float
    """Macro-imagewise, on the test images, in percent."""
    windows: int
    """Fine-tuned on."""
    side: int
    """Of a window, in pixels."""


def main() -> None:
    """Train the variants that the file lacks, and print all of the data set."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="coffee_leaf")
    parser.add_argument("--subset", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--megapixels", type=float, default=40.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("variants", nargs="*", metavar="NAME=VALUE,…")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cell = (args.dataset, args.subset, args.seed, args.megapixels)
    missing = [v for v in args.variants if (*cell, v) not in _known(args.results)]
    if missing:
        with (
            prepared(args.dataset, args.subset, args.seed) as data,
            TemporaryDirectory() as folder,
        ):
            for variant in missing:
                row = Row(*cell, variant, *train(data, args, variant, Path(folder)))
                with args.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    _print_rows(args.results, args.dataset)


def read_rows(results: Path) -> list[Row]:
    """All rows of a file; none if there is no file."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    return [Row(**json.loads(line)) for line in lines]


def _known(results: Path) -> set[tuple[str, int | None, int, float, str]]:
    return {
        (row.dataset, row.subset, row.seed, row.megapixels, row.variant)
        for row in read_rows(results)
    }


def _print_rows(results: Path, dataset: str) -> None:
    """A table for every number of images and length: macro and imagewise IoU, by seed."""
    rows = [row for row in read_rows(results) if row.dataset == dataset]
    for subset, megapixels in sorted(
        {(row.subset, row.megapixels) for row in rows}, key=lambda cell: (cell[0] or 10**6, cell[1])
    ):
        cell = [row for row in rows if (row.subset, row.megapixels) == (subset, megapixels)]
        scores = {
            (row.variant, row.seed): f"{row.macro_iou:.2f} / {row.imagewise_iou:.2f}"
            for row in cell
        }
        seeds = sorted({row.seed for row in cell})
        print_table(
            f"{dataset}, {subset or 'all'} images, {megapixels:g} megapixels",
            ("macro / imagewise IoU, %", *(f"seed {seed}" for seed in seeds)),
            [
                (variant, *(scores.get((variant, seed), "") for seed in seeds))
                for variant in dict.fromkeys(row.variant for row in cell)
            ],
        )


def train(
    data: Data, args: argparse.Namespace, variant: str, folder: Path
) -> tuple[float, float, int, int]:
    """Train one variant; macro and macro-imagewise IoU in percent, windows, and their side."""
    changes, choices = parse_variant(variant)
    splits, num_classes = data.splits, data.dataset.classes.num_classes
    affordable = 1e6 * (choices["planned"] or args.megapixels)
    geometry = _geometry(data, affordable, choices["object_width"])
    cache = build_cache(data.dataset, geometry, folder)
    learnt = (*splits.train, *splits.val) if choices["refit"] else splits.train
    seen = TrainingData(cache, tuple(sorted(learnt)), splits.val, num_classes)
    recipe = Recipe(
        encoder_name="tf_efficientnet_lite0.in1k",
        geometry=geometry,
        flip=choose_flip(data.dataset.classes.names, cache, splits.train),
        batch_size=choose_batch_size(len(learnt), "cpu", geometry.window),
    )
    recipe = replace(recipe, **changes)
    device = torch.device("cpu")
    precision = Precision(device, has_fast_bf16(device))
    height, width = geometry.window
    windows = args.megapixels * 1e6 / (height * width) / choices["cost"]
    start, spent = _decoder_start(recipe, seen, precision, args.seed, windows, choices)
    trial = Trial(recipe, seen, precision, args.seed + 1, start)
    schedule = Schedule(
        windows=int(windows - spent), cooldown_share=choices["cooldown_share"], evaluations=(1.0,)
    )
    weights = trial.fine_tune(schedule).weights
    trial.close()
    found = predict_weights(data.dataset, splits.test, precision, recipe, weights).confusions
    scores = (round(100 * float(score(iou, found)), 2) for score in (macro, macro_imagewise))
    return *scores, int(windows - spent), height


def parse_variant(variant: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a variant changes of the recipe, and all choices beside it."""
    changes, choices = {}, dict(CHOICES)
    for part in filter(None, variant.split(",")):
        name, _, text = part.partition("=")
        try:
            value = json.loads(text)
        except ValueError:  # A word.
            value = text
        if name in CHOICES:
            choices[name] = value
        elif name in {field.name for field in fields(Recipe)}:
            changes[name] = value
        else:
            raise SystemExit(f"{name} is neither a field of a recipe nor one of {list(CHOICES)}.")
    return changes, choices


def _geometry(data: Data, affordable: float, object_width: float) -> Geometry:
    """The working size of a run that can train on so many pixels."""
    facts = data.dataset.statistics
    seen = sorted((*data.splits.train, *data.splits.val))
    widths = object_widths(facts.sizes[seen], facts.class_pixels[seen], facts.class_boundary[seen])
    widths = replace(widths, thinnest_px=widths.thinnest_px * OBJECT_WIDTH_PX / object_width)
    # As for an FPN, whatever the decoder, so that rows of one length have one size.
    return plan_geometry(
        facts.sizes[seen], widths, "cpu", affordable_pixels=affordable, decoder_name="fpn"
    )


def _decoder_start(
    recipe: Recipe,
    data: TrainingData,
    precision: Precision,
    seed: int,
    windows: float,
    choices: dict[str, Any],
) -> tuple[Weights | None, float]:
    """The decoder phase, and what it cost in windows of fine-tuning."""
    share = choices["decoder_share"]
    if not share:
        return None, 0.0
    features = 2 * len(data.train)
    steps = DECODER_EPOCHS * features
    affordable = share * windows / (features * FEATURE_COST + steps * DECODER_COST)
    affordable = max(min(1.0, affordable), LEAST_DECODER_WINDOWS / steps)
    features, steps = max(8, int(affordable * features)), max(8, int(affordable * steps))
    trial = Trial(
        replace(recipe, frozen_depth=MAX_FROZEN_DEPTH, decoder_lr=1e-3), data, precision, seed
    )
    schedule = Schedule(windows=steps, cooldown_share=0.3, evaluations=(1.0,))
    weights = trial.train_decoder(schedule, features, 2**31).weights
    trial.close()
    return weights, features * FEATURE_COST + steps * DECODER_COST


if __name__ == "__main__":
    main()
