"""Training on from a former model: what it is, what it has seen, and who may judge the new one."""

import filecmp
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoseg.bundle import CONFIG_FILE, WEIGHTS_FILE, copy_bundle, load_bundle, trained
from autoseg.card_text import count
from autoseg.checkpoint import Weights
from autoseg.config import ClassInfo, Recipe, from_dict, to_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.duplicates import group_near_duplicates
from autoseg.data.splits import Splits, folds_note, taken_note, validation_note
from autoseg.errors import BundleError, DatasetError
from autoseg.files import write_json
from autoseg.image_roles import ImageRoles, read_roles
from autoseg.predictor import locate_model
from autoseg.search.run_folder import RunFolder

START_FOLDER = "start"
"""Where a run keeps the model that it began with."""

_ROLES = "start_images.json"


@dataclass(frozen=True)
class StartModel:
    """A model that training starts from."""

    recipe: Recipe
    weights: Weights
    classes: ClassInfo
    roles: ImageRoles | None
    """What it learnt from and was chosen by; None: not known."""


def locate_start(source: str | Path) -> str:
    """The folder of the model that a user names to start from.

    An absolute path that is gone is let through: a run that goes on has a copy of its own.

    Raises:
        BundleError: There is no model.
        HubError: The Hub does not give it.
    """
    try:
        return str(locate_model(source).resolve())
    except BundleError:
        if not Path(source).is_absolute():
            raise
        return str(source)


def load_start(source: str, run: RunFolder) -> StartModel:
    """The model a run starts from, kept in the run's folder from now on.

    Args:
        source: Folder of the model.
        run: Its folder; a resumed run finds its copy there.

    Raises:
        BundleError: There is no sound model, or none that autoseg trained.
    """
    folder = run.path / START_FOLDER
    if not (folder / CONFIG_FILE).is_file():
        parent = RunFolder(Path(source).parent)
        roles = read_roles(parent) if parent.model == Path(source) else None
        if roles is not None:
            write_json(run.path / _ROLES, to_dict(roles))
        copy_bundle(Path(source), folder)  # Last: where it is, the roles are.
    bundle = load_bundle(folder)
    stored = run.json(_ROLES)
    return StartModel(
        recipe=trained(bundle.info),
        weights={name: tensor.clone() for name, tensor in bundle.model.state_dict().items()},
        classes=bundle.info.classes,
        roles=None if stored is None else from_dict(ImageRoles, stored, _ROLES),
    )


def began_with(run: RunFolder, model: Path) -> bool:
    """Whether a run was trained on from a model, whatever either is called by now.

    Args:
        run: Its folder; its own copy of the former model decides, once it is there.
        model: Folder of a bundle.

    Raises:
        RunError: The run's record is damaged.
    """
    kept, weights = run.path / START_FOLDER / WEIGHTS_FILE, model / WEIGHTS_FILE
    if kept.is_file():
        # The content is read once: `filecmp` remembers by size and time of change.
        return weights.is_file() and filecmp.cmp(kept, weights, shallow=False)
    info = run.info()
    start = info.config.start_from if info is not None else None
    return start is not None and Path(start) in (model, model.parent)


def refuse_other_classes(start: StartModel, dataset: CheckedDataset) -> None:
    """Refuse a data set whose classes are not the model's, in its order.

    Raises:
        DatasetError: They differ.
    """
    if start.classes.names != dataset.classes.names:
        raise DatasetError(
            f"The model to start from knows the classes {', '.join(start.classes.names)}, but the "
            f"data set has {', '.join(dataset.classes.names)}. Give the data set the same classes "
            f"in the same order (a class list or --map), or search without a model to start from."
        )


def inherit_splits(dataset: CheckedDataset, splits: Splits, roles: ImageRoles | None) -> Splits:
    """The division of a data set that keeps the model's own test images for the test.

    Val and test folders stay as they are. Without them every image is what it was to the model,
    and images that are new are learnt from; what resembles one that is learnt from is neither
    chosen nor judged by. Where all are new, they are divided as for a search. Folds are of no use:
    the model has seen them all.

    Args:
        dataset: The data set.
        splits: As a search would divide it.
        roles: What the images were to the model; None: not known.

    Raises:
        DatasetError: Nothing is left to learn from.
    """
    groups, _ = group_near_duplicates(dataset)
    given: list[str | None] = [sample.split for sample in dataset.samples]
    has_folders = bool({"val", "test"} & set(given))
    known = roles.by_digest() if roles is not None else {}
    was = [known.get(content.hex()) for content in dataset.contents]
    moved: list[str] = []
    if not any(was):
        part = _parts_of(splits, len(dataset))
    else:
        pairs = zip(given if has_folders else [None] * len(given), was, strict=True)
        part = [split or before or "train" for split, before in pairs]
        if "val" not in part:
            for i in [i for i in splits.val if part[i] == "train"]:
                part[i] = "val"
        if not has_folders:
            moved = _move_near_duplicates(part, groups)
    train, val, test = (_positions(part, name) for name in ("train", "val", "test"))
    if not train or not val:
        raise DatasetError(
            f"Of {len(dataset)} images {len(train)} are left to learn from and {len(val)} to "
            f"choose by, as the model to start from has used them. Add images, or search without "
            f"a model to start from."
        )
    seen = sum(was[i] in ("train", "val") for i in test)
    alike = len(_resembling(part, groups, "test"))
    outdated = {folds_note(len(dataset)), *(() if test else (taken_note("test"),))}
    notes = [note for note in splits.notes if note not in outdated] + moved
    if not test and any(was):
        notes.append(
            "There is no test split, as images that the former model has not seen are learnt from; "
            "scores are those of the validation images, by which the weights are chosen."
        )
    elif not test:
        notes.append(validation_note(len(dataset)))
    if roles is None:
        notes.append(
            "It is not known which images the model that training started from has learnt from, "
            "so scores may flatter."
        )
    if alike and not has_folders:  # Of folders it is said already.
        notes.append(
            f"{alike} of {len(test)} test images have a near-duplicate in train, so their scores "
            f"flatter."
        )
    if seen:
        notes.append(f"The model that training started from has seen {seen} of the test images.")
    return replace(
        splits,
        train=train,
        val=val,
        test=test,
        folds=(),
        notes=tuple(notes),
        test_is_untouched=bool(test) and roles is not None and not seen and not alike,
    )


def _parts_of(splits: Splits, number: int) -> list[str]:
    part = ["train"] * number
    for name in ("val", "test"):
        for i in getattr(splits, name):
            part[i] = name
    return part


def _positions(part: list[str], name: str) -> tuple[int, ...]:
    return tuple(i for i, split in enumerate(part) if split == name)


def _resembling(part: list[str], groups: np.ndarray, name: str) -> list[int]:
    """Images of a split that have a near-duplicate in train."""
    learnt = {int(groups[i]) for i in _positions(part, "train")}
    return [i for i in _positions(part, name) if int(groups[i]) in learnt]


def _move_near_duplicates(part: list[str], groups: np.ndarray) -> list[str]:
    """Move what resembles an image of train there too, in place; what to say of it.

    A split that nothing would be left of stays.
    """
    notes = []
    for name in ("val", "test"):
        alike = _resembling(part, groups, name)
        if not alike or len(alike) == part.count(name):
            continue
        for i in alike:
            part[i] = "train"
        notes.append(
            f"{count(len(alike), 'image')} of the {name} split moved to train, where there is a "
            f"near-duplicate now."
        )
    return notes
