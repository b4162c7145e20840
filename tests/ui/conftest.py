from pathlib import Path

import pytest
from predict_helpers import finished_run
from workspace_helpers import make_photos

from autoseg.search.run_folder import RunFolder
from autoseg.ui.access import Access
from autoseg.ui.predict_image import Desk
from autoseg.ui.results import ResultStore
from autoseg.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture
def photos(workspace: Workspace, tmp_path: Path) -> Path:
    """A data set of the workspace."""
    return workspace.add_dataset(make_photos(tmp_path / "photos")).source


@pytest.fixture
def run(workspace: Workspace, photos: Path) -> RunFolder:
    """A finished run over it, "photos-1"."""
    return finished_run(workspace, "photos-1", photos)


@pytest.fixture
def desk(workspace: Workspace, tmp_path: Path) -> Desk:
    """The Predict tab of the workspace's owner."""
    return Desk(workspace, Access(local=True), ResultStore(tmp_path / "results"))
