"""What the page says when the disk of the workspace takes no more."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from workspace_helpers import make_photos

from autoseg.config import SearchConfig
from autoseg.dataset_facts import Facts
from autoseg.errors import DiskFullError
from autoseg.estimate import estimate_search
from autoseg.search.speed import known_speeds
from autoseg.ui import data_actions, search_actions
from autoseg.ui.search_form import Form
from autoseg.workspace import Workspace

ENCODER = "test_resnet.r160_in1k"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def full(disk: Path, tmp_path: Path) -> Workspace:
    """A workspace that refers to a data set elsewhere, checked, on a disk without room."""
    workspace = Workspace(disk / "home")
    data_actions.added(workspace, make_photos(tmp_path / "photos"))
    with (disk / "ballast").open("wb", buffering=0) as file, pytest.raises(OSError, match="space"):
        while True:
            file.write(bytes(4096))
    return workspace


def everything(workspace: Workspace) -> set[Path]:
    return {path for path in workspace.folder.rglob("*") if path.name != ".lock"}


def test_no_search_starts_and_the_next_one_has_the_first_name(full):
    """The run's folder was left with nothing but its lock, so the next run was photos-2."""
    shown = search_actions.started(full, Form(dataset="photos", budget="1m"))
    assert f"The disk of {full.folder} is full. Free some space" in shown["problem"]["value"]
    assert full.runs() == [] and not (full.folder / "runs" / "photos-1").exists()


def test_the_sample_is_refused_and_nothing_of_it_is_left(full):
    before = everything(full)
    shown = data_actions.sampled(full)
    assert f"The disk of {full.folder} is full" in shown["status"]["value"]
    assert everything(full) - before <= {full.folder / "datasets"}


def test_a_check_that_cannot_be_kept_is_refused_and_the_former_one_stays(full):
    assert "is full" in data_actions.checked(full, "photos")["status"]["value"]
    assert data_actions.shown(full, "photos")["table"] is not None


def test_an_image_that_is_cut_off_by_the_end_of_the_disk_is_a_full_disk(disk, tmp_path):
    """Pillow, writing to a file, told of an "encoder error -2" instead."""
    workspace = Workspace(disk / "home")
    (disk / "ballast").write_bytes(bytes(2**20 - 40 * 1024))
    with pytest.raises(DiskFullError):
        workspace.add_sample()
    assert not list(workspace.folder.glob(".incoming-*"))


def test_what_to_expect_is_told_though_speeds_cannot_be_kept(full):
    facts = Facts.load(full.check_folder("photos") / "facts.npz")
    config = SearchConfig(budget_s=120.0, encoders=(ENCODER,), device="cpu")
    assert estimate_search(facts, config, full.folder).trials_high >= 1
    assert not known_speeds(full.folder, torch.device("cpu"))
