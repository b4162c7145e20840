"""From a folder of images and masks to masks of new images, as a person types it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp

from autoseg.data.images import image_size, read_image
from autoseg.data.sample import make_sample_dataset
from autoseg.search.run_folder import RunFolder

BUDGET_S = 45


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_sample_dataset(tmp_path / "scenes", n_images=70, size=(64, 96))


def start(tmp_path: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "autoseg", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "AUTOSEG_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
    )


def run(tmp_path: Path, *arguments: object) -> str:
    process = start(tmp_path, *arguments)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def wait_for(condition, process: subprocess.Popen[str], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.1)


def has_a_score(run_path: Path) -> bool:
    return any(trial.score is not None for trial in RunFolder(run_path).trials())


@pytest.mark.alone
def test_check_search_predict(folder, tmp_path):
    assert "vehicle" in run(tmp_path, "check", folder)

    run_path = tmp_path / "run"
    started = time.monotonic()
    output = run(tmp_path, "search", folder, "--budget", f"{BUDGET_S}s", "--run", run_path)
    assert time.monotonic() - started < BUDGET_S * 1.05 + 10
    assert "IoU (macro)" in output

    out = tmp_path / "masks"
    run(tmp_path, "predict", run_path, folder / "images", "--out", out, "--format", "index,overlay")
    images = sorted((folder / "images").iterdir())
    for image in images[:3]:
        mask = read_image(out / f"{image.stem}.png")[..., 0]
        assert mask.shape == image_size(image)
        assert mask.max() < 5
    assert smp.from_pretrained(str(run_path / "model")).training is False


@pytest.mark.slow
def test_one_interrupt_finishes_with_the_best_so_far(folder, tmp_path):
    run_path = tmp_path / "run"
    process = start(tmp_path, "search", folder, "--budget", "20m", "--run", run_path)
    wait_for(lambda: has_a_score(run_path), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (run_path / "model" / "model.safetensors").is_file()
    state = RunFolder(run_path).state()
    assert state is not None and state.status == "done"


@pytest.mark.slow
def test_two_interrupts_leave_at_once_and_the_same_command_goes_on(folder, tmp_path):
    run_path = tmp_path / "run"
    command = ("search", folder, "--budget", "20m", "--run", run_path)
    process = start(tmp_path, *command)
    wait_for(lambda: has_a_score(run_path), process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    state = RunFolder(run_path).state()
    assert state is not None
    if state.status == "done":
        pytest.skip("the first interrupt had already finished the run")
    assert state.status == "interrupted"
    finished = [t for t in RunFolder(run_path).trials() if t.status == "complete"]

    again = start(tmp_path, *command)
    wait_for(lambda: (RunFolder(run_path).state() or state).status == "running", again)
    RunFolder(run_path).request_stop()
    output, _ = again.communicate(timeout=200)
    assert again.returncode == 0, output
    after = {t.number: t for t in RunFolder(run_path).trials()}
    assert all(after[t.number].score is not None for t in finished)
    assert (run_path / "model").is_dir()
