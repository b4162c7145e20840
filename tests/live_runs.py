"""Runs in the middle of a search, written by the project's own writers, for pages to show."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoseg.config import Geometry, Recipe, SearchConfig
from autoseg.data.images import write_jpeg
from autoseg.files import write_json
from autoseg.search.run_folder import CurvePoint, RunFolder, RunInfo, RunState, TrialRecord

ENCODERS = ("resnet18.a1_in1k", "convnext_atto.d2_in1k")


def write_live_run(home: Path, name: str, n_trials: int, **state: object) -> RunFolder:
    """A run with scored and timed trials; `state` as in `RunState`, by default running."""
    run = RunFolder(home / "runs" / name)
    config = SearchConfig(budget_s=600)
    run.write_info(RunInfo(config, str(home / "datasets" / "sample"), "f" * 64, {}))
    for number in range(n_trials):
        run.write_trial(live_trial(number))
    beat(run, n_trials, **state)
    write_json(
        run.path / "resources.json",
        {
            "updated_at": time.time(), "memory_bytes": 3e9, "memory_total_bytes": 16e9,
            "cpu_percent": 90.0, "gpu": None,
        },
    )  # fmt: skip
    return run


def beat(run: RunFolder, n_trials: int, **changes: object) -> None:
    """Write the state that a search with so many trials would."""
    known = {
        "status": "running", "phase": "searching", "budget_s": 600.0, "pid": 1,
        "elapsed_s": 60.0 * n_trials, "updated_at": time.time(),
        "best_trial": n_trials - 1 if n_trials else None,
        "best_score": live_trial(n_trials - 1).score if n_trials else None,
    }  # fmt: skip
    run.write_state(RunState(**{**known, **changes}))


def live_trial(number: int, status: str = "complete") -> TrialRecord:
    """A trial that is better and slower than the one before."""
    curve = tuple(
        CurvePoint(k, 10.0 * k, 1 / k, 0.4 + 0.02 * number + 0.05 * k, at_s=60.0 * number + 20 * k)
        for k in (1, 2, 3)
    )
    recipe = Recipe(ENCODERS[number % 2], Geometry((64, 64), scale=1.0), frozen_depth=number % 5)
    return TrialRecord(
        number, status, recipe, "sampler", curve, curve[-1].score, 60.0, "ran to its end",
        latency_ms=5.0 + number,
    )  # fmt: skip


def write_importances(run: RunFolder, shares: dict[str, float], n_trials: int) -> None:
    """What the parameters were worth."""
    write_json(run.path / "importances.json", {"n_trials": n_trials, "importances": shares})


def write_pictures(run: RunFolder, trial: int, colors: Sequence[tuple[int, int, int]]) -> None:
    """Pictures of the best trial, each of one colour."""
    images = []
    (run.path / "live").mkdir(exist_ok=True)
    for k, color in enumerate(colors):
        write_jpeg(np.full((40, 120, 3), color, np.uint8), run.path / "live" / f"{k}.jpg")
        images.append({"file": f"{k}.jpg", "name": f"photo_{k}", "iou": 0.5})
    values = {"trial": trial, "score": 0.5, "updated_at": time.time(), "images": images}
    write_json(run.path / "live" / "live.json", values)
