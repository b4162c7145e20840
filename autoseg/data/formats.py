"""Which image belongs to which mask: folders of images and masks, with or without splits."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from autoseg.data.archives import is_junk
from autoseg.data.class_files import CLASS_FILES, DeclaredClasses, read_class_file
from autoseg.data.images import IMAGE_SUFFIXES
from autoseg.errors import DatasetError

IMAGE_WORDS = frozenset(
    "image images img imgs jpegimages input inputs photo photos picture pictures rgb".split()
)
"""Words that name images, in folders and in columns of tables."""

MASK_WORDS = frozenset(
    "mask masks label labels labeled annotation annotations annot gt ground truth target targets"
    " segmentation segmentations segmentationclass seg groundtruth".split()
)
"""Words that name masks, in folders and in columns of tables."""

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Words that name splits."""

_MASK_AFFIX = re.compile(
    r"(?:[ _.\-](?:masks?|seg|segmentation|gt|groundtruth|labels?|annotation|l|p))+$"
    r"|^(?:masks?|seg|segmentation|gt|labels?|annotation)[ _.\-]+"
)
_IMAGE_AFFIX = re.compile(r"[ _.\-](?:image|img|sat|rgb)$|^(?:image|img|sat|rgb)[ _.\-]+")
_JOINED = re.compile(r"^(train|val|test)(annot|masks?|labels?|images?)$")
_FLAT_SUFFIX = re.compile(r"[ _.\-](?:mask|seg|segmentation|gt|groundtruth|label|annotation)s?$")
_ABOUT = re.compile(
    r"(?:readme|licen[cs]e|citation|dataset_infos?)(?:\.(?:md|txt|rst|json|cff))?$", re.IGNORECASE
)
"""Files that say something about a data set and are no part of it."""

_MAX_DEPTH = 8


@dataclass(frozen=True)
class Sample:
    """One image and its mask."""

    name: str
    """Path of the image below the root without suffix and roles, e.g. "train/1001"; unique."""
    image_path: Path
    """Image file."""
    mask_path: Path
    """Mask file."""
    split: str | None
    """"train", "val" or "test" where folders say so."""


@dataclass(frozen=True)
class Skipped:
    """A file that is not used."""

    path: str
    """Path below the root."""
    why: str
    """Why not, for the user."""


