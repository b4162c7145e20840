from pathlib import Path

import pytest
from workspace_helpers import make_photos, make_zip

from autoseg.ui import data_tab, previews
from autoseg.ui.access import Access

OWNER = Access(local=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


def test_an_upload_is_listed_checked_and_shown(workspace, photos, tmp_path):
    done = []
    archive = make_zip(photos, tmp_path / "photos.zip")
    values = data_tab.added(workspace, str(archive), lambda *k: done.append(k))
    assert values["datasets"]["value"] == "photos"
    assert "vegetation" in values["verdict"]
    assert len(values["gallery"]["value"]) == 6
    assert done[-1] == (6, 6)


def test_a_reload_shows_the_same_without_checking_again(workspace, photos, tmp_path):
    first = data_tab.added(workspace, str(make_zip(photos, tmp_path / "photos.zip")))
    for mask in (workspace.folder / "datasets" / "photos" / "masks").iterdir():
        mask.unlink()  # A new check would fail now.
    again = data_tab.shown(workspace, "photos")
    assert again["verdict"] == first["verdict"]
    assert [name for _, name in again["gallery"]["value"]] == [
        name for _, name in first["gallery"]["value"]
    ]


def test_an_error_is_shown_as_it_stands(workspace, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    values = data_tab.added(workspace, str(make_zip(tmp_path / "texts", tmp_path / "t.zip")))
    assert 'role="alert"' in values["verdict"]
    assert "images/" in values["verdict"]
    assert "Traceback" not in values["verdict"]
    assert workspace.datasets() == []


def test_a_path_must_be_a_full_one(workspace, photos):
    assert "full path" in data_tab.added_path(workspace, OWNER, "photos")["verdict"]
    assert data_tab.added_path(workspace, OWNER, f" {photos} ")["datasets"]["value"] == "photos"


@pytest.fixture
def hub_of_this_machine(hub, photos, tmp_path, monkeypatch):
    """The machine's Hub and login; alice has a public and a private data set there."""
    files = {p.relative_to(photos).as_posix(): p.read_bytes() for p in photos.rglob("*.*")}
    hub.add_repo("alice/leaves", files, repo_type="dataset")
    hub.add_repo("alice/secret", files, repo_type="dataset", private=True)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    address = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    return hub


def test_a_data_set_of_the_hub_is_fetched_listed_and_checked(workspace, hub_of_this_machine):
    done = []
    values = data_tab.added_hub(
        workspace, " alice/leaves ", "main", on_download=lambda *k: done.append(k)
    )
    assert values["datasets"]["value"] == "leaves"
    assert "From the Hub: alice/leaves at " in values["verdict"]
    assert len(values["gallery"]["value"]) == 6
    assert done[-1][0] == done[-1][1] > 0


@pytest.mark.parametrize("text", ["", None, "leaves", "/etc", "alice/none", "alice/leaves@../x"])
def test_what_the_hub_does_not_have_is_shown_as_it_stands(workspace, hub_of_this_machine, text):
    values = data_tab.added_hub(workspace, text, None)
    assert 'role="alert"' in values["verdict"] and "Traceback" not in values["verdict"]


def test_a_removed_data_set_is_gone(workspace, photos, tmp_path):
    data_tab.added(workspace, str(make_zip(photos, tmp_path / "photos.zip")))
    values = data_tab.removed(workspace, "photos")
    assert values["datasets"]["choices"] == []
    assert values["verdict"] == data_tab.NO_DATA


@pytest.mark.parametrize(("length", "count"), [(3, 3), (12, 12), (1000, 12)])
def test_previews_are_spread_over_the_data(length, count):
    chosen = previews.spread(length, 12)
    assert len(chosen) == len(set(chosen)) == count
    assert chosen == sorted(chosen) and chosen[-1] < length


def test_what_the_user_says_of_mask_values_lasts(workspace, photos):
    """The meanings hold for later checks and for the search, and survive a reload."""
    data_tab.added(workspace, str(photos))
    text = "0 = ground\n1 = vegetation\n* = ignore"
    values = data_tab.checked(workspace, "photos", text)
    assert values["mapping"] == text
    assert data_tab.shown(workspace, "photos")["mapping"] == text
    check = previews.load_check(workspace.check_folder("photos"))
    assert check.mapping == (("0", "ground"), ("1", "vegetation"), ("*", "ignore"))
    assert {row.class_name for row in check.verdict.rows if row.raw not in "01"} == {"ignore"}


def test_a_problem_is_still_shown_after_a_reload(workspace, photos):
    data_tab.added(workspace, str(photos))
    for mask in list((photos / "masks").iterdir())[2:]:
        mask.unlink()
    first = data_tab.checked(workspace, "photos")
    assert 'role="alert"' in first["verdict"]
    assert data_tab.shown(workspace, "photos") == first


def test_a_field_never_unfolded_is_empty(workspace, photos):
    """The browser sends nothing for a text box that was never on the screen."""
    data_tab.added(workspace, str(photos))
    assert "vegetation" in data_tab.checked(workspace, "photos", None)["verdict"]
    assert "full path" in data_tab.added_path(workspace, OWNER, None)["verdict"]


@pytest.mark.parametrize("text", ["255", "= ignore", "1 ="])
def test_a_line_that_says_nothing_of_a_value_is_refused(workspace, photos, text):
    data_tab.added(workspace, str(photos))
    assert "does not say" in data_tab.checked(workspace, "photos", text)["verdict"]
