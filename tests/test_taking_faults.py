"""What goes wrong while a trial is made a model, with a run that no search made."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from search_helpers import make_photos
from taking_helpers import FAST, takeable_run

from autoseg import taking
from autoseg.checkpoint import load_weights, save_weights
from autoseg.cli_trials import command_line
from autoseg.config import from_dict, to_dict
from autoseg.errors import ConfigError, DatasetError, PredictionError, RunError, RunLockedError
from autoseg.files import write_json
from autoseg.judging import ScoredOnTest
from autoseg.search.budget import Plan
from autoseg.search.run_folder import RunFolder
from autoseg.taking import take_trial
from autoseg.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def run(workspace: Workspace, tmp_path: Path) -> RunFolder:
    return takeable_run(workspace, "photos-1", make_photos(tmp_path / "photos"))


@pytest.fixture
def out(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "out" / "model")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def fill_with_noise(file: Path) -> None:
    file.write_bytes(bytes(range(256)) * 100)


def lose_a_tensor(file: Path) -> None:
    weights = load_weights(file)
    weights.popitem()
    save_weights(file, weights)


@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_trial_of_a_search_in_bfloat16_is_judged_so_where_the_device_computes_in_it(
    run, out, monkeypatch, has_bf16
):
    """A CPU without it emulated what a GPU had searched in, many times slower than float32."""
    plan = from_dict(Plan, run.json("plan.json"), "plan.json")
    costs = {name: replace(cost, bf16=True) for name, cost in plan.costs.items()}
    write_json(run.path / "plan.json", to_dict(replace(plan, costs=costs)))
    seen, real = [], taking.predict_weights

    def noted(dataset, indices, precision, *rest):
        seen.append(precision.bf16)
        return real(dataset, indices, precision, *rest)

    monkeypatch.setattr(taking, "predict_weights", noted)
    monkeypatch.setattr(taking, "has_fast_bf16", lambda device: has_bf16)
    take_trial(run, FAST, out, device="cpu")
    assert seen == [has_bf16, has_bf16]  # The trial and the winner.


@pytest.mark.parametrize("spoil", [cut, fill_with_noise, lose_a_tensor])
def test_damaged_weights_are_said_with_the_trial_and_leave_nothing(run, out, spoil):
    """They ended in a traceback of safetensors or torch."""
    spoil(run.weights(FAST))
    before = ScoredOnTest.of(run)
    with pytest.raises(RunError, match=f"weights of trial {FAST} are damaged.*Take another trial"):
        take_trial(run, FAST, out)
    assert list(out.path.parent.iterdir()) == [] and ScoredOnTest.of(run) == before


def test_a_file_that_cannot_be_read_is_named_and_not_the_new_run(run, out):
    """Whatever could not be read was told as a new run that could not be written."""

    def lose_weights(phase: str, done: int, total: int) -> None:
        run.weights(FAST).unlink(missing_ok=True)

    with pytest.raises(DatasetError, match=r"weights\.safetensors cannot be read: No such file"):
        take_trial(run, FAST, out, on_progress=lose_weights)


def test_a_run_that_takes_no_files_is_named_and_not_the_new_one(run, out):
    (run.path / "scored_on_test.json").mkdir()
    with pytest.raises(RunError, match="photos-1 cannot be written.*keeps count of the models"):
        take_trial(run, FAST, out)
    assert list(out.path.parent.iterdir()) == []


def test_a_place_that_takes_no_files_is_named(run, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="thesis.txt/model cannot be written.*another folder"):
        take_trial(run, FAST, RunFolder(tmp_path / "thesis.txt" / "model"))


def test_too_little_memory_is_said(run, out):
    def fill_memory(phase: str, done: int, total: int) -> None:
        if phase == "evaluating":
            torch.empty(1 << 60, dtype=torch.uint8)

    with pytest.raises(PredictionError, match="too little memory on cpu.*Close other programs"):
        take_trial(run, FAST, out, on_progress=fill_memory)
    assert list(out.path.parent.iterdir()) == []


def test_data_is_named_as_a_search_has_it(run, out):
    """An address of the Hub was taken for a folder."""
    with pytest.raises(ConfigError, match="hf://owner/name"):
        take_trial(run, FAST, out, data="hf://leaves")
    with pytest.raises(DatasetError, match="For a data set of the Hub write hf://owner/leaves"):
        take_trial(run, FAST, out, data="owner/leaves")


def test_a_trial_taken_twice_is_one_model_of_those_scored(run, tmp_path):
    notes = {
        take_trial(run, FAST, RunFolder(tmp_path / name)).report["note"] for name in ("a", "b")
    }
    (note,) = notes
    assert f"{ScoredOnTest.of(run).n_models} models of this run have been scored" in note
    assert ScoredOnTest.of(run).n_models == 2 and len(ScoredOnTest.of(run).trials) == 3


def test_a_run_whose_trial_is_being_taken_is_in_use(workspace, run, out):
    """It was said to be searched, by a process that had ended long ago."""
    dataset = workspace.dataset_of(run)
    with run.locked():
        for attempt in (
            lambda: take_trial(run, FAST, out),
            lambda: workspace.delete_run(run),
            lambda: workspace.rename_run(run, "other"),
            lambda: workspace.delete_dataset(dataset.name),
        ):
            with pytest.raises(RunLockedError, match="in use by.* a model being made of") as found:
                attempt()
            assert "(process" not in str(found.value)


def test_the_new_run_looks_alive_to_whoever_sweeps_while_it_is_made(run, out):
    seen = []

    def age(phase: str, done: int, total: int) -> None:
        (part,) = out.path.parent.glob(".model.*.part")
        seen.append(time.time() - part.stat().st_mtime)
        os.utime(part, (0, 0))

    take_trial(run, FAST, out, on_progress=age)
    assert len(seen) > 1 and max(seen) < 3600


def test_what_a_killed_take_left_goes_with_the_next(workspace, run):
    left, new = (workspace.folder / "runs" / f".{name}.0f.part" for name in ("old", "new"))
    for part in (left, new):
        part.mkdir()
    os.utime(left, (time.time() - 7200,) * 2)
    workspace.take_trial(run, FAST)
    assert new.is_dir() and not left.exists()


def test_commands_are_written_for_the_shell_that_reads_them():
    words = ["autoseg", "take", "my run", "--trial", "N"]
    assert command_line(words, "posix") == "autoseg take 'my run' --trial N"
    assert command_line(words, "nt") == 'autoseg take "my run" --trial N'
