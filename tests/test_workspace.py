import dataclasses
import os
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from workspace_helpers import make_photos, make_zip, write_records

from autoseg.cli import app as cli
from autoseg.config import SearchConfig
from autoseg.errors import AutosegError, ConfigError, DatasetError, RunError, RunLockedError
from autoseg.search.run_folder import RunFolder
from autoseg.search_process import search_command
from autoseg.text import clean_name
from autoseg.ui.predict_models import dataset_of
from autoseg.workspace import Workspace

CONFIG = SearchConfig(budget_s=360)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


def wait_until(happened, timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not happened():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("leaf photos", "leaf-photos"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", None),
        ("a/b\\c", "a-b-c"),
        ("叶子 1", "叶子-1"),
        (".hidden", "hidden"),
        ("x" * 500, "x" * 64),
        ("", None),
    ],
)
def test_a_clean_name_is_one_folder_inside(text, name):
    if name is None:
        with pytest.raises(ConfigError):
            clean_name(text)
    else:
        assert clean_name(text) == name


@pytest.mark.parametrize("top", ["", "my photos"])
def test_a_zip_is_unpacked_into_the_workspace(workspace, photos, tmp_path, top):
    dataset = workspace.add_dataset(make_zip(photos, tmp_path / "leaf photos.zip", top))
    assert dataset.name == "leaf-photos"
    assert dataset.source == workspace.folder / "datasets" / "leaf-photos"
    assert (dataset.source / "images").is_dir()
    assert workspace.datasets() == [dataset]


def test_a_zip_that_a_run_searched_in_is_taken_in_once(workspace, photos, tmp_path):
    """Each look unpacked it again under another name, where there were no corrections of it."""
    archive = make_zip(photos, tmp_path / "leaves.zip")
    run = write_records(workspace, "leaves-1", archive, SearchConfig(60), "done")
    assert workspace.known_dataset_of(run) is None
    dataset = workspace.dataset_of(run)
    assert dataset_of(workspace, run) == dataset.name
    moved = workspace.rename_dataset(dataset.name, "trees")
    assert workspace.dataset_of(run) == workspace.known_dataset_of(run) == moved
    assert [known.name for known in workspace.datasets()] == ["trees"]
    make_zip(make_photos(tmp_path / "more", 8), archive)  # Another content is another data set.
    assert workspace.dataset_of(run) != moved
    archive.unlink()
    assert workspace.dataset_of(run) in workspace.datasets()


def test_a_folder_is_referred_to_and_never_deleted(workspace, photos):
    dataset = workspace.add_dataset(photos)
    assert dataset.source == photos
    workspace.delete_dataset(dataset.name)
    assert workspace.datasets() == []
    assert (photos / "images").is_dir()


def test_a_second_data_set_of_the_same_name_gets_a_number(workspace, photos):
    names = [workspace.add_dataset(photos).name for _ in range(3)]
    assert names == ["photos", "photos-2", "photos-3"]


