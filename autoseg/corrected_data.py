"""A data set with its corrections: an ordinary folder of splits, images and index masks."""

import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from autoseg.card_text import count
from autoseg.config import FORMAT_VERSION, ClassInfo, Color, from_dict, read_json, to_dict
from autoseg.corrected_twins import find_twins, same_pixels
from autoseg.corrections import Correction, Corrections
from autoseg.data.coding import MaskCoding
from autoseg.data.dataset import Progress, check_dataset, read_class_mask
from autoseg.data.formats import Sample, find_samples
from autoseg.data.images import write_index_png
from autoseg.data.workers import parallel_map
from autoseg.errors import DatasetError, RunError
from autoseg.files import write_json, write_text
from autoseg.image_roles import read_roles
from autoseg.search.run_folder import RunFolder

_MANIFEST = ".corrected.json"


@dataclass(frozen=True)
class Origin:
    """Where a pair of a corrected data set comes from."""

    original: str | None
    """Sample of the data set that was corrected; None: a new image."""
    correction: str | None
    """The correction its mask is of; None: the mask is the data set's own."""
    added_at: float | None = None
    """When that correction was made, in Unix seconds: an image may be corrected again."""

    @staticmethod
    def of(original: str | None, correction: Correction | None) -> "Origin":
        """That of a pair with the mask of a correction, or with the data set's own."""
        if correction is None:
            return Origin(original, None)
        return Origin(original, correction.name, correction.added_at)


@dataclass(frozen=True)
class Manifest:
    """What a corrected data set was made of; stored in its folder."""

    base: str
    """Name of the data set that was corrected."""
    masks: str
    """Digest of that data set's files and of how its masks are read."""
    state: str
    """Digest of all that went in: two builds of one state are alike."""
    samples: dict[str, Origin]
    """By the sample's name in this folder."""
    mapping: dict[str, str] = field(default_factory=dict)
    """What the mask values of that data set mean, where the user said so."""
    notes: tuple[str, ...] = ()
    """Sentences for the report."""
    format_version: int = FORMAT_VERSION

    def lacking(self, corrections: Sequence[Correction]) -> tuple[Correction, ...]:
        """Those that did not go in, or were made anew since."""
        went_in = {(origin.correction, origin.added_at) for origin in self.samples.values()}
        return tuple(c for c in corrections if (c.name, c.added_at) not in went_in)


@dataclass(frozen=True)
class Source:
    """What a corrected data set is made of."""

    base: str
    """Name of the data set."""
    folder: Path
    """Its folder."""
    corrections: Corrections
    splits: Mapping[str, str] | None
    """Split of each sample as a run divided them; None: as its folders say."""
    mapping: Mapping[str, str]
    """What its mask values mean, where the user said so."""


@dataclass(frozen=True)
class _Pair:
    """One pair of the new folder."""

    split: str | None
    stem: str
    image_path: Path
    sample: Sample | None
    """Whose mask it gets; None: that of the correction."""
    origin: Origin
    correction: Correction | None = field(default=None)

    @property
    def name(self) -> str:
        return f"{self.split}/{self.stem}" if self.split else self.stem

    def path(self, folder: Path, role: str, suffix: str) -> Path:
        return folder / (self.split or "") / role / f"{self.stem}{suffix}"


def read_manifest(folder: Path) -> Manifest | None:
    """What a folder was made of; None: it is no corrected data set."""
    file = folder / _MANIFEST
    return from_dict(Manifest, read_json(file), str(file)) if file.is_file() else None


def splits_in(run: RunFolder) -> dict[str, str]:
    """Split of each sample of a data set in a run on it, or on an earlier build with corrections.

    Raises:
        RunError: It is not known.
    """
    roles, info = read_roles(run), run.info()
    if roles is None or info is None:
        raise RunError(
            f"{run.name} does not say which images it learnt from: it has not begun yet, or an "
            f"earlier autoseg made it. Search once more."
        )
    manifest = read_manifest(Path(info.source))
    if manifest is None:
        return roles.by_name()
    originals = {name: origin.original for name, origin in manifest.samples.items()}
    known = ((originals.get(name), split) for name, split in roles.by_name().items())
    return {name: split for name, split in known if name is not None}


def mapping_in(run: RunFolder) -> dict[str, str]:
    """What the mask values of the data set mean that a run's data set is or was made of."""
    info = run.info()
    manifest = read_manifest(Path(info.source)) if info is not None else None
    if manifest is not None:
        return manifest.mapping
    return dict(info.config.mapping) if info is not None else {}


