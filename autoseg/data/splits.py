"""Train, val and test: seeded, stratified by class presence, near-duplicates on one side."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from autoseg.data.dataset import CheckedDataset
from autoseg.data.duplicates import group_near_duplicates
from autoseg.errors import DatasetError

FEW_IMAGES = 60
"""Fewer images than this leave none for a test split."""

MANY_IMAGES = 150
"""From this many images on, one val split is enough; below, there are folds."""

NUM_FOLDS = 5
"""Folds where images are few."""


@dataclass(frozen=True)
class Splits:
    """Which images train, choose, and judge; positions in the data set, ascending."""

    train: tuple[int, ...]
    """Images to learn from."""
    val: tuple[int, ...]
    """Images by which the search chooses; the first fold where there are folds."""
    test: tuple[int, ...]
    """Images for the report alone; empty where images are too few."""
    folds: tuple[tuple[int, ...], ...]
    """Parts of train and val together for networks to leave out; empty from `MANY_IMAGES` on."""
    seed: int
    """Seed of the draw."""
    notes: tuple[str, ...] = ()
    """Sentences for the verdict and the report."""
    test_is_untouched: bool = True
    """Whether `test` holds images that no decision sees."""


def make_splits(dataset: CheckedDataset, seed: int) -> Splits:
    """Split a data set; the same data and seed give the same splits.

    Splits given as folders stay as they are, and what they lack is carved from train. Without
    them 70/15/15 per cent are drawn from 150 images on. From 60 on, a test split of 20 per cent
    is drawn, and five folds of the rest. Below 60 all images go to five folds.

    Raises:
        DatasetError: The given splits leave too few images to train.
    """
    groups, tightened = group_near_duplicates(dataset)
    rng = np.random.default_rng(seed)
    labels = _labels(dataset)
    number = len(dataset)
    notes = _duplicate_notes(groups, tightened)
    parts = _given_parts(dataset, notes)
    has_test = bool(len(parts["test"]))
    share = 0.15 if number >= MANY_IMAGES else 0.2
    if not has_test and number >= FEW_IMAGES:
        parts["test"] = _carve(parts, share * number, groups, labels, rng)
        has_test = True
    if not has_test:
        notes.append(folds_note(number))
    folds: list[np.ndarray] = []
    if number < MANY_IMAGES and not len(parts["val"]):
        folds = _draw(parts["train"], [1 / NUM_FOLDS] * NUM_FOLDS, groups, labels, rng)
        parts["val"] = folds[0]
        parts["train"] = np.setdiff1d(parts["train"], folds[0])
    elif number < MANY_IMAGES:
        rest = _draw(parts["train"], [1 / (NUM_FOLDS - 1)] * (NUM_FOLDS - 1), groups, labels, rng)
        folds = [parts["val"], *rest]
    elif not len(parts["val"]):
        parts["val"] = _carve(parts, share * number, groups, labels, rng)
    _warn_across(parts, groups, notes)
    _check_parts(parts, dataset)
    return Splits(
        train=_indices(parts["train"]),
        val=_indices(parts["val"]),
        test=_indices(parts["test"]),
        folds=tuple(_indices(fold) for fold in folds),
        seed=seed,
        notes=tuple(notes),
        test_is_untouched=has_test,
    )


def _given_parts(dataset: CheckedDataset, notes: list[str]) -> dict[str, np.ndarray]:
    """Positions in the splits that folders give; all others are in train."""
    given = np.asarray([sample.split or "" for sample in dataset.samples])
    if not (given == "train").any() and not (given == "").any():
        notes.append("The folders give no train split, so the images were split anew.")
        given[:] = ""
    parts = {name: np.flatnonzero(given == name) for name in ("train", "val", "test")}
    free = np.flatnonzero(given == "")
    if not (len(parts["val"]) or len(parts["test"])):
        parts["train"] = np.arange(len(given))
        return parts
    if len(free):
        notes.append(f"{len(free)} images outside the split folders joined train.")
        parts["train"] = np.union1d(parts["train"], free)
    sizes = ", ".join(f"{name} {len(part)}" for name, part in parts.items() if len(part))
    notes.append(f"The splits of the folders were kept: {sizes}.")
    for name in ("val", "test"):
        few = name == "test" and len(given) < FEW_IMAGES
        if not len(parts[name]) and not few:
            notes.append(taken_note(name))
    return parts


def folds_note(number: int) -> str:
    """What is said where images are judged by networks that leave them out."""
    return (
        f"With {number} images there is no test split: scores are those of images kept out of "
        f"training, of a fifth in a short search, in a longer one of more or all, by up to "
        f"{NUM_FOLDS} networks."
    )


def validation_note(number: int) -> str:
    """What is said where there is neither a test split nor a network of another fold."""
    return (
        f"With {number} images there is no test split; scores are those of the validation images."
    )


def without_folds(splits: Splits, number: int) -> Splits:
    """The same of a run that had no time for the folds: its notes promise none of their scores.

    Args:
        splits: The division.
        number: Images of the data set.
    """
    # Runs from before have it in other words.
    outdated, true = f"With {number} images there is no test split", validation_note(number)
    notes = tuple(true if note.startswith(outdated) else note for note in splits.notes)
    return replace(splits, notes=notes)


def taken_note(name: str) -> str:
    """What is said where folders give no such split."""
    return f"The folders give no {name} split; it was taken from train."


def _labels(dataset: CheckedDataset) -> np.ndarray:
    """What should be spread evenly (N, L) bool: classes, and image sizes as signs of origin."""
    present = dataset.statistics.class_pixels > 0
    sizes, kind = np.unique(dataset.statistics.sizes, axis=0, return_inverse=True)
    sized = kind.reshape(-1, 1) == np.arange(len(sizes))[None]
    labels = np.concatenate([present, sized], axis=1)
    counts = labels.sum(axis=0)
    return np.asarray(labels[:, (counts >= 2) & (counts < len(labels))])


def _carve(
    parts: dict[str, np.ndarray],
    wanted: float,
    groups: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Take about `wanted` images out of train."""
    share = min(0.5, wanted / max(1, len(parts["train"])))
    kept, carved = _draw(parts["train"], [1 - share, share], groups, labels, rng)
    parts["train"] = kept
    return carved


