"""Corrected masks on disk, and the data set that is made with them."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workspace_helpers import make_photos, write_records

from autoseg.config import ClassInfo, SearchConfig
from autoseg.corrected_data import read_manifest
from autoseg.corrections import Corrections, NewCorrection
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.sample import SAMPLE_CLASSES, make_sample_dataset
from autoseg.data.splits import Splits, make_splits
from autoseg.errors import DatasetError, RunError
from autoseg.image_roles import write_roles
from autoseg.search.run_folder import RunFolder
from autoseg.workspace import Workspace

PALETTE = ((0, 0, 0), (0, 200, 0), (0, 0, 250), (200, 200, 200), (250, 0, 0))
CLASSES = ClassInfo(SAMPLE_CLASSES, PALETTE)
SIZE = (48, 64)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def photos(workspace: Workspace, tmp_path: Path) -> CheckedDataset:
    """A data set without split folders, known to the workspace as "photos"."""
    folder = make_photos(tmp_path / "photos", 12)
    workspace.add_dataset(folder)
    return check_dataset(folder)


def searched(
    workspace: Workspace, dataset: CheckedDataset, name: str, **config: object
) -> tuple[RunFolder, Splits]:
    """The records of a run that has divided the data set."""
    run = write_records(workspace, name, dataset.root, SearchConfig(60, **config), "done")
    splits = make_splits(dataset, 0)
    write_roles(run, dataset, splits)
    return run, splits


def painted(value: int = 4) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[10:30, 20:40] = value
    mask[:5] = 255
    return mask


def new_image(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def correct(workspace: Workspace, image: Path, dataset: str = "photos") -> None:
    workspace.add_correction(dataset, NewCorrection("x", image, painted(), CLASSES))


def masks_by_content(dataset: CheckedDataset) -> dict[bytes, np.ndarray]:
    return {dataset.contents[i]: dataset.mask(i) for i in range(len(dataset))}


def test_a_correction_comes_back_as_it_was_drawn(tmp_path):
    corrections = Corrections(tmp_path / "store")
    image = new_image(tmp_path / "leaf.png")
    added = corrections.add(NewCorrection("leaf", image, painted(), CLASSES))
    (found,) = Corrections(tmp_path / "store").all()
    assert found == added and found.name == "leaf" and found.original is None
    assert np.array_equal(found.read_mask(), painted())
    assert found.image_path.read_bytes() == image.read_bytes()
    assert corrections.classes() == CLASSES


def test_correcting_an_image_again_replaces_its_mask_and_leaves_no_file(tmp_path):
    corrections = Corrections(tmp_path / "store")
    image = new_image(tmp_path / "leaf.png")
    corrections.add(NewCorrection("leaf", image, painted(4), CLASSES))
    corrections.add(NewCorrection("other name", image, painted(2), CLASSES))
    (found,) = corrections.all()
    assert found.name == "leaf" and 2 in found.read_mask() and 4 not in found.read_mask()
    files = [path for path in corrections.folder.rglob("*") if path.is_file()]
    assert sorted(path.suffix or path.name for path in files) == [
        ".json",
        ".json",
        ".lock",
        ".png",
        ".png",
    ]


def test_two_images_of_one_name_are_two_corrections(tmp_path):
    corrections = Corrections(tmp_path / "store")
    for seed in range(3):
        corrections.add(
            NewCorrection("Leaf", new_image(tmp_path / "leaf.png", seed), painted(seed), CLASSES)
        )
    assert [found.name for found in corrections.all()] == ["Leaf", "Leaf-2", "Leaf-3"]
    corrections.remove("Leaf-2")
    assert [found.name for found in corrections.all()] == ["Leaf", "Leaf-3"]
    with pytest.raises(DatasetError, match="no correction 'Leaf-2'"):
        corrections.remove("Leaf-2")


def test_a_name_cannot_leave_the_folder(tmp_path):
    corrections = Corrections(tmp_path / "store")
    found = corrections.add(
        NewCorrection("../../evil", new_image(tmp_path / "a.png"), painted(), CLASSES)
    )
    assert found.image_path.is_relative_to(tmp_path / "store" / "images")
    with pytest.raises(DatasetError):
        corrections.remove("../classes")


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (np.zeros((48, 63), np.uint8), "64x48 pixels like its image"),
        (np.zeros(SIZE, np.int64), "must be 8-bit"),
        (np.full(SIZE, 255, np.uint8), "nothing to learn"),
        (np.full(SIZE, 5, np.uint8), "holds the class 5, but there are 5"),
    ],
)
def test_a_mask_that_cannot_be_learnt_from_is_refused_and_not_kept(tmp_path, mask, match):
    corrections = Corrections(tmp_path / "store")
    with pytest.raises(DatasetError, match=match):
        corrections.add(NewCorrection("leaf", new_image(tmp_path / "leaf.png"), mask, CLASSES))
    assert corrections.all() == ()


def test_masks_in_other_classes_are_refused(tmp_path):
    corrections = Corrections(tmp_path / "store")
    corrections.add(NewCorrection("a", new_image(tmp_path / "a.png", 1), painted(), CLASSES))
    other = ClassInfo(("leaf", "symptom"), PALETTE[:2])
    with pytest.raises(DatasetError, match="drawn in the classes ground"):
        corrections.add(NewCorrection("b", new_image(tmp_path / "b.png", 2), painted(1), other))
    corrections.remove("a")
    corrections.add(NewCorrection("b", new_image(tmp_path / "b.png", 2), painted(1), other))


def test_a_writer_that_was_killed_leaves_no_correction(tmp_path):
    """The record comes last: files without one are nobody's, and the next writer removes them."""
    corrections = Corrections(tmp_path / "store")
    corrections.add(NewCorrection("a", new_image(tmp_path / "a.png", 1), painted(), CLASSES))
    for name in ("images/b.png", "masks/b.png", "masks/.b.png.0.part"):
        (corrections.folder / name).write_bytes(b"half")
    assert [found.name for found in corrections.all()] == ["a"]
    corrections.add(NewCorrection("c", new_image(tmp_path / "c.png", 2), painted(), CLASSES))
    assert not list(corrections.folder.rglob("*b.png*"))


