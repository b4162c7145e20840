"""Small data sets on disk, as users have them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from data_helpers import photo
from PIL import Image

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

WriteSet = Callable[..., Path]


def real_data(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    return folder


@pytest.fixture
def coffee_leaf() -> Path:
    return real_data("coffee_leaf")


@pytest.fixture
def dsb2018() -> Path:
    return real_data("dsb2018")


@pytest.fixture
def write_set(tmp_path: Path) -> WriteSet:
    """Write masks (arrays or Pillow images) with photos to a folder; returns the folder."""

    def write(
        masks: Sequence[np.ndarray | Image.Image],
        classes: str | None = None,
        folder: str = "set",
        suffix: str = ".png",
        first: int = 0,
        split: str = "",
        **save: object,
    ) -> Path:
        root = tmp_path / folder
        below = root / split
        (below / "images").mkdir(parents=True, exist_ok=True)
        (below / "masks").mkdir(parents=True, exist_ok=True)
        for index, mask in enumerate(masks, start=first):
            opened = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
            opened.save(below / "masks" / f"{index:03d}{suffix}", **save)
            image = photo(index, opened.height, opened.width)
            Image.fromarray(image).save(below / "images" / f"{index:03d}.png")
        if classes is not None:
            (root / "classes.txt").write_text(classes, encoding="utf-8")
        return root

    return write
