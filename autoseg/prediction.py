"""What a model says of one image, and the files it can be written to."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import contourpy
import numpy as np
from PIL import Image, ImageFilter
from pycocotools import mask as coco_mask

from autoseg.config import Color
from autoseg.data.images import read_image
from autoseg.errors import PredictionError
from autoseg.files import replacing, write_text

OutputFormat = Literal["index", "color", "overlay", "coco", "polygons", "confidence"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)

_SUFFIXES: dict[OutputFormat, str] = {
    "index": ".png",
    "color": ".color.png",
    "overlay": ".overlay.png",
    "coco": ".coco.json",
    "polygons": ".geojson",
    "confidence": ".confidence.png",
}

_OUTLINES_PER_SIDE = 500
"""An outline is about 1/500 of the image's shorter side wide, and at least 1 pixel."""

_ENOUGH_PIXELS = 100_000
"""Pixels of a larger image by which its uncertainty is told."""


def output_path(folder: Path, name: str, output_format: OutputFormat) -> Path:
    """Where the prediction of an image called `name` (no suffix) goes in `folder`."""
    return folder / f"{name}{_SUFFIXES[output_format]}"


@dataclass(frozen=True)
class Prediction:
    """The class of every pixel of one image."""

    mask: np.ndarray
    """(H, W) uint8: the class of each pixel, at the image's own size."""
    confidence: np.ndarray
    """(H, W) float16 in [0, 1]: the probability of that class."""
    class_names: tuple[str, ...]
    """Name of each class; the position is the mask value."""
    palette: tuple[Color, ...]
    """RGB colour of each class."""
    source: Path | None = None
    """File of the image, if it came from one."""
    seconds: float = 0.0
    """Time it took, reading of the image included, in seconds."""
    probabilities: np.ndarray | None = None
    """(K, H, W) float16, where asked for."""
    engine: str = "torch"
    """What computed it: "torch", "onnxruntime", "openvino", or these two with " int8"."""

    @property
    def uncertainty(self) -> float:
        """How useful it is to correct this image, in [0, 1]: the higher, the more.

        The geometric mean of two means of the doubt 1 - confidence (least confidence, Lewis and
        Gale 1994): over all pixels, the share expected to be wrong, and over the classes found,
        where a small region counts as much as the background. Either alone misleads: on 380
        images of coffee_leaf and two models its rank correlation with the share of wrong pixels
        and with 1 - IoU was 0.85 and 0.49 for pixels, 0.59 and 0.82 for classes, and is 0.76 and
        0.77 for this one. The ten highest hold 2.5 times as many wrong pixels as any ten.
        """
        step = max(1, math.isqrt(self.mask.size // _ENOUGH_PIXELS))
        classes = self.mask[::step, ::step].ravel()
        doubt = 1 - self.confidence[::step, ::step].ravel().astype(np.float32)
        pixels, doubts = np.bincount(classes), np.bincount(classes, weights=doubt)
        found = pixels > 0
        mean, mean_of_classes = doubts.sum() / pixels.sum(), (doubts[found] / pixels[found]).mean()
        return float(np.clip(np.sqrt(max(0.0, mean * mean_of_classes)), 0, 1))

    def save(
        self, path: str | Path, output_format: OutputFormat, image: np.ndarray | None = None
    ) -> None:
        """Write one file of the given format, whole or not at all.

        Args:
            path: The file.
            output_format: "index", "color", "overlay", "coco", "polygons" or "confidence".
            image: (H, W, 3) uint8, for the overlay; None: read again from `source`.

        Raises:
            PredictionError: The file cannot be written, or an overlay has no image.
        """
        if output_format == "index":
            self.save_index_png(path)
        elif output_format == "color":
            self.save_color_png(path)
        elif output_format == "overlay":
            self.save_overlay(path, image)
        elif output_format == "coco":
            self.save_coco(path)
        elif output_format == "polygons":
            self.save_polygons(path)
        else:
            self.save_confidence_png(path)

    def save_index_png(self, path: str | Path) -> None:
        """Write the mask as an 8-bit grey PNG whose values are class indices."""
        _save_png(Image.fromarray(self.mask), path)

    def save_color_png(self, path: str | Path) -> None:
        """Write the mask as an RGB PNG in the palette's colours."""
        _save_png(Image.fromarray(self.color_image()), path)

    def save_overlay(self, path: str | Path, image: np.ndarray | None = None) -> None:
        """Write the image under half-transparent class colours and their outlines.

        Args:
            path: The file, a PNG.
            image: (H, W, 3) uint8; None: read again from `source`.
        """
        _save_png(Image.fromarray(self.overlay_image(image)), path)

    def save_coco(self, path: str | Path) -> None:
        """Write `coco_rle()` as JSON with the image's name and size and the categories."""
        height, width = self.mask.shape
        name = self.source.name if self.source else None
        categories = [{"id": k, "name": name} for k, name in enumerate(self.class_names)]
        value = {
            "info": {"engine": self.engine},
            "image": {"file_name": name, "height": height, "width": width},
            "categories": categories,
            "annotations": self.coco_rle(),
        }
        _save_json(value, path)

    def save_polygons(self, path: str | Path) -> None:
        """Write `polygons()` as a GeoJSON feature collection in pixel coordinates."""
        _save_json({"type": "FeatureCollection", "features": self.polygons()}, path)

    def save_confidence_png(self, path: str | Path) -> None:
        """Write the confidence as an 8-bit grey PNG, see `confidence_image`."""
        _save_png(Image.fromarray(self.confidence_image()), path)

    def confidence_image(self) -> np.ndarray:
        """The confidence in 256 steps, (H, W) uint8: 255 is sure."""
        return np.rint(self.confidence.astype(np.float32) * 255).astype(np.uint8)

    def color_image(self) -> np.ndarray:
        """The mask in the palette's colours, (H, W, 3) uint8."""
        colors = np.zeros((256, 3), dtype=np.uint8)
        colors[: len(self.palette)] = self.palette
        return np.asarray(colors[self.mask])

    def overlay_image(self, image: np.ndarray | None = None) -> np.ndarray:
        """The image under half-transparent class colours with outlines, (H, W, 3) uint8.

        Classes whose colour is black, as a background's usually is, leave the image as it is.

        Args:
            image: (H, W, 3) uint8; None: read again from `source`.
        """
        if image is None:
            if self.source is None:
                raise PredictionError(
                    "An overlay needs the image, and this prediction did not come from a file: "
                    "pass `image`."
                )
            image = read_image(self.source)
        if image.shape[:2] != self.mask.shape:
            raise PredictionError(
                f"The image must be {self.mask.shape[1]}x{self.mask.shape[0]} pixels like its "
                f"mask, but is {image.shape[1]}x{image.shape[0]}."
            )
        colors = self.color_image()
        blended = np.asarray(Image.blend(Image.fromarray(image), Image.fromarray(colors), 0.5))
        visible = np.zeros(256, dtype=bool)
        visible[: len(self.palette)] = [any(color) for color in self.palette]
        shown = visible[self.mask]
        result = np.where(shown[..., None], blended, image)
        edge = _outlines(self.mask) & shown
        result[edge] = colors[edge]
        return result

    def coco_rle(self) -> list[dict[str, Any]]:
        """One annotation per class that occurs, its region as COCO's compressed RLE."""
        annotations = []
        for index in np.unique(self.mask).tolist():
            rle = coco_mask.encode(np.asfortranarray(self.mask == index))
            annotations.append(
                {
                    "category_id": index,
                    "category_name": self.class_names[index],
                    "segmentation": {
                        "size": [int(side) for side in rle["size"]],
                        "counts": rle["counts"].decode("ascii"),
                    },
                    "area": int(coco_mask.area(rle)),
                    "bbox": [float(value) for value in coco_mask.toBbox(rle)],
                }
            )
        return annotations

    def polygons(self) -> list[dict[str, Any]]:
        """One GeoJSON feature per connected region, exact to the pixel, holes included.

        Coordinates are (x, y) in pixels from the image's top left corner: the pixel in row r and
        column c covers [c, c + 1] x [r, r + 1]. Regions that touch at a corner only are two.
        """
        return [
            {
                "type": "Feature",
                "properties": {"class_index": index, "class_name": self.class_names[index]},
                "geometry": {"type": "Polygon", "coordinates": rings},
            }
            for index in np.unique(self.mask).tolist()
            for rings in _trace(self.mask == index)
        ]


def _trace(region: np.ndarray) -> Iterator[list[list[list[int]]]]:
    """Yield the rings (outer first, then holes) of each connected part of a region (H, W) bool."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    top, left = int(rows[0]), int(columns[0])
    inner = region[top : rows[-1] + 1, left : columns[-1] + 1]
    # The level above 1/2 leaves pixels apart that touch at a corner only.
    generator = contourpy.contour_generator(
        z=np.pad(inner, 1).astype(np.float64), fill_type=contourpy.FillType.OuterOffset
    )
    filled = cast("tuple[list[np.ndarray], list[np.ndarray]]", generator.filled(0.6, 2.0))
    for points, offsets in zip(*filled, strict=True):
        yield [
            (_corners(points[start:end]) + (left - 1, top - 1)).astype(int).tolist()
            for start, end in zip(offsets[:-1], offsets[1:], strict=True)
        ]


def _corners(ring: np.ndarray) -> np.ndarray:
    """Corners (N, 2) of a closed ring along pixel edges, from a contour that cuts them off.

    Each point of the contour lies on the line between a pixel's centre inside and one outside, so
    it names one pixel edge: its whole coordinate says which, the broken one on which side. Two
    edges in a row that stand at an angle meet where the broken coordinates cross.
    """
    edges = ring[:-1]
    whole = np.abs(edges - np.round(edges)) < 0.25  # the broken ones end in .4 or .6
    middle = np.where(whole, edges, np.floor(edges) + 0.5)
    following = np.roll(middle, -1, axis=0)
    turns = whole[:, 0] != np.roll(whole, -1, axis=0)[:, 0]
    corners = np.where(whole, following, middle)[turns] + 0.5
    return np.concatenate([corners, corners[:1]])


def _outlines(mask: np.ndarray) -> np.ndarray:
    """Pixels (H, W) bool near a border between two classes."""
    edge = np.zeros(mask.shape, dtype=bool)
    rows, columns = mask[1:] != mask[:-1], mask[:, 1:] != mask[:, :-1]
    edge[1:] |= rows
    edge[:-1] |= rows
    edge[:, 1:] |= columns
    edge[:, :-1] |= columns
    spread = math.floor(min(mask.shape) / _OUTLINES_PER_SIDE / 2)
    if not spread:
        return edge
    widened = Image.fromarray(edge.astype(np.uint8) * 255).filter(ImageFilter.BoxBlur(spread))
    return np.asarray(widened) > 0


def _save_png(image: Image.Image, path: str | Path) -> None:
    """Write a PNG, whole or not at all."""
    try:
        with replacing(Path(path)) as temporary:
            image.save(temporary, format="PNG")
    except OSError as error:
        raise PredictionError(f"{path} cannot be written: {error}") from error


def _save_json(value: object, path: str | Path) -> None:
    """Write JSON, whole or not at all."""
    try:
        write_text(Path(path), json.dumps(value, ensure_ascii=False) + "\n")
    except OSError as error:
        raise PredictionError(f"{path} cannot be written: {error}") from error