def test_an_image_of_the_data_set_is_known_by_its_file(workspace, photos, tmp_path):
    """Uploaded under another name, a test image must not be learnt from and judged on."""
    sample = photos.samples[3]
    copy = tmp_path / "upload.jpg"
    copy.write_bytes(sample.image_path.read_bytes())
    found = workspace.add_correction("photos", NewCorrection("upload", copy, painted(), CLASSES))
    assert found.original == sample.name


def test_the_splits_stay_and_corrections_are_learnt_from(workspace, photos, tmp_path):
    run, splits = searched(workspace, photos, "photos-1")
    corrected = photos.samples[splits.train[0]].name
    workspace.add_correction(
        "photos", NewCorrection("x", photos.samples[0].image_path, painted(), CLASSES, corrected)
    )
    workspace.add_correction(
        "photos", NewCorrection("new one", new_image(tmp_path / "n.png"), painted(3), CLASSES)
    )
    made = workspace.with_corrections("photos", run)
    again = check_dataset(made.source)
    assert made.owned and again.classes.names == SAMPLE_CLASSES and len(again) == 13
    divided = make_splits(again, 0)
    val = {photos.contents[i] for i in splits.val}
    assert {again.contents[i] for i in divided.val} == val
    before, after = masks_by_content(photos), masks_by_content(again)
    changed = [key for key in before if not np.array_equal(before[key], after[key])]
    assert changed == [photos.contents[splits.train[0]]]
    assert np.array_equal(after[changed[0]], painted())
    (added,) = after.keys() - before.keys()
    assert np.array_equal(after[added], painted(3))
    assert again.verdict.skipped == ()


def test_a_corrected_test_image_moves_to_train_and_it_is_said(workspace, tmp_path):
    folder = make_photos(tmp_path / "many", 70)
    workspace.add_dataset(folder)
    dataset = check_dataset(folder)
    run, splits = searched(workspace, dataset, "many-1")
    assert splits.test
    held_out = dataset.samples[splits.test[0]]
    correct(workspace, held_out.image_path, "many")
    made = workspace.with_corrections("many", run)
    again = check_dataset(made.source)
    divided = make_splits(again, 0)
    test = {again.contents[i] for i in divided.test}
    assert test == {dataset.contents[i] for i in splits.test[1:]}
    assert any(
        "1 corrected image of the test split" in note for note in read_manifest(made.source).notes
    )


def test_a_test_image_that_was_saved_anew_is_corrected_and_not_judged_on(workspace, tmp_path):
    """Pasted as a PNG it was learnt from as a new image, and the JPEG stayed in the test."""
    folder = make_sample_dataset(tmp_path / "many", 70, size=(96, 96))
    workspace.add_dataset(folder)
    dataset = check_dataset(folder)
    run, splits = searched(workspace, dataset, "many-1")
    held_out = dataset.samples[splits.test[0]]
    Image.open(held_out.image_path).save(tmp_path / "pasted.png")
    mask = np.full((96, 96), 1, np.uint8)
    workspace.add_correction(
        "many", NewCorrection("pasted", tmp_path / "pasted.png", mask, CLASSES)
    )
    made = workspace.with_corrections("many", run)
    again = check_dataset(made.source)
    test = {again.contents[i] for i in make_splits(again, 0).test}
    assert test == {dataset.contents[i] for i in splits.test[1:]}
    assert len(again) == len(dataset)
    learnt = masks_by_content(again)[dataset.contents[splits.test[0]]]
    assert np.array_equal(learnt, mask)
    notes = read_manifest(made.source).notes
    assert any("1 corrected image of the test split" in note for note in notes)