def _draw(
    pool: np.ndarray,
    shares: list[float],
    groups: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """Divide images into parts of the given shares, whole groups at a time.

    Source: iterative stratification, Sechidis et al. 2011, on groups instead of images: the
    rarest label goes first, to the part that lacks it most.
    """
    names, member = np.unique(groups[pool], return_inverse=True)
    number = len(names)
    sizes = np.bincount(member, minlength=number).astype(float)
    held = np.zeros((number, labels.shape[1] + 1))
    np.add.at(held[:, :-1], member, labels[pool].astype(float))
    held[:, -1] = sizes  # The last label stands for "any image" and takes what is left.
    wanted = np.asarray(shares)[:, None] * held.sum(axis=0)[None]
    part = np.full(number, -1)
    order = rng.permutation(number)
    order = order[np.argsort(-sizes[order], kind="stable")]  # Large groups are hard to place.
    while (free := order[part[order] < 0]).size:
        left = held[free].sum(axis=0)
        left[-1] = np.inf if (left[:-1] > 0).any() else left[-1]
        label = int(np.argmin(np.where(left > 0, left, np.inf)))
        for group in free[held[free, label] > 0]:
            lack = wanted[:, label] - wanted[:, label].max()
            best = np.flatnonzero(lack >= -1e-9)
            best = best[wanted[best, -1] >= wanted[best, -1].max() - 1e-9]
            chosen = int(rng.choice(best))
            part[group] = chosen
            wanted[chosen] -= held[group]
    return [np.sort(pool[part[member] == place]) for place in range(len(shares))]


def _duplicate_notes(groups: np.ndarray, tightened: bool) -> list[str]:
    sizes = np.bincount(groups)
    notes = []
    if alike := int(sizes[sizes > 1].sum()):
        notes.append(
            f"{alike} images are near-duplicates of others ({int((sizes > 1).sum())} groups)."
        )
    if tightened:
        notes.append(
            "Many images resemble each other, as frames of one camera do; only the closest were "
            "kept together, so scores may flatter. Give train, val and test folders by place or "
            "time if you can."
        )
    return notes


def _warn_across(parts: dict[str, np.ndarray], groups: np.ndarray, notes: list[str]) -> None:
    """Say how many test and val images have a near-duplicate in train."""
    for name in ("val", "test"):
        across = int(np.isin(groups[parts[name]], groups[parts["train"]]).sum())
        if across:
            notes.append(
                f"{across} of {len(parts[name])} {name} images have a near-duplicate in the given "
                f"train split, so their scores flatter. They were not moved."
            )


def _check_parts(parts: dict[str, np.ndarray], dataset: CheckedDataset) -> None:
    for name in ("train", "val"):
        if not len(parts[name]):
            raise DatasetError(
                f"No image is left for the {name} split ({dataset.root}: {len(dataset)} images). "
                f"Add images, or remove the split folders so that all are split anew."
            )


def _indices(part: Iterable[int]) -> tuple[int, ...]:
    return tuple(int(index) for index in np.sort(np.asarray(list(part), dtype=int)))