def build_corrected(
    source: Source,
    into: Path,
    former: Sequence[Path] = (),
    on_progress: Progress | None = None,
) -> Path:
    """Write the data set with its corrections, or find that a former one is what is wanted.

    Images are linked where the file system can, masks written once as PNGs of class indices, and
    taken over from a former folder where nothing changed. The caller moves the folder to its place.

    Args:
        source: What to put together.
        into: Folder to make; what is there is replaced.
        former: Folders of earlier builds.
        on_progress: Called with (images done, all images).

    Returns:
        `into`, or one of `former`.

    Raises:
        DatasetError: There are no corrections, the data cannot be read, or the classes differ.
    """
    shutil.rmtree(into, ignore_errors=True)
    with source.corrections.locked():
        corrections, classes = source.corrections.all(), source.corrections.classes()
        if classes is None:
            raise DatasetError(
                f"There are no corrections of {source.base} yet. Correct a mask on the Predict "
                f"tab and add it first."
            )
        samples = find_samples(source.folder).samples
        masks = _digest([_signature(samples), sorted(source.mapping.items())])
        state = _digest([masks, classes.names, _wishes(source, corrections)])
        known = {folder: read_manifest(folder) for folder in former}
        for folder, manifest in known.items():
            if manifest is not None and manifest.state == state:
                return folder
        ready = _ready_masks({f: m for f, m in known.items() if m and m.masks == masks})
        coding = None
        corrected = {correction.original for correction in corrections}
        if any(sample.name not in ready.keys() | corrected for sample in samples):
            samples, coding = _read(source, classes, on_progress)
        pairs, notes = _plan(source, samples, corrections)
        _write(pairs, into, ready, coding, classes, on_progress)
        origins = {pair.name: pair.origin for pair in pairs}
        mapping = dict(source.mapping)
        manifest = Manifest(source.base, masks, state, origins, mapping, notes)
        write_json(into / _MANIFEST, to_dict(manifest))
    return into


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _signature(samples: Sequence[Sample]) -> list[list[object]]:
    """Names, sizes and times of all files: what changes when somebody edits the data set."""
    files = [(s, s.image_path.stat(), s.mask_path.stat()) for s in samples]
    return [
        [s.name, s.split, image.st_size, image.st_mtime_ns, mask.st_size, mask.st_mtime_ns]
        for s, image, mask in files
    ]


def _wishes(source: Source, corrections: Sequence[Correction]) -> list[object]:
    splits = None if source.splits is None else sorted(source.splits.items())
    return [splits, [[c.name, c.mask_path.name, c.original, c.added_at] for c in corrections]]


def _ready_masks(former: Mapping[Path, Manifest]) -> dict[str, Path]:
    """Masks that former folders hold already, by the sample's name in the data set."""
    ready: dict[str, Path] = {}
    for folder, manifest in former.items():
        files = {sample.name: sample.mask_path for sample in find_samples(folder).samples}
        for name, origin in manifest.samples.items():
            if origin.original is not None and origin.correction is None and name in files:
                ready[origin.original] = files[name]
    return ready


def _read(
    source: Source, classes: ClassInfo, on_progress: Progress | None
) -> tuple[tuple[Sample, ...], MaskCoding]:
    """The data set's usable samples, and how their masks are read."""
    dataset = check_dataset(
        source.folder, mapping=dict(source.mapping) or None, on_progress=on_progress
    )
    if dataset.classes.names != classes.names:
        raise DatasetError(
            f"The corrections are drawn in the classes {', '.join(classes.names)}, but "
            f"{source.base} has {', '.join(dataset.classes.names)}. Remove the corrections, or "
            f"give the data set the classes it had."
        )
    return dataset.samples, dataset.mask_coding


