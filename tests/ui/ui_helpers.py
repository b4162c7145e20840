"""Run folders as a search leaves them, written with the project's own writer."""

import time
from pathlib import Path

from autoseg.config import FORMAT_VERSION, Geometry, Recipe, SearchConfig
from autoseg.files import write_json
from autoseg.search.run_folder import CurvePoint, RunFolder, RunInfo, RunState, TrialRecord
from autoseg.workspace import Workspace


def write_run(
    workspace: Workspace, name: str, *, status: str = "done", source: Path | None = None
) -> RunFolder:
    """A run with three trials; with its report where it is done."""
    run = RunFolder(workspace.folder / "runs" / name)
    config = SearchConfig(budget_s=360)
    run.write_info(RunInfo(config, str(source or workspace.folder / "photos"), "f" * 64, {}))
    for number, kind in enumerate(("complete", "pruned", "complete")):
        run.write_trial(trial(number, kind))
    done = status == "done"
    run.write_state(
        RunState(
            status=status, phase="finished" if done else "searching", budget_s=360,
            elapsed_s=120, updated_at=time.time(), pid=1, best_trial=2, best_score=0.72,
        )
    )  # fmt: skip
    if done:
        write_json(run.report / "report.json", REPORT)
    return run


def trial(number: int, status: str = "complete") -> TrialRecord:
    """A trial whose score grows with its number."""
    curve = tuple(CurvePoint(k, 10.0 * k, 1 / k, 0.5 + 0.01 * k + 0.1 * number) for k in (1, 2))
    recipe = Recipe("tf_efficientnet_lite0.in1k", Geometry((64, 64), scale=1.0), frozen_depth=2)
    return TrialRecord(
        number, status, recipe, "portfolio", curve, curve[-1].score, 20.0, f"reason {number}"
    )


def _scores(value: float) -> dict:
    names = ("macro_imagewise_iou", "macro_iou", "pixel_accuracy")
    return {name: {"value": value, "low": value - 0.05, "high": value + 0.05} for name in names}


REPORT = {
    "format_version": FORMAT_VERSION,
    "split": "test",
    "n_images": 12,
    "untouched": True,
    "note": "Measured once on images that no choice was made on.",
    "class_names": ["background", "cell"],
    "confusion": [[90, 1], [2, 7]],
    "model": {
        "scores": _scores(0.72),
        "per_class": [{"name": "<b>cell</b>", "iou": 0.7, "dice": None, "images": 12}],
    },
    "default_recipe": {"scores": _scores(0.61), "per_class": []},
    "default_note": "The default recipe as the search trained it, for 4.0 epochs.",
    "difference": {
        "name": "macro_imagewise_iou", "value": 0.11, "low": 0.02, "high": 0.2,
        "probability_better": 0.99,
    },
    "validation_score": 0.74,
    "trials": 3,
    "seconds": 352.0,
    "calibration_error": 0.02,
}  # fmt: skip
