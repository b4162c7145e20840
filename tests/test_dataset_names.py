"""Renaming the data sets of a workspace."""

from pathlib import Path

import pytest
from workspace_helpers import make_photos, make_zip, write_records

from autoseg.config import SearchConfig
from autoseg.errors import ConfigError, DatasetError
from autoseg.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


@pytest.fixture(params=["uploaded", "elsewhere"])
def photos(request, workspace, tmp_path):
    """A data set called photos, in the workspace or only known to it."""
    folder = make_photos(tmp_path / "photos")
    source = make_zip(folder, tmp_path / "photos.zip") if request.param == "uploaded" else folder
    return workspace.add_dataset(source)


def names(workspace: Workspace) -> list[str]:
    return [dataset.name for dataset in workspace.datasets()]


def test_a_new_name_leaves_the_files_where_runs_know_them(workspace, photos):
    run = write_records(workspace, "photos-1", photos.source, SearchConfig(budget_s=60), "done")
    renamed = workspace.rename_dataset("photos", "leaves")
    assert names(workspace) == ["leaves"] and workspace.dataset("leaves") == renamed
    assert renamed.source == photos.source and renamed.owned == photos.owned
    assert workspace.source_of(run) == renamed.source
    assert Workspace(workspace.folder).dataset("leaves") == renamed


def test_a_name_can_change_again_and_back(workspace, photos):
    for name in ("leaves", "trees", "photos"):
        workspace.rename_dataset(names(workspace)[0], name)
        assert names(workspace) == [name]
    assert workspace.dataset("photos") == photos


def test_what_was_checked_and_corrected_moves_along(workspace, photos):
    for kept in (workspace.check_folder("photos"), workspace.folder / "corrections" / "photos"):
        kept.mkdir(parents=True)
        (kept / "note").write_text("kept")
    workspace.rename_dataset("photos", "leaves")
    assert (workspace.check_folder("leaves") / "note").is_file()
    assert (workspace.folder / "corrections" / "leaves" / "note").is_file()
    assert not workspace.check_folder("photos").exists()


def test_a_renamed_data_set_is_removed_whole(workspace, photos):
    workspace.rename_dataset("photos", "leaves")
    workspace.delete_dataset("leaves")
    assert names(workspace) == []
    assert photos.source.exists() == (not photos.owned)


def test_the_former_name_of_an_uploaded_set_is_not_given_away(workspace, tmp_path):
    """Its folder is still called so; another upload would have overwritten it."""
    archive = make_zip(make_photos(tmp_path / "photos"), tmp_path / "photos.zip")
    workspace.add_dataset(archive)
    workspace.rename_dataset("photos", "leaves")
    assert workspace.add_dataset(archive).name == "photos-2"
    assert names(workspace) == ["leaves", "photos-2"]
    with pytest.raises(DatasetError, match="already"):
        workspace.rename_dataset("photos-2", "photos")


def test_a_name_that_is_none_or_taken_is_refused(workspace, photos, tmp_path):
    workspace.add_dataset(make_photos(tmp_path / "leaves"))
    with pytest.raises(DatasetError, match="'leaves' already"):
        workspace.rename_dataset("photos", "leaves")
    with pytest.raises(ConfigError, match="is no name"):
        workspace.rename_dataset("photos", "..")
    with pytest.raises(DatasetError, match="no data set 'none'"):
        workspace.rename_dataset("none", "other")
    assert names(workspace) == ["leaves", "photos"]
