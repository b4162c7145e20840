"""A generated data set for the first minute: aerial-like scenes with five classes."""

from pathlib import Path

import numpy as np

from autoseg.data.images import write_jpeg, write_png
from autoseg.files import write_text

SAMPLE_CLASSES = ("ground", "vegetation", "water", "building", "vehicle")
"""Classes of the generated scenes; vehicles cover about 0.4 per cent."""

_GROUND, _VEGETATION, _WATER, _BUILDING, _VEHICLE = range(5)


def make_sample_dataset(
    folder: Path, n_images: int = 80, seed: int = 0, size: tuple[int, int] = (192, 256)
) -> Path:
    """Generate `images/`, `masks/` and `classes.txt` in a folder; the same seed, the same files.

    Args:
        folder: Folder to make.
        n_images: Number of pairs.
        seed: Seed of the scenes.
        size: Height and width, in pixels.

    Returns:
        `folder`.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(n_images):
        image, mask = make_scene(np.random.default_rng([seed, index]), size)
        write_jpeg(image, folder / "images" / f"scene_{index:03d}.jpg", quality=88)
        write_png(mask, folder / "masks" / f"scene_{index:03d}.png")
    write_text(folder / "classes.txt", "\n".join(SAMPLE_CLASSES) + "\n")
    return folder


def make_scene(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """One scene: image (H, W, 3) and mask (H, W), both uint8."""
    height, width = size
    mask = _land_cover(rng, size)
    relief = _noise(rng, size, 12)
    image = np.empty((height, width, 3), dtype=np.float32)
    for index, texture in enumerate((_ground, _vegetation, _water)):
        inside = mask == index
        image[inside] = texture(rng, size)[inside]
    image *= (1 + 0.12 * relief)[:, :, None]
    roads = _roads(rng, size)
    roads &= mask != _WATER
    mask[roads] = _GROUND
    gray = rng.uniform(95, 135)
    image[roads] = (gray + 6 * rng.standard_normal((height, width, 1)))[roads]
    light = rng.uniform(-1, 1, 2)
    shift = np.round(3.5 * light / np.linalg.norm(light)).astype(int)
    _place_buildings(rng, image, mask, shift)
    _place_vehicles(rng, image, mask, roads, shift)
    return _photograph(rng, image), mask


def _land_cover(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Mask of ground, vegetation and, in most scenes, water."""
    mask = np.full(size, _GROUND, dtype=np.uint8)
    wood = _noise(rng, size, 5) + 0.35 * _noise(rng, size, 20)
    mask[wood > np.quantile(wood, 1 - rng.uniform(0.2, 0.6))] = _VEGETATION
    if rng.random() < 0.7:
        lake = _noise(rng, size, 3) + 0.12 * _noise(rng, size, 16)
        mask[lake > np.quantile(lake, 1 - rng.uniform(0.05, 0.3))] = _WATER
    return mask


