"""Quality for time: autoseg against an expert's plain smp loop with the same minutes.

Both get the same split, run one after the other in processes of their own with fresh caches, and
are scored by one evaluator on the same test images at the images' own size. The expert gets ready
index masks and may predict after its budget; autoseg's budget holds the reading and checking of
the data, the search, the evaluation and the writing of the model.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measuring import DATA, child_environment, keep_to_cores, print_table, run_child
from PIL import Image

from autoseg.config import parse_duration
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.splits import Splits, make_splits
from autoseg.metrics import confusion_matrix, iou, macro, macro_imagewise, pixel_accuracy
from autoseg.predictor import Predictor
from autoseg.search.run_folder import RunFolder

DATASETS = ("coffee_leaf", "dsb2018")
SIDES = ("expert", "autoseg")
EXPERT = Path(__file__).parent / "peers" / "expert.py"


def run_expert(
    dataset: CheckedDataset, splits: Splits, folder: Path, args: argparse.Namespace
) -> tuple[list[np.ndarray], float, str]:
    """Train the expert's model; masks of the test images, wall time, and a remark."""
    masks = folder / "masks"
    masks.mkdir()
    for i in splits.train:
        Image.fromarray(dataset.mask(i)).save(masks / f"{i}.png")
    images = [str(sample.image_path.absolute()) for sample in dataset.samples]
    task = {
        "train": [[images[i], str(masks / f"{i}.png")] for i in splits.train],
        "test": [images[i] for i in splits.test],
        "num_classes": dataset.classes.num_classes,
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    log = folder / "expert.log"
    options = ["--budget", str(args.budget_s), "--seed", str(args.seed)]
    seconds, _ = run_child(
        [str(EXPERT), str(folder / "task.json"), str(folder / "out"), *options]
        + ["--threads", str(args.threads)],
        child_environment(args.threads),
        log,
    )
    predicted = [
        np.asarray(Image.open(folder / "out" / f"{k}.png")) for k in range(len(splits.test))
    ]
    facts = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    return predicted, seconds, f"{facts['steps']} steps, trained until {facts['trained_s']} s"


def run_autoseg(
    source: Path,
    dataset: CheckedDataset,
    splits: Splits,
    folder: Path,
    args: argparse.Namespace,
) -> tuple[list[np.ndarray], float, str]:
    """Search with autoseg; masks of the test images, wall time, and a remark."""
    run = folder / "run"
    seconds, _ = run_child(
        ["-m", "autoseg", "search", str(source.absolute()), "--budget", f"{args.budget_s}s"]
        + ["--run", str(run), "--seed", str(args.seed)],
        child_environment(args.threads, folder / "home"),
        folder / "autoseg.log",
    )
    stored = json.loads((run / "splits.json").read_text(encoding="utf-8"))
    assert tuple(stored["test"]) == splits.test, "autoseg drew another test split"
    predictor = Predictor.from_pretrained(run, device="cpu")
    predicted = [predictor.predict(dataset.samples[i].image_path).mask for i in splits.test]
    trials = RunFolder(run).trials()
    recipe = predictor.bundle.info.recipe
    remark = (
        f"{len(trials)} trials; {recipe.encoder_name}, {recipe.decoder_name}, frozen depth "
        f"{recipe.frozen_depth}, {recipe.epochs:.1f} epochs, {recipe.geometry}"
    )
    return predicted, seconds, remark


def score(dataset: CheckedDataset, splits: Splits, predicted: list[np.ndarray]) -> dict[str, float]:
    """All scores by name, from confusion matrices at the images' own size."""
    confusions = np.stack(
        [
            confusion_matrix(dataset.mask(i), mask, dataset.classes.num_classes)
            for i, mask in zip(splits.test, predicted, strict=True)
        ]
    )
    pooled = confusions.sum(0)
    named = {f"IoU {n}": v for n, v in zip(dataset.classes.names, iou(pooled), strict=True)}
    return {
        "macro IoU": float(macro(iou, confusions)),
        "macro-imagewise IoU": float(macro_imagewise(iou, confusions)),
        **{name: float(value) for name, value in named.items()},
        "pixel accuracy": float(pixel_accuracy(pooled)),
    }


def print_scores(
    name: str, budget_s: float, scores: dict[str, dict[str, float]], seconds: dict[str, float]
) -> None:
    """Both side by side, in points, and what autoseg is ahead by."""
    sides = list(scores)
    header = ["", *sides, *(["difference"] if len(sides) == 2 else [])]
    rows = []
    for key in scores[sides[0]]:
        values = [100 * scores[side][key] for side in sides]
        row = [key, *(f"{value:.2f}" for value in values)]
        rows.append(row + [f"{values[1] - values[0]:+.2f}"] * (len(sides) == 2))
    row = ["wall time, s", *(f"{seconds[side]:.1f}" for side in sides)]
    rows.append(row + [f"{seconds[sides[-1]] - seconds[sides[0]]:+.1f}"] * (len(sides) == 2))
    print_table(f"{name}, budget {budget_s:g} s, test split", header, rows)


def compare(name: str, args: argparse.Namespace) -> None:
    """Run what was asked for on one data set and print the table."""
    source = Path(name) if Path(name).exists() else DATA / name
    dataset = check_dataset(source)
    splits = make_splits(dataset, args.seed)
    print(
        f"{source.name}, seed {args.seed}: train {len(splits.train)}, val {len(splits.val)}, "
        f"test {len(splits.test)}",
        flush=True,
    )
    scores: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for side in [args.only] if args.only else SIDES:
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            if side == "expert":
                result = run_expert(dataset, splits, Path(folder), args)
            else:
                result = run_autoseg(source, dataset, splits, Path(folder), args)
        predicted, seconds[side], remark = result
        scores[side] = score(dataset, splits, predicted)
        print(f"  {side}: {remark}", flush=True)
    print_scores(source.name, args.budget_s, scores, seconds)


def main() -> None:
    """Compare on each data set in turn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", nargs="+", default=DATASETS, help="names in ../shared/data, or folders"
    )
    parser.add_argument("--budget", default="6m", help="such as 90s or 6m")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of both trainings")
    parser.add_argument("--only", choices=SIDES)
    parser.add_argument("--threads", type=int, default=2, help="threads and cores of each")
    args = parser.parse_args()
    args.budget_s = parse_duration(args.budget)
    keep_to_cores(args.threads)
    for name in args.dataset:
        compare(name, args)


if __name__ == "__main__":
    main()
