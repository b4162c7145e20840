import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from bundle_helpers import make_bundle
from predict_helpers import finished_run
from ui_helpers import write_run
from workspace_helpers import make_photos

from autoseg.continuing import load_start
from autoseg.errors import AutosegError, BundleError, ConfigError, HubError, RunError
from autoseg.predictor import Predictor
from autoseg.pulled_models import PulledModel
from autoseg.ui import run_view
from autoseg.ui.access import Access
from autoseg.ui.predict_models import (
    dataset_of,
    find_model,
    former_model,
    load,
    model_choices,
)

LOCAL, OTHERS = Access(local=True), Access()


def test_only_runs_with_a_model_are_offered(workspace, run):
    write_run(workspace, "live", status="running")
    assert [name for _, name in model_choices(workspace)] == ["photos-1"]


def test_a_run_is_found_by_its_name(workspace, run):
    found = find_model(workspace, OTHERS, "photos-1")
    assert (found.run, found.folder) == (run, run.model)
    assert load(found).class_names[0] == "ground"


def test_a_pulled_model_is_found_without_the_hub(workspace, tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    workspace.pulled.add(PulledModel("alice/leaves", "a" * 40, str(folder)))
    assert find_model(workspace, OTHERS, "alice/leaves").folder == folder
    assert find_model(workspace, OTHERS, "alice/leaves@aaaaaaa").folder == folder


def test_a_folder_may_be_named_only_where_paths_may(workspace, tmp_path):
    folder = make_bundle(tmp_path / "bundle")
    assert find_model(workspace, LOCAL, str(folder)).folder == folder
    assert find_model(workspace, Access(roots=(tmp_path,)), f" {folder} ").folder == folder
    with pytest.raises(BundleError, match="may not be named"):
        find_model(workspace, OTHERS, str(folder))
    with pytest.raises(ConfigError, match="may not be read"):
        find_model(workspace, Access(roots=(tmp_path / "other",)), str(folder))


@pytest.mark.parametrize("text", ["../photos-1", "./photos-1", "a/../../photos-1", "..", "~/x"])
def test_nothing_beside_the_runs_is_found_by_a_trick(workspace, run, text):
    with pytest.raises(AutosegError):
        find_model(workspace, OTHERS, text)


def test_the_hub_is_not_asked_for_those_who_may_not_use_it(workspace):
    with pytest.raises(HubError, match="may not fetch from the Hub"):
        find_model(workspace, OTHERS, "alice/leaves")


@pytest.mark.parametrize(
    ("text", "error"), [("nothing", RunError), (None, BundleError), ("  ", BundleError)]
)
def test_a_missing_model_is_an_error(workspace, run, text, error):
    with pytest.raises(error):
        find_model(workspace, LOCAL, text)


def test_a_model_is_loaded_again_when_its_files_change(workspace, run):
    first = load(find_model(workspace, OTHERS, run.name))
    assert load(find_model(workspace, OTHERS, run.name)) is first
    config = run.model / "config.json"
    values = json.loads(config.read_text())
    values["_autoseg"]["classes"]["names"][0] = "nothing"
    config.write_text(json.dumps(values))
    assert load(find_model(workspace, OTHERS, run.name)).class_names[0] == "nothing"


def test_two_pages_that_ask_at_once_share_one_network(workspace, run):
    """Each loaded its own, of which the cache kept one: twice the memory and the time."""
    model, ready = find_model(workspace, OTHERS, run.name), threading.Barrier(4)

    def ask(_: int) -> Predictor:
        ready.wait()
        return load(model)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(map(id, list(pool.map(ask, range(4)))))) == 1


def test_a_run_that_went_on_from_another_knows_its_former_model(workspace, photos, run):
    finished_run(workspace, "photos-2", photos, start_from=run.model)
    assert former_model(workspace, "photos-2") == "photos-1"
    assert former_model(workspace, "photos-1") is None
    assert former_model(workspace, "alice/leaves") is None


def test_a_former_model_is_known_whatever_it_is_called_by_now(workspace, photos, run):
    """Renaming it ended "what changed", and another run under its old name took its place."""
    child = finished_run(workspace, "photos-2", photos, seed=1, start_from=run.model)
    load_start(str(run.model), child)
    workspace.rename_run(run, "leaves")
    assert former_model(workspace, "photos-2") == "leaves"
    finished_run(workspace, "photos-1", photos, seed=2)
    assert former_model(workspace, "photos-2") == "leaves"
    assert "leaves" in run_view.read_run(workspace, "photos-2").about


def test_corrections_go_to_the_data_set_of_the_run(workspace, photos, run, tmp_path):
    assert dataset_of(workspace, run) == "photos"
    elsewhere = finished_run(workspace, "other-1", make_photos(tmp_path / "other"))
    assert dataset_of(workspace, elsewhere) == ""
    assert dataset_of(workspace, None) == ""
