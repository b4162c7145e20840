"""Training on from a former model: what it is, what it has seen, and who may judge the new one."""

import filecmp
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.bundle import CONFIG_FILE, WEIGHTS_FILE, copy_bundle, load_bundle, trained
from autoseg.checkpoint import Weights
from autoseg.config import ClassInfo, Recipe, from_dict, to_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits
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
    and images that are new are learnt from. Folds are of no use: the model has seen them all.

    Args:
        dataset: The data set.
        splits: As a search would divide it.
        roles: What the images were to the model; None: not known.

    Raises:
        DatasetError: Nothing is left to learn from.
    """
    splits = replace(splits, folds=())
    if roles is None:
        note = (
            "It is not known which images the model that training started from has learnt from, "
            "so scores may flatter."
        )
        return replace(splits, notes=(*splits.notes, note), test_is_untouched=False)
    known = roles.by_digest()
    was = [known.get(content.hex()) for content in dataset.contents]
    given: list[str | None] = [sample.split for sample in dataset.samples]
    if not {"val", "test"} & set(given):
        given = [None] * len(given)
    part = [split or before or "train" for split, before in zip(given, was, strict=True)]
    if "val" not in part:
        for i in [i for i in splits.val if part[i] == "train"]:
            part[i] = "val"
    train, val, test = (
        tuple(i for i, split in enumerate(part) if split == name)
        for name in ("train", "val", "test")
    )
    if not train or not val:
        raise DatasetError(
            f"Of {len(dataset)} images {len(train)} are left to learn from and {len(val)} to "
            f"choose by, as the model to start from has used them. Add images, or search without "
            f"a model to start from."
        )
    seen = sum(was[i] in ("train", "val") for i in test)
    notes = [f"The model that training started from has seen {seen} of the test images."]
    return replace(
        splits,
        train=train,
        val=val,
        test=test,
        notes=(*splits.notes, *(notes if seen else ())),
        test_is_untouched=bool(test) and not seen,
    )