def _plan(
    source: Source, samples: Sequence[Sample], corrections: Sequence[Correction]
) -> tuple[list[_Pair], tuple[str, ...]]:
    """Which pair goes where, and what the report must say of it."""
    corrected = {c.original: c for c in corrections if c.original is not None}
    known = {sample.name for sample in samples}
    has_splits = source.splits is not None or any(sample.split for sample in samples)
    train = "train" if has_splits else None
    pairs: list[_Pair] = []
    taken: set[str] = set()
    moved, alike = {"val": 0, "test": 0}, {"val": 0, "test": 0}
    split_of = _splits_of(source, samples, train)
    held_out = [s for s in samples if split_of[s.name] in moved and s.name not in corrected]
    same, resembling = _resembling(held_out, corrections, known)
    corrected.update(same)
    placed = {correction.name for correction in same.values()}
    for sample in samples:
        split = split_of[sample.name]
        correction = corrected.get(sample.name)
        if split is not None and split in moved and correction is not None:
            moved[split] += 1
        elif split is not None and sample.name in resembling:
            alike[split] += 1
            split = train
        name = sample.name.removeprefix(f"{sample.split}/").replace("/", "_")
        pairs.append(
            _Pair(
                split=train if correction else split,
                stem=_free(name, train if correction else split, taken),
                image_path=sample.image_path,
                sample=None if correction else sample,
                origin=Origin.of(sample.name, correction),
                correction=correction,
            )
        )
    for correction in corrections:
        if correction.original not in known and correction.name not in placed:
            stem = _free(correction.name, train, taken)
            origin = Origin.of(None, correction)
            image = correction.image_path
            pairs.append(_Pair(train, stem, image, None, origin, correction))
    return pairs, tuple(_notes(corrections, moved, alike))


def _free(stem: str, split: str | None, taken: set[str]) -> str:
    """The stem, or with a number where the split has it already, whatever the case."""
    number, free = 1, stem
    while f"{split}/{free}".lower() in taken:
        number += 1
        free = f"{stem}-{number}"
    taken.add(f"{split}/{free}".lower())
    return free


def _resembling(
    held_out: Sequence[Sample], corrections: Sequence[Correction], known: Set[str]
) -> tuple[dict[str, Correction], set[str]]:
    """Corrections of images that were saved anew, by their samples, and all samples that resemble
    a corrected image.
    """
    twins = find_twins([s.image_path for s in held_out], [c.image_path for c in corrections])
    same = {
        sample.name: corrections[place]
        for sample, places in zip(held_out, twins, strict=True)
        for place in places
        if corrections[place].original not in known
        and same_pixels(sample.image_path, corrections[place].image_path)
    }
    return same, {sample.name for sample, places in zip(held_out, twins, strict=True) if places}


def _splits_of(
    source: Source, samples: Sequence[Sample], train: str | None
) -> dict[str, str | None]:
    """Split of each sample before corrections."""
    given = {sample.name: sample.split or train for sample in samples}
    if source.splits is not None:
        return {name: source.splits.get(name, split) for name, split in given.items()}
    return given


def _notes(
    corrections: Sequence[Correction], moved: Mapping[str, int], alike: Mapping[str, int]
) -> list[str]:
    notes = [f"Corrected or added by hand, and in train: {count(len(corrections), 'mask')}."]
    for split, number in moved.items():
        if number:
            notes.append(
                f"{count(number, 'corrected image')} of the {split} split moved to train, so that "
                f"nothing is judged on an image that was learnt from."
            )
    for split, number in alike.items():
        if number:
            notes.append(
                f"{count(number, 'near-duplicate')} of corrected images moved from the {split} "
                f"split to train too."
            )
    return notes


def _write(
    pairs: Sequence[_Pair],
    folder: Path,
    ready: Mapping[str, Path],
    coding: MaskCoding | None,
    classes: ClassInfo,
    on_progress: Progress | None,
) -> None:
    """Link images, write masks and the class list."""
    jobs: list[tuple[Sample, Path]] = []
    for split in {pair.split or "" for pair in pairs}:
        for role in ("images", "masks"):
            (folder / split / role).mkdir(parents=True)
    for pair in pairs:
        _link(pair.image_path, pair.path(folder, "images", pair.image_path.suffix))
        mask = pair.path(folder, "masks", ".png")
        if pair.correction is not None:
            write_index_png(pair.correction.read_mask(), classes.palette, mask)
        elif pair.sample is not None and pair.sample.name in ready:
            _link(ready[pair.sample.name], mask)
        elif pair.sample is not None:
            jobs.append((pair.sample, mask))
    if jobs:
        assert coding is not None
        work = functools.partial(_write_mask, coding=coding, palette=classes.palette)
        with closing(parallel_map(work, jobs, on_progress=on_progress)) as results:
            for _ in results:
                pass
    lines = [f"{index}: {name}" for index, name in enumerate(classes.names)]
    write_text(folder / "classes.txt", "\n".join(lines) + "\n")


def _write_mask(job: tuple[Sample, Path], coding: MaskCoding, palette: tuple[Color, ...]) -> None:
    sample, target = job
    write_index_png(read_class_mask(sample, coding), palette, target)


def _link(source: Path, target: Path) -> None:
    """A second name for a file, which costs no space; a copy where that cannot be."""
    with contextlib.suppress(OSError):
        os.link(source.resolve(), target)
        return
    shutil.copyfile(source, target)
