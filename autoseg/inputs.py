"""Which images a command means, and where each of their predictions goes."""

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from autoseg.data.images import IMAGE_SUFFIXES
from autoseg.errors import PredictionError
from autoseg.prediction import OutputFormat, output_path


@dataclass(frozen=True)
class ImageFile:
    """One image to predict."""

    path: Path
    name: str
    """Name of its prediction without suffix; with sub-folders where a folder was given."""


def find_images(arguments: Iterable[str], *, leave_out: Path | None = None) -> list[ImageFile]:
    """Expand files, folders (with all their sub-folders) and patterns like "scans/**/*.tif".

    Args:
        arguments: As given by the user, or as a shell expanded them.
        leave_out: Folder whose files are no images to predict: the one that masks go to.

    Returns:
        Images in a fixed order, each once.

    Raises:
        PredictionError: An argument stands for no image.
    """
    found: dict[tuple[Path, str], ImageFile] = {}
    for argument in arguments:
        files = list(_expand(argument, leave_out.resolve() if leave_out else None))
        if not files:
            raise PredictionError(f"{argument} holds no images, or does not exist.")
        for file in files:
            found.setdefault((file.path.resolve(), file.name), file)
    return list(found.values())


def plan_outputs(
    images: Iterable[ImageFile], folder: Path, formats: Iterable[OutputFormat]
) -> dict[ImageFile, dict[OutputFormat, Path]]:
    """Where each prediction is written.

    Raises:
        PredictionError: Two predictions would get one file, or one would replace an image.
    """
    images, formats = list(images), list(formats)
    inputs = {image.path.resolve() for image in images}
    taken: dict[Path, ImageFile] = {}
    plan: dict[ImageFile, dict[OutputFormat, Path]] = {}
    for image in images:
        plan[image] = {form: output_path(folder, image.name, form) for form in formats}
        for target in plan[image].values():
            if target.resolve() in inputs:
                raise PredictionError(
                    f"The prediction of {image.path} would replace the image {target}. "
                    f"Choose another output folder."
                )
            other = taken.setdefault(target, image)
            if other is not image:
                raise PredictionError(
                    f"{other.path} and {image.path} would both be written to {target}. "
                    f"Give the folder above them instead, or predict them into two folders."
                )
    return plan


def _expand(argument: str, leave_out: Path | None) -> Iterator[ImageFile]:
    path = Path(argument).expanduser()
    if path.is_dir():
        yield from _in_folder(path, path, leave_out)
    elif path.exists():
        yield ImageFile(path, path.stem)
    elif glob.has_magic(argument):
        base = _fixed_part(path)
        for match in sorted(glob.glob(str(path), recursive=True)):
            if Path(match).is_dir():
                if "**" not in argument:  # That pattern lists the files of its folders itself.
                    yield from _in_folder(Path(match), base, leave_out)
            elif Path(match).suffix.lower() in IMAGE_SUFFIXES:
                yield _named(Path(match), base)


def _in_folder(folder: Path, base: Path, leave_out: Path | None) -> Iterator[ImageFile]:
    """Images below a folder, hidden ones left out, named relative to `base`."""
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.suffix.lower() not in IMAGE_SUFFIXES or any(part[0] == "." for part in parts):
            continue
        if leave_out is not None and leave_out in file.resolve().parents:
            continue
        if file.is_file():
            yield _named(file, base)


def _named(file: Path, base: Path) -> ImageFile:
    return ImageFile(file, file.relative_to(base).with_suffix("").as_posix())


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard."""
    fixed: list[str] = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return Path(*fixed)
