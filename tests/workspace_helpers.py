"""Small real data sets and the records a search leaves, written by the project's own writers."""

import time
import zipfile
from pathlib import Path

from autoseg.config import SearchConfig
from autoseg.data.sample import make_sample_dataset
from autoseg.search.run_folder import RunFolder, RunInfo, RunState
from autoseg.workspace import Workspace


def make_photos(folder: Path, n_images: int = 6) -> Path:
    return make_sample_dataset(folder, n_images=n_images, size=(48, 64))


def make_zip(folder: Path, archive: Path, top: str = "") -> Path:
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                opened.write(file, Path(top) / file.relative_to(folder))
    return archive


def write_records(
    workspace: Workspace, name: str, source: Path, config: SearchConfig, status: str
) -> RunFolder:
    run = RunFolder(workspace.folder / "runs" / name)
    run.write_info(RunInfo(config, str(source), "f" * 64, {}))
    run.write_state(
        RunState(
            status=status,
            phase="searching",
            budget_s=config.budget_s,
            elapsed_s=60,
            updated_at=time.time(),
            pid=1,
        )
    )
    return run
