"""The sides of the quality benchmark: what each is given, how it is run, how all are scored."""

import json
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from measuring import DATA, ROOT, PeakMemory, child_environment, run_child
from PIL import Image

from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.data.splits import Splits, make_splits
from autoseg.metrics import confusion_matrix, iou, macro, macro_imagewise, pixel_accuracy
from autoseg.predictor import Predictor
from autoseg.search.run_folder import RunFolder

PEERS = Path(__file__).parent / "peers"
DEFAULT_ENCODER = "tf_efficientnet_lite0.in1k"
"""Encoder of the default recipe, and the one that every peer begins with."""


@dataclass(frozen=True)
class Cell:
    """One side on one data set, once."""

    side: str
    """Key of `SIDES`."""
    dataset: str
    """Name of a data set, or of its folder."""
    subset: int | None
    """Labelled images drawn from the train split; None: all."""
    budget_s: float
    seed: int
    """Of the draw, the split and the training."""
    threads: int
    """Threads and cores."""
    device: str
    """torch device."""
    max_side: int | None = None
    """Longer side of an image as autoseg works on it, in pixels; None: as it chooses."""


@dataclass(frozen=True)
class Outcome:
    """What a side made of its budget."""

    masks: list[np.ndarray]
    """One per test image, at its own size."""
    wall_s: float
    """Of its process, in seconds."""
    memory: PeakMemory
    remark: str
    flipped: list[np.ndarray] | None = None
    """Masks averaged with those of the mirrored images, of the sides that can."""


@dataclass(frozen=True)
class Data:
    """One data set as all sides get it."""

    source: Path
    """Folder that autoseg reads."""
    dataset: CheckedDataset
    splits: Splits
    task: Path
    """JSON file that the peers read, see `peers/task.py`."""


