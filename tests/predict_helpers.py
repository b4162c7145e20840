"""A finished run with a tiny model, as a search leaves it, for the pages that predict."""

from dataclasses import replace
from pathlib import Path

from bundle_helpers import make_info, make_model
from workspace_helpers import write_records

from autoseg.bundle import save_bundle
from autoseg.config import SearchConfig, to_dict
from autoseg.data.dataset import check_dataset, write_verdict
from autoseg.data.sample import make_sample_dataset
from autoseg.data.splits import make_splits
from autoseg.files import write_json
from autoseg.image_roles import write_roles
from autoseg.search.run_folder import RunFolder
from autoseg.workspace import Workspace


def finished_run(
    workspace: Workspace, name: str, source: Path, *, seed: int = 0, start_from: Path | None = None
) -> RunFolder:
    """A run over a data set, whose model knows its classes and has learnt nothing."""
    config = SearchConfig(budget_s=360, start_from=str(start_from) if start_from else None)
    run = write_records(workspace, name, source, config, "done")
    dataset = check_dataset(source, max_workers=1)
    write_verdict(run.path / "verdict.json", dataset.verdict)
    write_json(run.path / "mask_coding.json", to_dict(dataset.mask_coding))
    splits = make_splits(dataset, 0)
    write_json(run.path / "splits.json", to_dict(splits))
    write_roles(run, dataset, splits)
    info = replace(make_info(dataset.classes.num_classes), classes=dataset.classes)
    save_bundle(run.model, make_model(info, seed), info)
    return run


def run_with_its_data(home: Path) -> RunFolder:
    """A finished run that still knows the images it was made of, as `export --int8` wants it."""
    source = make_sample_dataset(home / "source", n_images=12, size=(96, 128))
    run = finished_run(Workspace(home), "photos", source)
    fingerprint = check_dataset(source, max_workers=1).fingerprint
    run.write_info(replace(run.info(), data_fingerprint=fingerprint))
    return run