def _ground(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Soil or dry grass, with furrows in some scenes."""
    soil, grass = np.array([168, 142, 108]), np.array([148, 150, 96])
    color = soil + rng.uniform(0, 1) * (grass - soil) + rng.normal(0, 8, 3)
    texture = 10 * _noise(rng, size, 40) + 8 * _noise(rng, size, 9)
    if rng.random() < 0.5:
        rows, columns = np.mgrid[: size[0], : size[1]]
        angle = rng.uniform(0, np.pi)
        texture += 7 * np.sin(
            (rows * np.sin(angle) + columns * np.cos(angle)) * rng.uniform(0.6, 1.2)
        )
    return np.asarray(color + texture[:, :, None])


def _vegetation(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Crowns: bright tops and dark gaps."""
    color = np.array([66, 96, 52]) + rng.normal(0, 9, 3)
    crowns = _noise(rng, size, 34)
    texture = 22 * crowns + 9 * _noise(rng, size, 70)
    return np.asarray(color + texture[:, :, None] * np.array([0.8, 1.0, 0.6]))


def _water(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Smooth, blue to murky green, with a little glitter."""
    deep, murky = np.array([52, 84, 112]), np.array([84, 100, 82])
    color = deep + rng.uniform(0, 1) * (murky - deep) + rng.normal(0, 6, 3)
    glitter = 14 * np.maximum(_noise(rng, size, 60) - 1.4, 0)
    return np.asarray(color + (4 * _noise(rng, size, 6) + glitter)[:, :, None])


def _roads(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """One to three gently bent roads, (H, W) bool."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    roads = np.zeros(size, dtype=bool)
    for _ in range(rng.integers(1, 4)):
        angle = rng.uniform(0, np.pi)
        along = rows * np.sin(angle) + columns * np.cos(angle)
        across = rows * np.cos(angle) - columns * np.sin(angle)
        middle = rng.uniform(across.min(), across.max()) * 0.7
        bend = rng.uniform(2, 12) * np.sin(along / rng.uniform(30, 80) + rng.uniform(0, 6))
        roads |= np.abs(across - middle - bend) < rng.uniform(3.5, 6)
    return roads


def _place_buildings(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, shift: np.ndarray
) -> None:
    """Roofs of one or two pitches, with shadows; some scenes have none."""
    roofs = np.array([[176, 92, 74], [120, 116, 118], [196, 190, 182], [112, 84, 70]])
    for _ in range(rng.integers(0, 9)):
        half = rng.uniform(5, 17, 2)
        inside, across = _rectangle(rng, mask.shape, half, rng.uniform(0, np.pi), None)
        if (mask[inside] == _WATER).any() or not inside.any():
            continue
        _cast_shadow(image, inside, shift)
        color = roofs[rng.integers(len(roofs))] + rng.normal(0, 10, 3)
        slope = np.where(across > 0, 1.08, rng.uniform(0.78, 1.0))
        tiles = 1 + 0.05 * np.sin(across * rng.uniform(1.2, 2.5))
        image[inside] = (color * (slope * tiles)[:, :, None])[inside]
        mask[inside] = _BUILDING


def _place_vehicles(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    roads: np.ndarray,
    shift: np.ndarray,
) -> None:
    """Cars and lorries, mostly on roads; two scenes of five have none."""
    paints = np.array(
        [[225, 225, 225], [40, 42, 48], [170, 40, 40], [50, 80, 150], [150, 155, 160]]
    )
    if rng.random() < 0.4:
        return
    for _ in range(rng.integers(2, 8)):
        places = np.argwhere((roads if rng.random() < 0.8 else mask == _GROUND) & (mask == _GROUND))
        if not len(places):
            return
        center = places[rng.integers(len(places))]
        half = np.array([rng.uniform(4.5, 8.5), rng.uniform(2.3, 3.2)])
        angle = rng.uniform(0, np.pi)
        inside, across = _rectangle(rng, mask.shape, half, angle, center)
        inside &= mask == _GROUND
        _cast_shadow(image, inside, np.sign(shift))
        paint = paints[rng.integers(len(paints))] + rng.normal(0, 8, 3)
        image[inside] = paint * np.where(np.abs(across) < 1, 0.75, 1.0)[inside][:, None]
        mask[inside] = _VEHICLE


def _rectangle(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    half: np.ndarray,
    angle: float,
    center: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """A turned rectangle (H, W) bool, and the distance (H, W) from its long axis in pixels."""
    if center is None:
        center = rng.uniform((0, 0), shape[:2])
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    rows, columns = rows - center[0], columns - center[1]
    along = rows * np.sin(angle) + columns * np.cos(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    return (np.abs(along) <= half[0]) & (np.abs(across) <= half[1]), across


def _cast_shadow(image: np.ndarray, inside: np.ndarray, shift: np.ndarray) -> None:
    height, width = inside.shape
    rows, columns = np.nonzero(inside)
    rows, columns = rows + shift[0], columns + shift[1]
    kept = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    image[rows[kept], columns[kept]] *= 0.6


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Light, haze, blur and noise of a camera -> uint8."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    falloff = rng.uniform(-0.15, 0.15, 2)
    light = 1 + falloff[0] * (rows / height - 0.5) + falloff[1] * (columns / width - 0.5)
    image = image * (light * rng.uniform(0.75, 1.2))[:, :, None] * rng.uniform(0.94, 1.06, 3)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    near = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    soft = rng.uniform(0.2, 0.6)
    image = (1 - soft) * image + soft * near
    haze = rng.uniform(0, 0.15)
    image = (1 - haze) * image + haze * 205
    image += rng.normal(0, rng.uniform(2, 6), image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> np.ndarray:
    """Smooth noise (H, W) of unit deviation, with about `cells` bumps across the longer side."""
    height, width = shape[:2]
    step = max(height, width) / cells
    grid = rng.standard_normal((int(height / step) + 3, int(width / step) + 3)).astype(np.float32)
    rows, columns = np.arange(height) / step, np.arange(width) / step
    mixed = _interpolate(_interpolate(grid, rows).T, columns).T
    return np.asarray((mixed - mixed.mean()) / (mixed.std() + 1e-6))


def _interpolate(grid: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows of `grid` at fractional places, blended smoothly."""
    low = places.astype(int)
    weight = (places - low).astype(np.float32)
    weight = (weight * weight * (3 - 2 * weight))[:, None]
    return np.asarray(grid[low] * (1 - weight) + grid[low + 1] * weight)