@contextmanager
def prepared(name: str, subset: int | None, seed: int) -> Iterator[Data]:
    """A data set ready for all sides, as long as the block lasts.

    Args:
        name: Name in `DATA`, a folder, or "sample" or "sample-N": N generated scenes (else 80).
        subset: Labelled images to keep, drawn from the train split; None: all. autoseg's own rule
            parts them into train and val for every side; the test images stay.
        seed: Of the draw and the split.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        source = _source(name, folder / "generated")
        dataset = check_dataset(source)
        splits = make_splits(dataset, seed)
        if subset is not None:
            _write_subset(dataset, splits, subset, seed, folder / "subset")
            source = folder / "subset"
            dataset = check_dataset(source)
            splits = make_splits(dataset, seed)
        assert splits.test, f"{name} has too few images for a test split"
        yield Data(source, dataset, splits, _write_task(dataset, splits, folder / "task"))


def _source(name: str, generated: Path) -> Path:
    if Path(name).exists():
        return Path(name).absolute()
    kind, _, number = name.partition("-")
    if kind == "sample":
        return make_sample_dataset(generated, n_images=int(number or 80))
    return DATA / name


def _write_subset(
    dataset: CheckedDataset, splits: Splits, number: int, seed: int, folder: Path
) -> None:
    """Copy a draw of the train images, and all test images, with index masks."""
    assert number <= len(splits.train), f"there are only {len(splits.train)} train images"
    drawn = np.random.default_rng(seed).choice(splits.train, number, replace=False)
    for part, indices in (("train", drawn), ("test", splits.test)):
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
        for i in indices:
            image = dataset.samples[i].image_path
            # By its number: two folders may hold files of one name.
            shutil.copyfile(image, folder / part / "images" / f"{i:05d}{image.suffix}")
            mask = folder / part / "masks" / f"{i:05d}.png"
            Image.fromarray(dataset.mask(i)).save(mask)
    names = "\n".join(dataset.classes.names) + "\n"
    (folder / "classes.txt").write_text(names, encoding="utf-8")


def _write_task(dataset: CheckedDataset, splits: Splits, folder: Path) -> Path:
    """Write index masks and the JSON file for the peers."""
    folder.mkdir()

    def pairs(indices: tuple[int, ...]) -> list[tuple[str, str]]:
        for i in indices:
            Image.fromarray(dataset.mask(i)).save(folder / f"{i}.png")
        return [(_image(dataset, i), str(folder / f"{i}.png")) for i in indices]

    task = {
        "train": pairs(splits.train),
        "val": pairs(splits.val),
        "test": [_image(dataset, i) for i in splits.test],
        "num_classes": dataset.classes.num_classes,
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    return folder / "task.json"


def _image(dataset: CheckedDataset, index: int) -> str:
    return str(dataset.samples[index].image_path.absolute())


def _run_peer(script: str, data: Data, cell: Cell, folder: Path) -> Outcome:
    """Run a script of `PEERS`; it may predict after its budget."""
    log = folder / "peer.log"
    wall_s, memory = run_child(
        [str(PEERS / script), str(data.task), str(folder / "out")]
        + ["--budget", str(cell.budget_s), "--started-at", str(time.monotonic())]
        + ["--seed", str(cell.seed), "--threads", str(cell.threads), "--device", cell.device],
        child_environment(cell.threads),
        log,
    )
    masks = [
        np.asarray(Image.open(folder / "out" / f"{k}.png")) for k in range(len(data.splits.test))
    ]
    facts = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    remark = ", ".join(f"{name}: {value}" for name, value in facts.items())
    return Outcome(masks, wall_s, memory, f"{remark}; predicted after the budget")


def _run_autoseg(options: list[str], data: Data, cell: Cell, folder: Path) -> Outcome:
    """Run the command line; its budget holds evaluating and writing the model too.

    It knows nothing of earlier runs: no side does.
    """
    if cell.max_side is not None:
        options = [*options, "--max-side", str(cell.max_side)]
    run = folder / "run"
    wall_s, memory = run_child(
        ["-m", "autoseg", "search", str(data.source), "--budget", f"{cell.budget_s}s"]
        + ["--run", str(run), "--seed", str(cell.seed), "--device", cell.device]
        + ["--no-warm-start", *options],
        child_environment(cell.threads, folder / "home"),
        folder / "autoseg.log",
    )
    stored = json.loads((run / "splits.json").read_text(encoding="utf-8"))
    assert tuple(stored["train"]) == data.splits.train, "autoseg drew another train split"
    assert tuple(stored["test"]) == data.splits.test, "autoseg drew another test split"
    # By torch, as all others: else another engine is prepared beside the next cell.
    predictor = Predictor.from_pretrained(run, device=cell.device, engine="torch")
    images = [Path(_image(data.dataset, i)) for i in data.splits.test]
    masks = [predictor.predict(image).mask for image in images]
    recipe = predictor.bundle.info.recipe
    flipped = None
    if recipe.flip != "none":
        flipped = [predictor.predict(image, flip=True).mask for image in images]
    remark = (
        f"{len(RunFolder(run).trials())} trials; {recipe.encoder_name}, {recipe.decoder_name}, "
        f"frozen depth {recipe.frozen_depth}, {recipe.epochs:.1f} epochs, {recipe.geometry}"
    )
    return Outcome(masks, wall_s, memory, remark, flipped)


Side = Callable[[Data, Cell, Path], Outcome]
SIDES: dict[str, Side] = {
    "smp": partial(_run_peer, "smp_example.py"),
    "expert": partial(_run_peer, "expert.py"),
    "fastai": partial(_run_peer, "fastai_unet.py"),
    "optuna": partial(_run_peer, "textbook_optuna.py"),
    # The whole pipeline, but one trial of the recipe it would try first, continued to the end.
    "default": partial(_run_autoseg, ["--trials", "1", "--encoders", DEFAULT_ENCODER]),
    "autoseg": partial(_run_autoseg, []),
}
"""How each side is run; autoseg itself last."""

OWN_SIDES = ("default", "autoseg")
"""Those that are autoseg."""


def score(data: Data, masks: list[np.ndarray]) -> dict[str, Any]:
    """All scores by name, from confusion matrices at the images' own size."""
    classes = data.dataset.classes
    confusions = np.stack(
        [
            confusion_matrix(data.dataset.mask(i), mask, classes.num_classes)
            for i, mask in zip(data.splits.test, masks, strict=True)
        ]
    )
    pooled = confusions.sum(0)
    return {
        "macro_iou": float(macro(iou, confusions)),
        "macro_imagewise_iou": float(macro_imagewise(iou, confusions)),
        "pixel_accuracy": float(pixel_accuracy(pooled)),
        "class_iou": dict(zip(classes.names, map(float, iou(pooled)), strict=True)),
    }


def measure(data: Data, cell: Cell) -> dict[str, Any]:
    """Run and score one cell; what is known of it beside its key.

    Raises:
        SystemExit: The side failed; the end of its output is the message.
    """
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        outcome = SIDES[cell.side](data, cell, Path(folder))
    return {
        **score(data, outcome.masks),
        "flipped": None if outcome.flipped is None else score(data, outcome.flipped),
        "wall_s": round(outcome.wall_s, 2),
        "peak_memory_bytes": outcome.memory.private_bytes,
        "remark": outcome.remark,
        "images": {part: len(getattr(data.splits, part)) for part in ("train", "val", "test")},
    }


def commit() -> str:
    """Short hash of the repository's commit; with a + where the package differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "autoseg")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def machine() -> str:
    """Kind of processor, as far as the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
