"""A finished run with a tiny model, as a search leaves it, for the pages that predict."""

from dataclasses import replace
from pathlib import Path

from bundle_helpers import make_info, make_model
from ui_helpers import write_run

from autoseg.bundle import save_bundle
from autoseg.config import to_dict
from autoseg.data.dataset import check_dataset, write_verdict
from autoseg.data.splits import make_splits
from autoseg.files import write_json
from autoseg.search.run_folder import RunFolder
from autoseg.workspace import Workspace


def finished_run(
    workspace: Workspace, name: str, source: Path, *, seed: int = 0, start_from: Path | None = None
) -> RunFolder:
    """A run over a data set, whose model knows its classes and has learnt nothing."""
    run = write_run(workspace, name, source=source)
    dataset = check_dataset(source, max_workers=1)
    write_verdict(run.path / "verdict.json", dataset.verdict)
    write_json(run.path / "mask_coding.json", to_dict(dataset.mask_coding))
    write_json(run.path / "splits.json", to_dict(make_splits(dataset, 0)))
    info = replace(make_info(dataset.classes.num_classes), classes=dataset.classes)
    save_bundle(run.model, make_model(info, seed), info)
    if start_from is not None:
        known = run.info()
        assert known is not None
        run.write_info(replace(known, config=replace(known.config, start_from=str(start_from))))
    return run
