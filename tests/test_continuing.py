"""Training on from a former model, with real training on tiny data."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from search_helpers import Room, config, search_room
from workspace_helpers import make_photos

from autoseg.bundle import load_bundle
from autoseg.config import ClassInfo
from autoseg.continuing import inherit_splits, load_start, locate_start
from autoseg.corrections import NewCorrection
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.images import read_mask
from autoseg.data.sample import make_sample_dataset
from autoseg.data.splits import Splits, make_splits
from autoseg.errors import BundleError, DatasetError, StoppedEarlyError
from autoseg.finishing import FORMER_KEPT, FORMER_LATE
from autoseg.image_roles import read_roles, write_roles
from autoseg.pipeline import SearchResult, run_search
from autoseg.search.run_folder import RunFolder
from autoseg.workspace import Workspace

PARENT_S, CHILD_S = 25.0, 20.0


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with search_room(tmp_path_factory.mktemp("room")) as room:
        yield room


@pytest.fixture(scope="module")
def parent(room: Room) -> SearchResult:
    workspace = Workspace(room.home)
    workspace.add_dataset(room.photos, "photos")
    return run_search(room.photos, config(PARENT_S), room.home / "runs" / "photos-1")


@pytest.fixture(scope="module")
def child(room: Room, parent: SearchResult) -> SearchResult:
    asked = config(CHILD_S, start_from=str(parent.run.model))
    return run_search(room.photos, asked, room.home / "runs" / "photos-2")


def test_the_recipe_goes_on_without_a_search(parent, child):
    (trial,) = child.run.trials()
    before = load_bundle(parent.run.model).info.recipe
    assert trial.origin == "former model" and trial.status == "complete"
    assert {point.phase for point in trial.curve} == {"final"}
    assert replace(trial.recipe, epochs=before.epochs) == before
    assert child.run.state().status == "done" and child.run.state().elapsed_s < CHILD_S + 8


def test_the_former_model_is_judged_on_the_same_images(parent, child):
    report = child.report
    assert (
        report["compared_with"] == "former model"
        and "training started from" in report["default_note"]
    )
    assert report["untouched"] is True
    assert (
        report["difference"]["low"] <= report["difference"]["value"] <= report["difference"]["high"]
    )
    for name, score in parent.report["model"]["scores"].items():
        assert report["default_recipe"]["scores"][name]["value"] == pytest.approx(
            score["value"], abs=0.01
        )


def test_the_weights_are_those_of_the_former_model_trained_on(parent, child):
    before, after = (load_bundle(result.run.model).model.state_dict() for result in (parent, child))
    assert before.keys() == after.keys()
    moved = [name for name in before if not np.array_equal(before[name], after[name])]
    assert moved
    shares = [
        float((before[name] - after[name]).norm() / before[name].norm().clamp(min=1e-6))
        for name in before
        if before[name].is_floating_point() and before[name].ndim == 4
    ]
    assert np.median(shares) < 0.5, "a network from scratch would have nothing in common"


def test_a_run_goes_on_though_the_former_model_is_gone(room, parent, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(parent.run.path, copy)
    asked = config(CHILD_S, start_from=str(copy / "model"))
    with pytest.raises(StoppedEarlyError):
        run_search(room.photos, asked, tmp_path / "run", on_start=lambda stop: stop.ask())
    shutil.rmtree(copy)
    assert locate_start(asked.start_from) == asked.start_from
    result = run_search(room.photos, asked, tmp_path / "run")
    assert result.report["compared_with"] == "former model" and result.report["untouched"] is True


def test_a_model_that_is_not_there_is_told_at_once(room, tmp_path):
    started = time.monotonic()
    with pytest.raises(BundleError):
        locate_start("nothing/../here")
    with pytest.raises(BundleError):
        run_search(room.photos, config(60.0, start_from=str(tmp_path / "gone")), tmp_path / "run")
    assert time.monotonic() - started < 5


def test_other_classes_are_told_by_name(parent, tmp_path):
    folder = make_photos(tmp_path / "set", 8)
    names = ("ground", "water", "vegetation", "building", "vehicle")
    (folder / "classes.txt").write_text("\n".join(names))
    with pytest.raises(
        DatasetError, match="knows the classes ground, vegetation, water.*same order"
    ):
        run_search(folder, config(60.0, start_from=str(parent.run.model)), tmp_path / "run")


def divided(dataset: CheckedDataset, folder: Path) -> tuple[Splits, RunFolder]:
    """Its splits, and a run that says them."""
    splits, run = make_splits(dataset, 0), RunFolder(folder)
    write_roles(run, dataset, splits)
    return splits, run


def test_new_images_are_learnt_from_and_the_test_stays(tmp_path):
    """A fresh draw would have put images that the model learnt from into the test split."""
    folder = make_sample_dataset(tmp_path / "set", 64, size=(32, 32))
    dataset = check_dataset(folder)
    splits, run = divided(dataset, tmp_path / "run")
    make_sample_dataset(tmp_path / "more", 10, seed=9, size=(32, 32))
    for role in ("images", "masks"):
        for file in (tmp_path / "more" / role).iterdir():
            shutil.copy(file, folder / role / f"a_{file.name}")  # Sorted before the old ones.
    larger = check_dataset(folder)
    anew = make_splits(larger, 0)
    kept = inherit_splits(larger, anew, read_roles(run))
    for name in ("val", "test"):
        before = {dataset.contents[i] for i in getattr(splits, name)}
        assert {larger.contents[i] for i in getattr(kept, name)} == before
        assert {larger.contents[i] for i in getattr(anew, name)} != before
    assert len(kept.train) == len(splits.train) + 10
    assert kept.test_is_untouched and kept.folds == ()


def test_images_that_are_all_new_to_the_model_are_divided_as_for_a_search(tmp_path):
    """All but those to choose by were learnt from, and nothing was left to judge on."""
    old = check_dataset(make_sample_dataset(tmp_path / "old", 24, seed=1, size=(32, 32)))
    new = check_dataset(make_sample_dataset(tmp_path / "new", 64, seed=2, size=(32, 32)))
    _, run = divided(old, tmp_path / "run")
    anew = make_splits(new, 0)
    kept = inherit_splits(new, anew, read_roles(run))
    assert (kept.train, kept.val, kept.test) == (anew.train, anew.val, anew.test)
    assert kept.test and kept.test_is_untouched


def test_a_copy_of_a_test_image_that_is_learnt_from_takes_it_out_of_the_test(tmp_path):
    """Saved anew as a PNG it was learnt from, and the JPEG was still judged on as untouched."""
    folder = make_sample_dataset(tmp_path / "set", 64, size=(96, 96))
    dataset = check_dataset(folder)
    splits, run = divided(dataset, tmp_path / "run")
    original = dataset.samples[splits.test[0]]
    Image.open(original.image_path).save(folder / "images" / "pasted.png")
    shutil.copy(original.mask_path, folder / "masks" / "pasted.png")
    larger = check_dataset(folder)
    kept = inherit_splits(larger, make_splits(larger, 0), read_roles(run))
    names = [sample.name for sample in larger.samples]
    assert {names.index("pasted"), names.index(original.name)} <= set(kept.train)
    assert len(kept.test) == len(splits.test) - 1 and kept.test_is_untouched
    assert any("1 image of the test split moved to train" in note for note in kept.notes)
    for place in splits.test[1:]:
        sample = dataset.samples[place]
        name = sample.image_path.stem
        Image.open(sample.image_path).save(folder / "images" / f"{name}_copy.png")
        shutil.copy(sample.mask_path, folder / "masks" / f"{name}_copy.png")
    copied = check_dataset(folder)
    kept = inherit_splits(copied, make_splits(copied, 0), read_roles(run))
    assert len(kept.test) == len(splits.test) and not kept.test_is_untouched
    assert any("have a near-duplicate in train" in note for note in kept.notes)


def test_the_notes_are_those_of_the_division_that_is_used(tmp_path):
    """They promised scores from up to five networks, of which a model trained on has none."""
    dataset = check_dataset(make_sample_dataset(tmp_path / "set", 24, size=(32, 32)))
    splits, run = divided(dataset, tmp_path / "run")
    assert any("networks" in note for note in splits.notes)
    for roles in (read_roles(run), None):
        kept = inherit_splits(dataset, splits, roles)
        assert not any("networks" in note for note in kept.notes)
        assert any("scores are those of the validation images" in note for note in kept.notes)


def test_test_images_that_the_model_has_seen_are_told(tmp_path):
    dataset = check_dataset(make_sample_dataset(tmp_path / "set", 12, size=(32, 32)))
    run = RunFolder(tmp_path / "run")
    write_roles(run, dataset, make_splits(dataset, 0))
    for split, numbers in {"train": range(6), "val": (6, 7, 8), "test": (9, 10, 11)}.items():
        for role, suffix in (("images", "jpg"), ("masks", "png")):
            (tmp_path / "given" / split / role).mkdir(parents=True)
            for k in numbers:
                name = f"scene_{k:03d}.{suffix}"
                shutil.copy(tmp_path / "set" / role / name, tmp_path / "given" / split / role)
    shutil.copy(tmp_path / "set" / "classes.txt", tmp_path / "given")
    given = check_dataset(tmp_path / "given")
    kept = inherit_splits(given, make_splits(given, 0), read_roles(run))
    assert [len(part) for part in (kept.train, kept.val, kept.test)] == [6, 3, 3]
    assert not kept.test_is_untouched and "has seen 3 of the test images" in kept.notes[-1]
    unknown = inherit_splits(given, make_splits(given, 0), None)
    assert not unknown.test_is_untouched and "not known which images" in unknown.notes[-1]


def test_what_a_model_before_the_last_has_seen_stays_seen(tmp_path):
    old = check_dataset(make_sample_dataset(tmp_path / "old", 12, seed=1, size=(32, 32)))
    new = check_dataset(make_sample_dataset(tmp_path / "new", 12, seed=2, size=(32, 32)))
    first, second = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "second")
    write_roles(first, old, make_splits(old, 0))
    write_roles(second, new, make_splits(new, 0), read_roles(first))
    seen = read_roles(second).by_digest()
    assert all(seen[content.hex()] in ("train", "val") for content in old.contents)
    assert len(read_roles(second).by_name()) == 12


def test_the_copy_of_the_model_is_whole(parent, tmp_path):
    run = RunFolder(tmp_path / "run")
    start = load_start(str(parent.run.model), run)
    assert load_start(str(tmp_path / "gone"), run).recipe == start.recipe
    assert start.roles.by_name() == read_roles(parent.run).by_name()


def test_a_training_that_made_it_worse_says_so(room, parent, tmp_path, monkeypatch):
    """The state said that the model was ready, and the report put it 0.0 points above itself."""
    monkeypatch.setattr("autoseg.search.final.clearly_better", lambda first, second: True)
    asked = config(CHILD_S, start_from=str(parent.run.model))
    result = run_search(room.photos, asked, tmp_path / "run")
    before, after = (load_bundle(r.run.model).model.state_dict() for r in (parent, result))
    assert all(bool((before[name] == after[name]).all()) for name in before)
    assert result.report["default_note"] == result.run.state().message == FORMER_KEPT
    assert result.report["difference"] is None


@pytest.mark.slow
def test_corrections_are_trained_on_in_a_process_of_its_own(room, parent):
    """The whole loop: correct, continue, and the run ends with a model of the corrected data."""
    workspace = Workspace(room.home)
    bundle = load_bundle(parent.run.model)
    corrected = sorted((room.photos / "test" / "images").iterdir())[0]
    mask = read_mask(room.photos / "test" / "masks" / f"{corrected.stem}.png").values
    dataset = workspace.dataset_of(parent.run)
    classes: ClassInfo = bundle.info.classes
    workspace.add_correction(dataset.name, NewCorrection("one", corrected, mask, classes))
    run = workspace.continue_training(parent.run, 30.0, "cpu")
    end = time.monotonic() + 120
    while run.state().status not in ("done", "failed", "interrupted"):
        assert time.monotonic() < end
        time.sleep(0.3)
    assert run.state().status == "done", run.state().error
    report = run.json("report/report.json")
    assert report["compared_with"] == "former model" and report["n_images"] == 11
    assert any("1 corrected image of the test split" in note for note in report["data"]["notes"])
    assert report["untouched"] is True


@pytest.mark.slow
def test_a_model_of_few_images_is_trained_on_without_a_test_split(tmp_path):
    """Its folds are of no use: the model has learnt from all but the first of them."""
    folder = make_photos(tmp_path / "few", 24)
    first = run_search(folder, config(45.0), tmp_path / "first")
    asked = config(30.0, start_from=str(first.run.model))
    report = run_search(folder, asked, tmp_path / "second").report
    assert report["split"] == "validation" and report["untouched"] is False
    assert report["compared_with"] == "former model"
    # On a busy machine there may be no time left to score the former model.
    assert report["difference"] is not None or report["default_note"] == FORMER_LATE
    before, after = (RunFolder(tmp_path / name).json("splits.json") for name in ("first", "second"))
    assert after["val"] == before["val"] and after["train"] == before["train"]
    assert before["folds"] and not after["folds"]
