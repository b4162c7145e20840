"""What each image was to a run: learnt from, chosen by, or judged on (`images.json`).

Positions in `splits.json` hold for one data set only; names and contents also tell what a model
has seen of another one.
"""

from collections.abc import Collection
from dataclasses import dataclass

from autoseg.config import FORMAT_VERSION, from_dict, to_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits
from autoseg.errors import ConfigError, RunError
from autoseg.files import write_json
from autoseg.search.run_folder import RunFolder

_FILE = "images.json"


@dataclass(frozen=True)
class ImageRole:
    """One image of a run."""

    name: str
    """Name of the sample; empty where only a model that came before has seen it."""
    split: str
    """"train", "val" or "test"."""
    digest: str
    """sha256 of the image's file."""


@dataclass(frozen=True)
class ImageRoles:
    """All images of a run."""

    images: tuple[ImageRole, ...]
    format_version: int = FORMAT_VERSION

    def by_name(self) -> dict[str, str]:
        """Split of each sample."""
        return {image.name: image.split for image in self.images if image.name}

    def by_digest(self) -> dict[str, str]:
        """Split of each image by its content; of copies the one that was seen most."""
        order = ("test", "val", "train")
        ranked = sorted(self.images, key=lambda image: order.index(image.split))
        return {image.digest: image.split for image in ranked}

    def judging(self) -> frozenset[str]:
        """Contents of the images that are test images and nothing else."""
        return frozenset(digest for digest, split in self.by_digest().items() if split == "test")


def roles_of(
    dataset: CheckedDataset, splits: Splits, before: ImageRoles | None = None
) -> ImageRoles:
    """The roles that a division of a data set gives its images.

    Args:
        dataset: The data set.
        splits: Its division.
        before: What the model that training started from had seen: the new one has seen it too.
    """
    now = [
        ImageRole(dataset.samples[i].name, split, dataset.contents[i].hex())
        for split in ("train", "val", "test")
        for i in getattr(splits, split)
    ]
    seen = before.by_digest() if before is not None else {}
    former = [ImageRole("", split, digest) for digest, split in seen.items() if split != "test"]
    return ImageRoles((*now, *former))


def write_roles(
    run: RunFolder, dataset: CheckedDataset, splits: Splits, before: ImageRoles | None = None
) -> None:
    """Record the roles of the images of a run; arguments as `roles_of`."""
    write_json(run.path / _FILE, to_dict(roles_of(dataset, splits, before)))


def read_roles(run: RunFolder) -> ImageRoles | None:
    """The roles that a run recorded; None: it is no run, or one of an earlier autoseg.

    Raises:
        RunError: The record is damaged.
    """
    stored = run.json(_FILE)
    if stored is None:
        return None
    try:
        return from_dict(ImageRoles, stored, _FILE)
    except ConfigError as error:
        raise RunError(f"The run's folder is damaged: {error}") from error


def has_seen(run: RunFolder, images: Collection[str]) -> bool:
    """Whether a run learnt from some images or was chosen by them.

    Of a run of an earlier autoseg, without a record, nothing is known: False. A record that is
    damaged may hide them: True.

    Args:
        run: The run.
        images: Their contents, as in `ImageRole.digest`.
    """
    try:
        roles = read_roles(run)
    except (RunError, OSError):
        return True
    if roles is None:
        return False
    return any(image.split != "test" and image.digest in images for image in roles.images)