@pytest.mark.parametrize("member", ["../evil.png", "/evil.png", "images/../../evil.png"])
def test_a_zip_that_leaves_its_folder_is_refused_whole(workspace, photos, tmp_path, member):
    archive = make_zip(photos, tmp_path / "data.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr(member, b"evil")
    with pytest.raises(DatasetError, match="outside"):
        workspace.add_dataset(archive)
    assert list(workspace.folder.rglob("*")) == []


def test_a_zip_without_pairs_leaves_nothing_behind(workspace, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    with pytest.raises(DatasetError):
        workspace.add_dataset(make_zip(tmp_path / "texts", tmp_path / "texts.zip"))
    assert list(workspace.folder.rglob("*")) == []


def test_the_sample_is_made_once(workspace):
    first = workspace.add_sample()
    assert workspace.add_sample() == first
    assert len(list((first.source / "images").iterdir())) > 20


@pytest.mark.parametrize("name", ["../runs", "..", "a/../../b", "/etc"])
def test_no_name_reaches_outside_the_workspace(workspace, photos, name):
    workspace.add_dataset(photos)
    with pytest.raises(AutosegError):
        workspace.dataset(name)
    with pytest.raises(AutosegError):
        workspace.named_run(name)
    with pytest.raises(AutosegError):
        workspace.delete_dataset(name)


def test_the_same_command_goes_on_with_an_interrupted_run(workspace, photos):
    write_records(workspace, "photos-1", photos, CONFIG, "done")
    write_records(workspace, "photos-2", photos, CONFIG, "interrupted")
    write_records(workspace, "photos-3", photos, SearchConfig(budget_s=99), "interrupted")
    assert workspace.name_run(photos, CONFIG).name == "photos-2"


def test_a_run_killed_a_moment_ago_counts_as_interrupted(workspace, photos):
    """Its last record is too fresh to look stale; nobody holding the lock tells."""
    write_records(workspace, "photos-1", photos, CONFIG, "running")
    assert workspace.name_run(photos, CONFIG).name == "photos-1"


def test_a_run_that_is_searched_is_left_alone(workspace, photos):
    run = write_records(workspace, "photos-1", photos, CONFIG, "running")
    with run.locked():
        assert workspace.name_run(photos, CONFIG).name == "photos-2"
        with pytest.raises(RunLockedError):
            workspace.start_search(photos, CONFIG, "photos-1")
        with pytest.raises(RunLockedError):
            workspace.delete_run(run)
        with pytest.raises(RunLockedError):
            workspace.rename_run(run, "other")


@pytest.fixture
def searches_end(tmp_path: Path) -> Iterator[None]:
    """No search that a test started is left behind."""
    yield
    for child in psutil.Process().children():
        if str(tmp_path) in " ".join(child.cmdline()):
            child.kill()


def test_a_search_that_has_just_begun_is_left_alone(workspace, photos, searches_end):
    """Its process takes seconds to load, and until it held the run everything could go."""
    dataset = workspace.add_dataset(photos)
    run = workspace.start_search(dataset.source, CONFIG)
    assert not workspace.is_held(run), "the process is still loading"
    with pytest.raises(RunLockedError):
        workspace.delete_run(run)
    with pytest.raises(RunLockedError):
        workspace.rename_run(run, "other")
    with pytest.raises(RunLockedError):
        workspace.delete_dataset(dataset.name)
    assert run.path.is_dir() and workspace.dataset(dataset.name) == dataset


def test_a_start_without_a_name_is_a_new_run_beside_a_paused_one(workspace, photos, searches_end):
    paused = write_records(workspace, "photos-1", photos, CONFIG, "paused")
    assert workspace.start_search(photos, CONFIG).name == "photos-2"
    assert paused.state().status == "paused"


def test_searches_that_begin_at_one_moment_get_a_run_each(workspace, photos):
    with ThreadPoolExecutor(8) as pool:
        runs = list(pool.map(lambda _: workspace._new_run(photos), range(24)))
    assert {run.name for run in runs} == {f"photos-{k}" for k in range(1, 25)}


def test_a_finished_run_is_not_started_again(workspace, photos):
    run = write_records(workspace, "photos-1", photos, CONFIG, "done")
    with pytest.raises(RunError, match="finished"):
        workspace.start_search(photos, CONFIG, "photos-1")
    assert run.state().status == "done"


def test_runs_are_listed_from_the_newest(workspace, photos):
    for number, name in enumerate(("b", "c", "a")):
        run = write_records(workspace, name, photos, CONFIG, "done")
        for file in ("search.json", "state.json"):
            os.utime(run.path / file, (number, number))
    assert [run.name for run in workspace.runs()] == ["a", "c", "b"]


def test_a_run_is_renamed_inside_the_workspace(workspace, photos):
    run = write_records(workspace, "photos-1", photos, CONFIG, "done")
    renamed = workspace.rename_run(run, "../best one")
    assert renamed.path == workspace.folder / "runs" / "best-one"
    assert [run.name for run in workspace.runs()] == ["best-one"]
    workspace.delete_run(renamed)
    assert workspace.runs() == []


def test_a_run_is_found_by_name_or_folder(workspace, tmp_path):
    assert workspace.run("leaf-1").path == workspace.folder / "runs" / "leaf-1"
    assert workspace.run(tmp_path / "elsewhere").path == tmp_path / "elsewhere"
    assert workspace.run(str(tmp_path / "elsewhere")).path == tmp_path / "elsewhere"
    with pytest.raises(RunError, match="leaf-1"):
        workspace.run("leaf 1")


def test_the_command_says_all_of_the_configuration(photos, tmp_path):
    """What the command line reads back must be what was asked, or no run resumes."""
    config = SearchConfig(
        budget_s=2_000_000.25, seed=7, device="cpu", encoders=("resnet", "convnext"), n_trials=3,
        max_side=512, max_latency_ms=0.1 * 3, flip="both", allow_noncommercial=True,
        weights_files=(("a", "b.safetensors"),), mapping=(("255", "ignore"), ("#ff0000", "roof")),
        colors=(("roof", "#00ff00"),), start_from="/runs/leaf-1/model",
        warm_start=False,
    )  # fmt: skip
    defaults = SearchConfig(budget_s=1)
    for field in dataclasses.fields(config):
        assert getattr(config, field.name) != getattr(defaults, field.name), "test it here too"
    command = search_command(photos, config, RunFolder(tmp_path / "run"))
    assert command[1:4] == ["-m", "autoseg", "search"]
    parsed = _parse(command[4:])
    assert parsed.pop("run") == str(tmp_path / "run")
    assert parsed.pop("source") == str(photos)
    assert parsed.pop("budget") == "2000000.25s"
    assert parsed == {
        "seed": 7, "device": "cpu", "encoders": ["resnet,convnext"], "n_trials": 3,
        "max_side": 512, "max_latency": "0.30000000000000004ms", "flip": "both",
        "allow_noncommercial": True,
        "mapping": ["255=ignore", "#ff0000=roof"], "weights": ["a=b.safetensors"],
        "color": ["roof=#00ff00"], "start_from": "/runs/leaf-1/model",
        "no_warm_start": True,
    }  # fmt: skip


def _parse(arguments: list[str]) -> dict:
    """The options as the real command line parses them."""
    import typer.main  # noqa: PLC0415

    command = typer.main.get_command(cli).commands["search"]
    return dict(command.make_context("search", list(arguments)).params)


def test_a_search_runs_in_a_session_of_its_own_and_says_why_it_failed(workspace, tmp_path):
    """It outlives the app, and what it prints when it fails reaches the page."""
    empty = tmp_path / "empty"
    (empty / "images").mkdir(parents=True)
    run = workspace.start_search(empty, CONFIG)

    def searches() -> list[psutil.Process]:  # For a moment a new process has no command line.
        return [p for p in psutil.Process().children() if str(run.path) in p.cmdline()]

    wait_until(searches)
    (child,) = searches()
    assert os.getsid(child.pid) == child.pid
    assert run.state().status == "running"
    wait_until(lambda: run.state().status == "failed")
    assert "holds" in run.state().error
    wait_until(lambda: not psutil.pid_exists(child.pid))  # Waited for: no zombie is left.