@dataclass(frozen=True)
class Layout:
    """What a folder holds, before anything is decoded."""

    root: Path
    """The folder."""
    samples: tuple[Sample, ...]
    """Pairs, sorted by name."""
    declared: DeclaredClasses | None
    """What the class list says, where there is one."""
    skipped: tuple[Skipped, ...]
    """Files left out."""

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names in the class list, where there is one."""
        return None if self.declared is None else self.declared.names


@dataclass(frozen=True)
class _File:
    """A file whose name says that it is an image."""

    path: Path
    relative: PurePosixPath
    role: str | None
    """"image" or "mask" where a folder says so."""
    split: str | None
    place: tuple[str, ...]
    """Folders that are neither role nor split."""

    @property
    def stem(self) -> str:
        return self.relative.stem.lower()


def find_samples(source: Path) -> Layout:
    """Pair the images of a folder with their masks.

    Understood are `images/` beside `masks/` (and the usual other names), `train/`, `val/` and
    `test/` above or below those, and folders where `x_mask.png` lies beside `x.jpg`. Stems pair
    in any case, with or without suffixes such as `_mask`.

    Raises:
        DatasetError: No folder, no pair, or two files that claim the same stem.
    """
    if not source.exists():
        raise DatasetError(f"{source} does not exist.")
    if not source.is_dir():
        raise DatasetError(f"{source} is not a folder. Give a folder or a zip of one.")
    files, class_files, skipped = _list_files(source)
    images, masks, strays = _assign_roles(files)
    samples, unpaired = _pair(images, masks)
    if not samples and _unique_stems(images) and _unique_stems(masks):
        # images/all/1.png beside masks/1.png: nothing but the stems can pair them.
        images, masks = _out_of_place(images), _out_of_place(masks)
        samples, unpaired = _pair(images, masks)
    skipped += strays + unpaired
    if not samples:
        raise DatasetError(_nothing_found(source, images, masks, bool(skipped)))
    declared = None
    for path in sorted(class_files, key=lambda path: CLASS_FILES.index(path.name.lower()))[:1]:
        declared = read_class_file(path)
    for path in class_files:
        if declared is not None and path.name != declared.file_name:
            why = f"{declared.file_name} was read instead"
            skipped.append(Skipped(path.relative_to(source).as_posix(), why))
    skipped = [item for item in skipped if not _ABOUT.match(PurePosixPath(item.path).name)]
    skipped.sort(key=lambda item: item.path)
    return Layout(source, tuple(samples), declared, tuple(skipped))


def _list_files(root: Path) -> tuple[list[_File], list[Path], list[Skipped]]:
    files: list[_File] = []
    class_files: list[Path] = []
    skipped: list[Skipped] = []
    seen: set[str] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        relative = PurePosixPath(Path(folder).relative_to(root).as_posix())
        real = os.path.realpath(folder)
        if real in seen or len(relative.parts) > _MAX_DEPTH:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not is_junk(name))
        for name in sorted(names):
            path, inside = Path(folder, name), relative / name
            if is_junk(name):
                continue
            if path.suffix.lower() in IMAGE_SUFFIXES:
                files.append(_describe(path, inside))
            elif name.lower() in CLASS_FILES and len(relative.parts) <= 1:
                class_files.append(path)
            else:
                skipped.append(Skipped(inside.as_posix(), "not an image file"))
    return files, class_files, skipped


def _describe(path: Path, relative: PurePosixPath) -> _File:
    role, split, place = None, None, []
    for part in relative.parts[:-1]:
        joined = _JOINED.sub(r"\1 \2", part.lower())  # trainannot, valmasks
        words = re.split(r"[ _.\-]+", joined)
        roles = {"image" for word in words if word in IMAGE_WORDS}
        roles |= {"mask" for word in words if word in MASK_WORDS}
        splits = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
        known = all(
            word in IMAGE_WORDS or word in MASK_WORDS or word in SPLIT_WORDS or not word
            for word in words
        )
        if not known or len(roles) == 2 or len(splits) > 1:
            place.append(part.lower())
            continue
        role = roles.pop() if roles else role
        split = splits.pop() if splits else split
    return _File(path, relative, role, split, tuple(place))


def _assign_roles(files: list[_File]) -> tuple[list[_File], list[_File], list[Skipped]]:
    """Images, masks, and files that are neither."""
    images = [file for file in files if file.role == "image"]
    masks = [file for file in files if file.role == "mask"]
    free = [file for file in files if file.role is None]
    strays: list[Skipped] = []
    if masks and images:
        strays = [
            Skipped(file.relative.as_posix(), "neither in an image nor in a mask folder")
            for file in free
        ]
    elif masks:
        images = free
    elif images and _flat(images)[1]:  # `images/` that holds x.jpg beside x_mask.png
        images, masks = _flat(images)
        strays = [Skipped(f.relative.as_posix(), "not in an image folder") for f in free]
    else:
        flat_images, masks = _flat(free)
        images += flat_images
    return images, masks, strays


def _flat(files: list[_File]) -> tuple[list[_File], list[_File]]:
    """Split files that share a folder by their suffix, else by JPEG image beside PNG mask."""
    masks = [file for file in files if _FLAT_SUFFIX.search(file.stem)]
    if not masks:
        groups = defaultdict(list)
        for file in files:
            groups[file.relative.parent, file.stem].append(file)
        for group in groups.values():
            kinds = {file.path.suffix.lower() for file in group}
            if len(group) == 2 and ".png" in kinds and kinds & {".jpg", ".jpeg"}:
                masks += [file for file in group if file.path.suffix.lower() == ".png"]
    chosen = {file.relative for file in masks}
    return [file for file in files if file.relative not in chosen], masks


def _pair(images: list[_File], masks: list[_File]) -> tuple[list[Sample], list[Skipped]]:
    _refuse_same_stems(images, masks)
    exact = {(mask.split, mask.place, mask.stem): mask for mask in masks}
    bare: dict[tuple[str | None, tuple[str, ...], str], list[_File]] = defaultdict(list)
    for mask in masks:
        bare[mask.split, mask.place, _MASK_AFFIX.sub("", mask.stem)].append(mask)
    used: set[PurePosixPath] = set()
    samples, unpaired = [], []
    for image in images:
        found = _mask_of(image, exact, bare)
        if found is None:
            unpaired.append(Skipped(image.relative.as_posix(), "image without a mask"))
            continue
        if found.relative in used:
            unpaired.append(
                Skipped(image.relative.as_posix(), "its mask belongs to another image already")
            )
            continue
        used.add(found.relative)
        samples.append(Sample(_sample_name(image), image.path, found.path, image.split))
    unpaired += [
        Skipped(mask.relative.as_posix(), "mask without an image")
        for mask in masks
        if mask.relative not in used
    ]
    samples.sort(key=lambda sample: sample.name)
    _refuse_same_names(samples)
    return samples, unpaired


def _unique_stems(files: list[_File]) -> bool:
    return len({(file.split, file.stem) for file in files}) == len(files)


def _out_of_place(files: list[_File]) -> list[_File]:
    return [replace(file, place=()) for file in files]


def _mask_of(
    image: _File,
    exact: dict[tuple[str | None, tuple[str, ...], str], _File],
    bare: dict[tuple[str | None, tuple[str, ...], str], list[_File]],
) -> _File | None:
    for stem in (image.stem, _IMAGE_AFFIX.sub("", image.stem)):
        key = (image.split, image.place, stem)
        if key in exact:
            return exact[key]
        if candidates := bare.get(key):
            if len(candidates) > 1:
                names = ", ".join(sorted(mask.relative.as_posix() for mask in candidates))
                raise DatasetError(
                    f"{image.relative} has more than one mask: {names}. Keep one of them, or "
                    f"merge masks of single objects into one mask per image."
                )
            return candidates[0]
    return None


def _refuse_same_stems(images: list[_File], masks: list[_File]) -> None:
    for files in (images, masks):
        seen: dict[tuple[object, ...], _File] = {}
        for file in files:
            other = seen.setdefault((file.relative.parent, file.stem), file)
            if other is not file:
                raise DatasetError(
                    f"{other.relative} and {file.relative} share the stem {file.relative.stem!r}, "
                    f"so their pairs cannot be told apart. Rename or remove one."
                )


def _refuse_same_names(samples: Iterable[Sample]) -> None:
    for name, count in Counter(sample.name.lower() for sample in samples).items():
        if count > 1:
            paths = [str(s.image_path) for s in samples if s.name.lower() == name]
            raise DatasetError(f"{paths[0]} and {paths[1]} would both be called {name!r}.")


def _sample_name(image: _File) -> str:
    return "/".join([*filter(None, [image.split]), *image.place, image.relative.stem])


def _nothing_found(source: Path, images: list[_File], masks: list[_File], others: bool) -> str:
    pictures = f"{len(images)} image{'s' * (len(images) != 1)}"
    answers = f"{len(masks)} mask{'s' * (len(masks) != 1)}"
    if not images and not masks:
        found = "no image file" if others else "nothing"
    elif not masks:
        found = f"{pictures} but no masks"
    elif not images:
        found = f"{answers} but no images"
    else:
        found = (
            f"{pictures} and {answers} whose names do not match, e.g. "
            f"{images[0].relative} and {masks[0].relative}"
        )
    return (
        f"{source} holds {found}. Put images into images/ and one mask per image, of the same "
        f"name, into masks/; or put NAME_mask.png beside NAME.jpg."
    )