def test_the_near_duplicate_of_a_corrected_test_image_leaves_the_test_too(workspace, tmp_path):
    """One of two was corrected and learnt from; its twin stayed in the test."""
    folder = make_sample_dataset(tmp_path / "many", 70, size=(96, 96))
    brighter = np.asarray(Image.open(folder / "images" / "scene_003.jpg")).astype(int) + 6
    twin = Image.fromarray(brighter.clip(0, 255).astype(np.uint8))
    twin.save(folder / "images" / "scene_900.png")
    shutil.copy(folder / "masks" / "scene_003.png", folder / "masks" / "scene_900.png")
    workspace.add_dataset(folder)
    dataset = check_dataset(folder)
    names = [sample.name for sample in dataset.samples]
    pair = {names.index("scene_003"), names.index("scene_900")}
    rest = [i for i in range(len(dataset)) if i not in pair]
    splits = replace(
        make_splits(dataset, 0),
        train=tuple(rest[:50]), val=tuple(rest[50:60]), test=tuple(sorted({*rest[60:], *pair})),
    )  # fmt: skip
    run = write_records(workspace, "many-1", folder, SearchConfig(60), "done")
    write_roles(run, dataset, splits)
    corrected = dataset.samples[names.index("scene_003")]
    mask = np.full((96, 96), 1, np.uint8)
    workspace.add_correction("many", NewCorrection("x", corrected.image_path, mask, CLASSES))
    made = workspace.with_corrections("many", run)
    again = check_dataset(made.source)
    split_of = {sample.image_path.stem: sample.split for sample in again.samples}
    assert split_of["scene_003"] == split_of["scene_900"] == "train"
    assert sum(split == "test" for split in split_of.values()) == len(splits.test) - 2
    notes = read_manifest(made.source).notes
    assert any("1 near-duplicate of corrected images moved from the test" in n for n in notes)


def test_nothing_changed_nothing_built(workspace, photos):
    run, _ = searched(workspace, photos, "photos-1")
    correct(workspace, photos.samples[0].image_path)
    made = workspace.with_corrections("photos", run)
    stamp = made.source.stat().st_mtime_ns
    assert workspace.with_corrections("photos", run) == made
    assert made.source.stat().st_mtime_ns == stamp


def test_more_corrections_make_a_new_data_set_and_a_run_keeps_its_own(workspace, photos):
    run, _ = searched(workspace, photos, "photos-1")
    samples = [sample.image_path for sample in photos.samples]
    correct(workspace, samples[0])
    first = workspace.with_corrections("photos", run)
    os.utime(first.source, (0, 0))  # Long ago, and no run was made of it.
    correct(workspace, samples[1])
    second = workspace.with_corrections("photos", run)
    assert (
        [d.name for d in workspace.datasets()] == ["photos", second.name] == ["photos", first.name]
    )
    child, _ = searched(workspace, check_dataset(second.source), "child")
    assert workspace.corrections(second.name).folder == workspace.corrections("photos").folder
    correct(workspace, samples[2], second.name)
    third = workspace.with_corrections(second.name, child)
    assert second.source.is_dir() and third.source != second.source
    assert sum((check_dataset(third.source).mask(i) == 4).sum() > 300 for i in range(12)) >= 3
    origins = read_manifest(third.source).samples.values()
    assert sum(origin.correction is not None for origin in origins) == 3


def test_a_sample_of_the_corrected_set_is_traced_to_its_original(workspace, photos):
    run, _ = searched(workspace, photos, "photos-1")
    correct(workspace, photos.samples[0].image_path)
    made = workspace.with_corrections("photos", run)
    name = next(n for n, origin in read_manifest(made.source).samples.items() if origin.correction)
    workspace.add_correction(
        made.name, NewCorrection("y", photos.samples[5].image_path, painted(1), CLASSES, name)
    )
    (found,) = workspace.corrections("photos").all()
    assert found.original == photos.samples[0].name and 1 in found.read_mask()


