"""A finished run, one of whose trials can be taken as a model, as a search leaves it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bundle_helpers import make_info, make_model
from predict_helpers import finished_run

from autoseg.bundle import load_bundle, read_info, trained
from autoseg.checkpoint import save_weights
from autoseg.config import Recipe, from_dict, to_dict
from autoseg.data.dataset import CheckedDataset, check_dataset
from autoseg.data.splits import Splits
from autoseg.evaluation import make_report
from autoseg.files import write_json
from autoseg.judging import held_out, predict_weights
from autoseg.search.budget import EncoderCost, Plan
from autoseg.search.run_folder import CurvePoint, RunFolder, TrialRecord
from autoseg.search.space import SearchSpace
from autoseg.training.hardware import Precision
from autoseg.workspace import Workspace

WINNER, FAST = 0, 1
"""Trials of the run."""


def takeable_run(workspace: Workspace, name: str, source: Path) -> RunFolder:
    """A run with a winner, whose model knows its classes, and a faster trial with weights."""
    run = finished_run(workspace, name, source)
    dataset = check_dataset(source, max_workers=1)
    run.write_info(replace(run.info(), data_fingerprint=dataset.fingerprint))
    recipe = read_info(run.model).recipe
    splits = from_dict(Splits, run.json("splits.json"), "splits.json")
    write_json(run.path / "plan.json", to_dict(_plan(recipe, splits)))
    run.write_trial(replace(_trial(WINNER, recipe, 0.8, 20.0), tags=("winner",)))
    run.write_trial(_trial(FAST, recipe, 0.7, 5.0))
    weights = make_model(make_info(dataset.classes.num_classes), seed=1).state_dict()
    save_weights(run.weights(FAST), weights)
    write_json(run.report / "report.json", _report(run, dataset, splits))
    return run


def _report(run: RunFolder, dataset: CheckedDataset, splits: Splits) -> dict[str, Any]:
    """The scores of its model, and what its search cost."""
    bundle = load_bundle(run.model)
    split, indices = held_out(splits)
    found = predict_weights(
        dataset, indices, Precision(torch.device("cpu")), trained(bundle.info),
        bundle.model.state_dict(),
    )  # fmt: skip
    return make_report(
        found, None, dataset.classes, split=split, untouched=split == "test", note="",
        default_note="",
        facts={"seconds": 60.0, "search": {"seconds": 60.0, "budget_s": 360.0, "cores": 2}},
    )  # fmt: skip


def _trial(number: int, recipe: Recipe, score: float, latency_ms: float) -> TrialRecord:
    curve = (CurvePoint(4.0, 10.0, 0.5, score),)
    return TrialRecord(
        number, "complete", recipe, "sampler", curve, score, 10.0, "ran to its end",
        latency_ms=latency_ms,
    )  # fmt: skip


def _plan(recipe: Recipe, splits: Splits) -> Plan:
    cost = EncoderCost(0.01, 0.005, 0.005, 0.005, bf16=False, latency_s=0.02)
    return Plan(
        space=SearchSpace((recipe.encoder_name,), recipe.geometry, (recipe.decoder_name,)),
        costs={recipe.encoder_name: cost},
        reference_epochs=100.0,
        search_s=60.0,
        search_until_s=90.0,
        max_trials=2,
        decoder_windows=16,
        decoder_features=16,
        val=splits.val,
        reserve_s=5.0,
    )
