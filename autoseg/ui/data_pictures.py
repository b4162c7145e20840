"""Images of a data set with their masks: small ones in pages, and one large in the canvas."""

import hashlib
import tempfile
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.config import ClassInfo
from autoseg.data.coding import MaskCoding
from autoseg.data.dataset import read_class_mask
from autoseg.data.formats import Sample
from autoseg.data.images import read_image, write_jpeg
from autoseg.errors import DatasetError
from autoseg.prediction import Prediction
from autoseg.resizing import resize_image, resize_mask
from autoseg.ui.previews import Check, ImageIndex, preview_geometry
from autoseg.ui.result_files import write_image, write_png
from autoseg.ui.served import served_path
from autoseg.ui.texts import tr

PAGE = 24
"""Images on a page of the browser."""

SORT_BY_NAME = "name"

_THUMB = (180, 240)
_THREADS = 4


def page_of(
    folder: Path, check: Check, index: ImageIndex, page: int = 0, sort: str = SORT_BY_NAME
) -> dict[str, Any]:
    """A page of images as `ImageBrowser` shows it; the data set's name is still to be added.

    Args:
        folder: Where the check is kept, and small images once they are drawn.
        check: A check that went well.
        index: The images.
        page: From 0; too large a number means the last page.
        sort: "name", or the position of the class of which there shall be most.
    """
    assert check.classes is not None and check.coding is not None
    class_index = int(sort) if sort.isdecimal() else None
    order = index.order(class_index)
    pages = max(1, -(-len(order) // PAGE))
    page = min(max(0, page), pages - 1)
    chosen = [int(position) for position in order[page * PAGE : (page + 1) * PAGE]]
    thumbs = draw_thumbnails(folder, check.classes, check.coding, index.samples, chosen)
    names = check.classes.names
    items = [
        {
            "position": position,
            "name": index.samples[position].name,
            "note": _note(index, position, class_index, names),
            "thumb": thumb,
        }
        for position, thumb in zip(chosen, thumbs, strict=True)
    ]
    sorts = [[SORT_BY_NAME, tr("Name")]]
    sorts += [[str(k), tr("Most {name} first", name=name)] for k, name in enumerate(names)]
    return {
        "items": items, "page": page, "pages": pages, "total": len(order), "sort": sort,
        "sorts": sorts,
    }  # fmt: skip


def _note(index: ImageIndex, position: int, class_index: int | None, names: Sequence[str]) -> str:
    if class_index is None or class_index >= len(names):
        return ""
    return f"{100 * index.shares[position, class_index]:.1f} % {names[class_index]}"


def draw_thumbnails(
    folder: Path,
    classes: ClassInfo,
    coding: MaskCoding,
    samples: Sequence[Sample],
    positions: Sequence[int],
) -> list[Path | None]:
    """Small images under their masks, each drawn once; None where a file is gone."""
    key = hashlib.sha256(repr(classes.palette).encode()).hexdigest()[:12]
    store = folder / "thumbs" / key

    def drawn(position: int) -> Path | None:
        path = store / f"{position}.jpg"
        if path.is_file():
            return path
        try:
            picture = overlay(samples[position], classes, coding)
            for place in (store.parent, store):  # Not the folder, which a new check may replace.
                place.mkdir(exist_ok=True)
            aside = path.with_name(f".{uuid.uuid4().hex}.jpg")
            write_jpeg(picture, aside, quality=82)
            aside.replace(path)
        except (DatasetError, OSError):
            return None
        return path

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(drawn, positions))


def overlay(sample: Sample, classes: ClassInfo, coding: MaskCoding) -> np.ndarray:
    """One image under its mask, small, (h, w, 3) uint8.

    Raises:
        DatasetError: A file is gone or no longer fits.
    """
    image = read_image(sample.image_path)
    geometry = preview_geometry(image, _THUMB)
    mask = resize_mask(read_class_mask(sample, coding), geometry)
    sure = np.ones(mask.shape, np.float16)
    truth = Prediction(mask, sure, classes.names, classes.palette)
    return truth.overlay_image(resize_image(image, geometry))


def canvas_value(check: Check, index: ImageIndex, position: int) -> dict[str, Any] | None:
    """One image with its mask as `MaskCanvas` takes it; None where a file is gone."""
    assert check.classes is not None and check.coding is not None
    if not 0 <= position < len(index.samples):
        return None
    sample = index.samples[position]
    try:
        pixels, mask = read_image(sample.image_path), read_class_mask(sample, check.coding)
        with tempfile.TemporaryDirectory(prefix="autoseg-") as folder:
            shown, _ = write_image(sample.image_path, pixels, Path(folder))
            write_png(mask, Path(folder, "classes.png"))
            image, classes = (served_path(Path(folder, name)) for name in (shown, "classes.png"))
    except (DatasetError, OSError):
        return None
    return {
        "id": uuid.uuid4().hex,
        "name": sample.name,
        "image": image,
        "classes": classes,
        "confidence": None,
        "other": None,
        "other_name": "",
        "own_name": tr("Mask"),
        "names": list(check.classes.names),
        "palette": [list(color) for color in check.classes.palette],
        "seconds": None,
        "editable": False,
    }
