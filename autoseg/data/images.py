"""The only home of image decoding: any file a user has -> RGB images and raw mask values."""

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from autoseg.config import Color
from autoseg.errors import DatasetError

IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif")
    + (".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif")
)
"""Files taken for images or masks, by their lower-case suffix."""

MAX_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 2**27)
"""Pillow's limit against decompression bombs: 178,956,970 pixels."""

DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
    MemoryError,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are damaged in one way or another."""

# Between half the limit and the limit Pillow only warns; our limit is the one that it enforces.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "TIFF": ".tif", "JPEG2000": ".jp2"}
"""Suffixes of formats that are not called like them."""

_ORIENTATION_TAG = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

MaskKind = Literal["gray", "palette", "color"]


@dataclass(frozen=True)
class RawMask:
    """A mask as it is on disk, before anybody knows what its values mean."""

    values: np.ndarray
    """(H, W) unsigned: grey values, palette indices, or colours packed as 0xRRGGBB."""
    kind: MaskKind
    """What `values` are; colours that are all grey count as grey."""
    palette: np.ndarray | None
    """(P,) uint32 colours packed as 0xRRGGBB of a palette image, else None."""
    lossy: bool
    """Whether the file's format changes values (JPEG)."""


def read_image(path: Path) -> np.ndarray:
    """Decode an image to (H, W, 3) uint8 RGB, upright by its EXIF orientation.

    Grey and palette images become RGB, transparency is dropped, CMYK is converted. 16-bit values
    are divided by 256 where they exceed 255; nothing is stretched by its own range, so that
    images of one camera stay comparable.

    Raises:
        DatasetError: The file is missing, damaged, or larger than `MAX_PIXELS`.
    """
    return decode_image(_read_bytes(path), path)


def decode_image(data: bytes, path: Path) -> np.ndarray:
    """`read_image` of bytes already read; `path` is for the error's text."""
    return decode_upright(data, path)[0]


def decode_upright(data: bytes, path: Path) -> tuple[np.ndarray, int]:
    """`decode_image`, and the EXIF orientation that was undone, 1 (upright) to 8."""
    image = _open(data, path)
    try:
        orientation = _orientation(image)
        array = _to_rgb(image)
    except DECODE_ERRORS as error:
        raise _damaged(path, error) from error
    return np.ascontiguousarray(_turn(array, orientation)), orientation


def image_size(path: Path) -> tuple[int, int]:
    """Shape (height, width) of an image after EXIF rotation, read from its header.

    Raises:
        DatasetError: The file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = _orientation(image) >= 5
    except DECODE_ERRORS as error:
        raise _damaged(path, error) from error
    return (width, height) if turned else (height, width)


def image_suffix(data: bytes) -> str | None:
    """Suffix of the files whose content begins like `data`; None where no image does."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            name = str(image.format)
    except DECODE_ERRORS:
        return None
    suffix = _SUFFIXES.get(name, f".{name.lower()}")
    return suffix if suffix in IMAGE_SUFFIXES else None


def exif_orientation(data: bytes, path: Path) -> int:
    """EXIF orientation of an encoded image, 1 (upright) to 8."""
    with _open(data, path) as image:
        return _orientation(image)


def read_mask(path: Path) -> RawMask:
    """Decode a mask without changing its values, upright by its own EXIF orientation.

    Raises:
        DatasetError: The file is missing, damaged, too large, or holds fractions.
    """
    return decode_mask(_read_bytes(path), path)


def decode_mask(data: bytes, path: Path) -> RawMask:
    """`read_mask` of bytes already read; `path` is for the error's text."""
    image = _open(data, path)
    lossy = image.format in ("JPEG", "MPO")
    palette = None
    try:
        orientation = _orientation(image)
        if image.mode in ("P", "PA"):
            kind: MaskKind = "palette"
            palette = _packed_palette(image)
            band = image if image.mode == "P" else image.getchannel("P")
            values = np.asarray(band)
        elif image.mode in ("1", "L", "LA", "La"):
            kind, values = "gray", np.asarray(image.convert("L"))
        elif image.mode.startswith("I") or image.mode == "F":
            kind, values = "gray", _whole_numbers(np.asarray(image), path)
        else:
            kind, values = _pack_colors(_to_rgb(image))
    except DECODE_ERRORS as error:
        raise _damaged(path, error) from error
    return RawMask(np.ascontiguousarray(_turn(values, orientation)), kind, palette, lossy)


def turn_mask(mask: RawMask, orientation: int) -> RawMask:
    """Turn a mask that was drawn on the stored, not the upright, image."""
    values = np.ascontiguousarray(_turn(mask.values, orientation))
    return RawMask(values, mask.kind, mask.palette, mask.lossy)


def write_png(array: np.ndarray, path: Path) -> None:
    """Write (H, W) or (H, W, 3) uint8 as PNG."""
    _save(Image.fromarray(array), path, format="PNG")


def write_index_png(mask: np.ndarray, palette: Sequence[Color], path: Path) -> None:
    """Write (H, W) uint8 of class indices as PNG with a palette, so that viewers show colours."""
    image = Image.fromarray(mask)
    colors = [channel for color in palette for channel in color]
    # With a shorter palette Pillow writes fewer than 8 bits, and 255 becomes 15.
    image.putpalette([*colors, *[255] * (768 - len(colors))])
    _save(image, path, format="PNG", compress_level=1)