def test_masks_are_taken_over_from_the_build_before(workspace, photos):
    """A hundred corrections of ten thousand images must not decode ten thousand masks each time."""
    run, _ = searched(workspace, photos, "photos-1")
    correct(workspace, photos.samples[0].image_path)
    first = workspace.with_corrections("photos", run)
    searched(workspace, check_dataset(first.source), "child")
    correct(workspace, photos.samples[1].image_path)
    second = workspace.with_corrections("photos", run)
    files = {p.relative_to(second.source) for p in second.source.rglob("masks/*.png")}
    kept = [f for f in files if (first.source / f).exists()]
    shared = [f for f in kept if os.path.samefile(first.source / f, second.source / f)]
    assert len(shared) == 10


def test_images_take_no_space_twice(workspace, photos):
    run, _ = searched(workspace, photos, "photos-1")
    correct(workspace, photos.samples[0].image_path)
    made = workspace.with_corrections("photos", run)
    assert all(path.stat().st_nlink >= 2 for path in made.source.rglob("images/*"))
    workspace.delete_dataset(made.name)
    assert all(sample.image_path.is_file() for sample in photos.samples)


def test_a_mapping_of_the_run_decides_what_the_masks_say(workspace, tmp_path):
    folder = make_photos(tmp_path / "odd", 8)
    (folder / "classes.txt").unlink()
    for path in (folder / "masks").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 1).astype(np.uint8) * 200 + 7).save(path)
    workspace.add_dataset(folder)
    mapping = (("7", "sky"), ("207", "ground"))
    dataset = check_dataset(folder, mapping=dict(mapping))
    run, _ = searched(workspace, dataset, "odd-1", mapping=mapping)
    classes = ClassInfo(("sky", "ground"), ((1, 2, 3), (9, 9, 9)))
    workspace.add_correction(
        "odd", NewCorrection("x", dataset.samples[0].image_path, painted(1), classes)
    )
    again = check_dataset(workspace.with_corrections("odd", run).source)
    assert again.classes == classes
    before, after = masks_by_content(dataset), masks_by_content(again)
    same = [np.array_equal(before[key], after[key]) for key in before]
    assert sum(same) == len(dataset) - 1
    # The next time too, though the run on the corrected data needed no mapping.
    child, _ = searched(workspace, again, "child")
    workspace.add_correction(
        "odd", NewCorrection("x", dataset.samples[1].image_path, painted(1), classes)
    )
    third = workspace.with_corrections(workspace.dataset_of(child).name, child)
    assert len(check_dataset(third.source)) == len(dataset)


def test_without_corrections_or_with_other_classes_it_says_what_to_do(workspace, photos):
    run, _ = searched(workspace, photos, "photos-1")
    with pytest.raises(DatasetError, match="no corrections of photos yet"):
        workspace.with_corrections("photos", run)
    other = ClassInfo(("a", "b", "c", "d", "e"), PALETTE)
    workspace.add_correction(
        "photos", NewCorrection("x", photos.samples[0].image_path, painted(), other)
    )
    with pytest.raises(DatasetError, match="drawn in the classes a, b, c, d, e, but"):
        workspace.with_corrections("photos", run)
    assert [dataset.name for dataset in workspace.datasets()] == ["photos"]


def test_a_run_that_does_not_say_what_it_saw_is_refused(workspace, photos):
    run = write_records(workspace, "old", photos.root, SearchConfig(60), "done")
    correct(workspace, photos.samples[0].image_path)
    with pytest.raises(RunError, match="does not say which images"):
        workspace.with_corrections("photos", run)


def test_corrections_go_with_their_data_set(workspace, photos):
    correct(workspace, photos.samples[0].image_path)
    folder = workspace.corrections("photos").folder
    workspace.delete_dataset("photos")
    assert not folder.exists()


def test_a_data_set_that_a_new_run_is_about_to_read_is_not_deleted(workspace, photos):
    """The run says what it searches in only once it has read it; it may wait for the device."""
    run, _ = searched(workspace, photos, "photos-1")
    correct(workspace, photos.samples[0].image_path)
    first = workspace.with_corrections("photos", run)
    correct(workspace, photos.samples[1].image_path)
    second = workspace.with_corrections("photos", run)
    assert first.source.is_dir() and second.name == f"{first.name}-2"


def test_what_a_killed_build_left_is_no_part_of_the_next(workspace, photos):
    run, _ = searched(workspace, photos, "photos-1")
    correct(workspace, photos.samples[0].image_path)
    left = workspace.corrections("photos").folder / ".build" / "train" / "images"
    left.mkdir(parents=True)
    (left / "half.jpg").write_bytes(b"half")
    assert [dataset.name for dataset in workspace.datasets()] == ["photos"]
    made = workspace.with_corrections("photos", run)
    assert len(check_dataset(made.source)) == 12 and not list(made.source.rglob("half*"))
    assert not left.exists()
