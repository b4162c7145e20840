"""Which columns of a table hold the images and which the masks: by their names, then by content."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.formats import IMAGE_WORDS, MASK_WORDS
from autoseg.data.images import decode_mask
from autoseg.errors import DatasetError

MAX_MASK_VALUES = 64
"""A picture with more values or colours than this is taken for a photo."""

_IMAGE_NAMES = IMAGE_WORDS | {"pixel", "pixels"}

Encoded = Mapping[str, Sequence[bytes]]
"""Encoded pictures of the first rows by column; empty cells are left out."""


@dataclass(frozen=True)
class Columns:
    """The two columns of a segmentation data set."""

    image: str
    """Column of the images."""
    mask: str
    """Column of the masks."""


def choose_columns(encoded: Encoded, where: str) -> Columns:
    """Tell the images' column from the masks', as far as that can be told.

    Names decide where they are clear ("image" and "mask", "pixel_values" and "label"). Where
    none or more than one fits, the content does: a mask is of the image's size, saved without
    loss, and has few values.

    Args:
        encoded: Pictures of the first rows, of every column that holds some.
        where: What the table is called in the error's text.

    Raises:
        DatasetError: No column, or more than one, can be the image or the mask.
    """
    looks = {name: _looks(name, pictures) for name, pictures in encoded.items()}
    image = _only("image", looks, where, named=_is_image_name, fits=lambda look: not look.flat)
    others = {name: look for name, look in looks.items() if name != image}
    size = looks[image].size
    mask = _only(
        "mask", others, where, named=_is_mask_name,
        fits=lambda look: look.flat and size in (None, look.size),
    )  # fmt: skip
    return Columns(image, mask)


def wanted_columns(wanted: Columns, known: Sequence[str], where: str) -> Columns:
    """The columns that the user named.

    Raises:
        DatasetError: The table has no such columns, or they are one and the same.
    """
    for name in (wanted.image, wanted.mask):
        if name not in known:
            raise DatasetError(
                f"{where} has no column {name!r} with pictures. It has "
                f"{', '.join(known) or 'none'}."
            )
    if wanted.image == wanted.mask:
        raise DatasetError(f"{wanted.image!r} cannot be both the image and the mask of {where}.")
    return wanted


@dataclass(frozen=True)
class _Look:
    """What the first pictures of a column look like."""

    flat: bool
    """Whether all were saved without loss and have few values, as masks do."""
    size: tuple[int, int] | None
    """Height and width of the first one; None where none decodes."""


def _looks(name: str, pictures: Sequence[bytes]) -> _Look:
    flat, size = True, None
    for data in pictures:
        try:
            raw = decode_mask(data, Path(name))
        except DatasetError:
            continue
        size = size or (raw.values.shape[0], raw.values.shape[1])
        flat = flat and not raw.lossy and len(np.unique(raw.values)) <= MAX_MASK_VALUES
    return _Look(flat and size is not None, size)


def _words(name: str) -> set[str]:
    """Lower-case words of a column's name, also of one in camel case."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(re.split(r"[^a-z]+", spaced.lower()))


def _is_mask_name(name: str) -> bool:
    return bool(_words(name) & MASK_WORDS)


def _is_image_name(name: str) -> bool:
    return bool(_words(name) & _IMAGE_NAMES) and not _is_mask_name(name)


def _only(
    role: str,
    looks: Mapping[str, _Look],
    where: str,
    named: Callable[[str], bool],
    fits: Callable[[_Look], bool],
) -> str:
    """The one column that can have the role.

    Raises:
        DatasetError: None can, or more than one.
    """
    candidates = [name for name in looks if named(name)]
    if not candidates:
        # What is named for the other role is not asked for this one.
        candidates = [
            name
            for name, look in looks.items()
            if fits(look) and not _is_mask_name(name) and not _is_image_name(name)
        ]
    if len(candidates) > 1:
        exact = [name for name in candidates if name.lower() == role]
        candidates = exact or [name for name in candidates if fits(looks[name])] or candidates
    if len(candidates) == 1:
        return candidates[0]
    found = ", ".join(candidates or looks) or "none"
    problem = (
        f"more than one column of {where} can hold the {role}s: {found}"
        if candidates
        else f"no column of {where} looks like {role}s; columns with pictures: {found}"
    )
    raise DatasetError(
        f"{problem[0].upper()}{problem[1:]}. Name both columns at the end of the data set: "
        f"...?image=COLUMN&mask=COLUMN."
    )