def write_jpeg(array: np.ndarray, path: Path, quality: int = 90) -> None:
    """Write (H, W, 3) uint8 as JPEG."""
    _save(Image.fromarray(array), path, format="JPEG", quality=quality)


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    """Encode and write; to a file, Pillow reports a full disk without its error code."""
    content = io.BytesIO()
    image.save(content, **options)
    path.write_bytes(content.getvalue())


def thumbnail(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Image (H, W, 3) uint8 -> grey (height, width) uint8, averaged over areas."""
    stride = max(1, min(image.shape[0], image.shape[1]) // 128)  # Enough pixels for an average.
    gray = Image.fromarray(np.ascontiguousarray(image[::stride, ::stride])).convert("L")
    return np.asarray(gray.resize((width, height), Image.Resampling.BOX))


def histogram(mask: np.ndarray) -> np.ndarray:
    """Pixels (256,) int64 of each value of (H, W) uint8, 4 to 20 times faster than `bincount`."""
    top = int(mask.max(initial=0))
    candidates = range(top + 1) if top < 12 else (int(mask.min(initial=0)), top)
    counts = np.zeros(256, dtype=np.int64)
    for value in candidates:  # Few classes, or 0 and 255: one comparison each.
        counts[value] = np.count_nonzero(mask == value)
    if counts.sum() == mask.size:
        return counts
    return np.asarray(Image.fromarray(mask).histogram(), dtype=np.int64)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from error


def _open(data: bytes, path: Path) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data))
    except DECODE_ERRORS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> DatasetError:
    if isinstance(error, DatasetError):
        return error
    if isinstance(error, Image.DecompressionBombError):
        return DatasetError(
            f"{path.name} has more than {MAX_PIXELS:,} pixels, the most that is decoded. "
            f"Cut it into tiles."
        )
    if isinstance(error, FileNotFoundError):
        return DatasetError(f"{path} does not exist.")
    reason = str(error).split(" <_io")[0].replace(" identify image file", " recognise its format")
    return DatasetError(
        f"{path.name} does not decode ({reason or type(error).__name__}). "
        f"Replace it by an intact copy, or leave it out."
    )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation from the header alone; Pillow itself turns TIFF files on loading."""
    if image.format == "TIFF" or not (image.info.keys() & {"exif", "Raw profile type exif"}):
        return 1
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    return orientation if orientation in _TRANSPOSES else 1


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Bring (H, W, ...) upright, as Pillow's transposes do for the same orientation."""
    transpose = _TRANSPOSES.get(orientation)
    if transpose is None:
        return array
    if transpose in (
        Image.Transpose.TRANSPOSE,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_270,
    ):
        array = array.swapaxes(0, 1)
    flip_rows = transpose in (
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.ROTATE_180,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
    )
    flip_columns = transpose in (
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.ROTATE_270,
        Image.Transpose.TRANSVERSE,
    )
    return array[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Any Pillow mode -> (H, W, 3) uint8."""
    if image.mode.startswith("I") or image.mode == "F":
        gray = _to_bytes(np.asarray(image))
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode in ("P", "PA", "La", "RGBa", "LA"):
        image = image.convert("RGBA")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _to_bytes(gray: np.ndarray) -> np.ndarray:
    """Grey values of more than 8 bits -> uint8, by the width of their type alone."""
    if gray.dtype.kind == "f":
        gray = np.nan_to_num(gray, nan=0.0, posinf=0.0, neginf=0.0)
        if gray.max(initial=0) <= 1:
            gray = gray * 255
    top = gray.max(initial=0)
    if top > 255:
        gray = gray / (256 if top <= 65535 else 2**24)
    return np.asarray(np.clip(gray, 0, 255), dtype=np.uint8)


def _whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """Mask values of more than 8 bits -> uint16 or uint32, unchanged."""
    if values.dtype.kind == "f" and not (
        np.isfinite(values).all() and (values == np.round(values)).all()
    ):
        raise DatasetError(
            f"{path.name} holds fractions, not classes. Save the class numbers as an 8-bit PNG."
        )
    if values.min(initial=0) < 0 or values.max(initial=0) >= 2**32:
        raise DatasetError(
            f"{path.name} holds values from {values.min()} to {values.max()}, which are no "
            f"classes. Save the class numbers as an 8-bit PNG."
        )
    top = values.max(initial=0)
    return values.astype(np.uint8 if top < 256 else np.uint16 if top < 65536 else np.uint32)


def _packed_palette(image: Image.Image) -> np.ndarray:
    flat = image.getpalette("RGB") or []
    colors = np.asarray(flat, dtype=np.uint32).reshape(-1, 3)
    return colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]


def _pack_colors(rgb: np.ndarray) -> tuple[MaskKind, np.ndarray]:
    red, green, blue = (np.ascontiguousarray(rgb[:, :, channel]) for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return "gray", red
    packed = red.astype(np.uint32)
    for channel in (green, blue):
        packed <<= 8
        packed |= channel
    return "color", packed
