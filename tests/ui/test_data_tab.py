import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image
from workspace_helpers import make_photos, make_zip, write_records

from autoseg.config import SearchConfig
from autoseg.corrections import NewCorrection
from autoseg.data.dataset import check_dataset
from autoseg.data.splits import make_splits
from autoseg.dataset_facts import Facts
from autoseg.ui import data_actions, data_managing, previews
from autoseg.ui.access import Access

OWNER = Access(local=True)


@pytest.fixture(autouse=True)
def uploads_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos")


@pytest.fixture
def checked_photos(workspace, photos):
    """The workspace with one data set that was checked, and what the page then showed."""
    return data_actions.added(workspace, str(photos))


def status(values) -> str:
    return values["status"]["value"]


def edited(values, **changes):
    """The rows as the table sends them, with changes by value: _1={"name": "tree"}."""
    rows = [
        {name: row[name] for name in ("key", "name", "meaning", "color")}
        for row in values["table"]["rows"]
        if row["key"]
    ]
    for key, change in changes.items():
        next(row for row in rows if row["key"] == key.removeprefix("_")).update(change)
    return rows


def test_an_upload_is_listed_checked_and_shown(workspace, photos, tmp_path):
    done = []
    folder = Path(get_upload_folder(), "0123")
    folder.mkdir(parents=True)
    archive = make_zip(photos, folder / "photos.zip")
    file = {"path": str(archive)}
    values = data_actions.uploaded(
        workspace, file, "my photos", on_progress=lambda *k: done.append(k)
    )
    assert values["datasets"]["value"] == "my-photos"
    assert [row["name"] for row in values["table"]["rows"]][:2] == ["ground", "vegetation"]
    assert values["gallery"]["total"] == 6
    assert done[-1] == (6, 6)


@pytest.mark.parametrize("called", ["only images", "pictures.zip"])
def test_what_was_uploaded_is_called_as_its_user_calls_it(workspace, photos, called):
    """A folder that was dropped was called by the zip that the browser had packed it in."""
    shutil.rmtree(photos / "masks")
    folder = Path(get_upload_folder(), "0123")
    folder.mkdir(parents=True)
    file = {"path": str(make_zip(photos, folder / "packed.zip"))}
    said = status(data_actions.uploaded(workspace, file, "pictures", called))
    assert called in said and "packed" not in said


@pytest.mark.parametrize("way", ["{}", "{upload}/../{name}/photos.zip", "{upload}", "{upload}/x"])
def test_only_an_upload_is_taken_for_one(workspace, photos, tmp_path, way):
    archive = make_zip(photos, tmp_path / "photos.zip")
    path = way.format(archive, upload=get_upload_folder(), name=tmp_path)
    for file in ({"path": path}, path, {"path": None}, None, [path]):
        assert "did not arrive" in status(data_actions.uploaded(workspace, file, "photos"))
    assert workspace.datasets() == []


def test_a_reload_shows_the_same_without_checking_again(workspace, photos, tmp_path):
    first = data_actions.added(workspace, str(make_zip(photos, tmp_path / "photos.zip")))
    for mask in (workspace.folder / "datasets" / "photos" / "masks").iterdir():
        mask.unlink()  # A new check would fail now.
    again = data_actions.shown(workspace, "photos")
    assert again["table"] == first["table"] and again["gallery"] == first["gallery"]
    assert again["canvas"] is None  # Its mask is gone, and nothing breaks.


def test_an_error_is_shown_as_it_stands(workspace, tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("a")
    values = data_actions.added(workspace, str(make_zip(tmp_path / "texts", tmp_path / "t.zip")))
    assert 'role="alert"' in status(values)
    assert "images/" in status(values)
    assert "Traceback" not in status(values)
    assert workspace.datasets() == []


def test_a_path_must_be_a_full_one(workspace, photos):
    refused = data_actions.added_path(workspace, OWNER, "photos")
    assert "full path" in status(refused)
    assert "full path" in status(data_actions.added_path(workspace, OWNER, None))
    taken = data_actions.added_path(workspace, OWNER, f" {photos} ")
    assert taken["datasets"]["value"] == "photos"


def test_others_may_name_only_what_lies_below_an_allowed_folder(workspace, photos, tmp_path):
    access = Access(roots=(tmp_path / "shared",))
    refused = data_actions.added_path(workspace, access, str(photos))
    assert 'role="alert"' in status(refused) and workspace.datasets() == []
    below = make_photos(tmp_path / "shared" / "leaves")
    taken = data_actions.added_path(workspace, access, str(below))
    assert taken["datasets"]["value"] == "leaves"


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
    values = data_actions.added_hub(
        workspace, OWNER, " alice/leaves ", "main", on_download=lambda *k: done.append(k)
    )
    assert values["datasets"]["value"] == "leaves"
    assert "From the Hub: alice/leaves at " in values["notes"]["value"]
    assert values["gallery"]["total"] == 6
    assert done[-1][0] == done[-1][1] > 0


def test_others_do_not_get_what_the_owners_login_gives(workspace, hub_of_this_machine):
    """Not even from the cache, into which the owner may have fetched it."""
    assert data_actions.added_hub(workspace, OWNER, "alice/secret")["datasets"]["value"] == "secret"
    workspace.delete_dataset("secret")
    guest = Access(users=(("bob", "pw"),))
    values = data_actions.added_hub(workspace, guest, "alice/secret")
    assert 'role="alert"' in status(values) and workspace.datasets() == []


@pytest.mark.parametrize("text", ["", None, "leaves", "/etc", "alice/none", "alice/leaves@../x"])
def test_what_the_hub_does_not_have_is_shown_as_it_stands(workspace, hub_of_this_machine, text):
    values = data_actions.added_hub(workspace, OWNER, text, None)
    assert 'role="alert"' in status(values) and "Traceback" not in status(values)


@pytest.fixture
def leaves(workspace, checked_photos, tmp_path):
    """A second data set beside `checked_photos`, and what the page then showed."""
    return data_actions.added(workspace, str(make_photos(tmp_path / "leaves", n_images=7)))


def test_the_table_and_the_images_say_whose_they_are(workspace, checked_photos, leaves):
    """Their events name it, since another data set may be chosen by then."""
    assert checked_photos["table"]["dataset"] == checked_photos["gallery"]["dataset"] == "photos"
    assert leaves["table"]["dataset"] == "leaves"
    page = data_actions.browsed(workspace, "photos", 0, "1")["gallery"]
    assert page["dataset"] == "photos" and page["total"] == 6


def test_a_finished_check_is_shown_only_where_its_data_set_is_chosen(workspace, leaves):
    finished = data_actions.Finished("photos", data_actions.checked(workspace, "photos"))
    assert data_actions.settled(workspace, "photos", finished) == finished.values
    elsewhere = data_actions.settled(workspace, "leaves", finished)
    assert list(elsewhere) == ["datasets"] and "value" not in elsewhere["datasets"]


def test_a_finished_upload_does_not_take_the_page_from_another_data_set(
    workspace, leaves, tmp_path
):
    values = data_actions.added(workspace, str(make_photos(tmp_path / "trees")))
    finished = data_actions.Finished("leaves", values)
    assert data_actions.settled(workspace, "leaves", finished)["datasets"]["value"] == "trees"
    elsewhere = data_actions.settled(workspace, "photos", finished)
    assert elsewhere == {"datasets": elsewhere["datasets"]}
    assert elsewhere["datasets"]["choices"] == ["leaves", "photos", "trees"]


def test_why_something_was_refused_is_said_wherever_one_is(workspace, checked_photos, leaves):
    rows = edited(checked_photos, _1={"name": " "})
    refused = data_actions.Finished("photos", data_actions.applied(workspace, "photos", rows))
    elsewhere = data_actions.settled(workspace, "leaves", refused)
    assert "has no class name" in status(elsewhere) and "table" not in elsewhere


def test_a_question_goes_with_the_data_set_it_was_asked_about(workspace, leaves):
    """It stood while another one was chosen, which "Remove it" then removed."""
    asked = data_managing.asked_to_remove(workspace, "photos")
    assert asked["asked"] == "photos"
    assert data_actions.chosen(workspace, "leaves")["sure"]["visible"] is False


@pytest.mark.parametrize("owned", [True, False])
def test_the_question_counts_the_corrections_that_go(workspace, photos, tmp_path, owned):
    source = make_zip(photos, tmp_path / "photos.zip") if owned else photos
    data_actions.added(workspace, str(source))
    none = data_managing.asked_to_remove(workspace, "photos")["question"]["value"]
    assert "corrected" not in none
    classes = previews.load_check(workspace.check_folder("photos")).classes
    for image in sorted((photos / "images").iterdir())[:2]:
        mask = np.zeros((48, 64), np.uint8)
        workspace.add_correction("photos", NewCorrection("new", image, mask, classes))
    asked = data_managing.asked_to_remove(workspace, "photos")["question"]["value"]
    assert "corrected masks (2)" in asked
    corrected = workspace.with_corrections("photos").name
    of_steps = data_managing.asked_to_remove(workspace, corrected)["question"]["value"]
    assert "corrected masks (" not in of_steps  # They belong to the other and stay.


@pytest.mark.parametrize(("ended", "said"), [("paused", True), ("failed", False), ("done", False)])
def test_the_question_names_searches_that_cannot_go_on(
    workspace, photos, checked_photos, ended, said
):
    write_records(workspace, "photos-1", photos, SearchConfig(budget_s=60), ended)
    asked = data_managing.asked_to_remove(workspace, "photos")["question"]["value"]
    assert ("photos-1" in asked) == said


def test_the_list_takes_in_what_came_and_leaves_edits_alone(workspace, checked_photos, tmp_path):
    workspace.add_dataset(make_photos(tmp_path / "elsewhere"))
    values = data_actions.listed_again(workspace, "photos")
    assert values["datasets"]["choices"] == ["elsewhere", "photos"]
    # Who chose another before the answer came was put back to the former one.
    assert "value" not in values["datasets"] and "table" not in values
    workspace.delete_dataset("photos")
    values = data_actions.listed_again(workspace, "photos")
    assert values["datasets"]["value"] == "elsewhere"
    assert "elsewhere is not checked yet" in status(values)


def test_a_data_set_that_was_never_checked_is_shown_again_too(workspace, leaves, tmp_path):
    workspace.add_dataset(make_photos(tmp_path / "trees"))
    data_actions.chosen(workspace, "trees")
    assert data_actions.listed(workspace)["datasets"]["value"] == "trees"
    assert "not checked yet" in status(data_actions.shown(workspace, "trees"))


def test_a_reload_shows_the_data_set_that_was_last_looked_at(workspace, checked_photos, tmp_path):
    assert data_actions.listed(workspace)["datasets"]["value"] == "photos"
    data_actions.added(workspace, make_photos(tmp_path / "fields"))
    data_actions.added(workspace, make_photos(tmp_path / "trees"))
    assert data_actions.listed(workspace)["datasets"]["value"] == "trees"
    data_actions.chosen(workspace, "fields")
    assert data_actions.listed(workspace)["datasets"]["value"] == "fields"
    assert data_actions.listed(workspace, "photos")["datasets"]["value"] == "photos"


def test_a_removed_data_set_is_gone_after_a_question_that_says_what_goes(
    workspace, photos, tmp_path
):
    data_actions.added(workspace, str(make_zip(photos, tmp_path / "photos.zip")))
    asked = data_managing.asked_to_remove(workspace, "photos")
    assert asked["sure"]["visible"] and "Delete photos" in asked["question"]["value"]
    assert [dataset.name for dataset in workspace.datasets()] == ["photos"]
    values = data_managing.removed(workspace, "photos")
    assert values["datasets"]["choices"] == [] and values["table"] is None
    assert status(values) == data_actions.no_data()


def test_a_folder_elsewhere_is_only_forgotten(workspace, photos, checked_photos):
    asked = data_managing.asked_to_remove(workspace, "photos")
    assert "stay where they are" in asked["question"]["value"]
    data_managing.removed(workspace, "photos")
    assert (photos / "images").is_dir() and workspace.datasets() == []


def test_what_another_window_removed_is_said_to_be_gone(workspace, checked_photos):
    workspace.delete_dataset("photos")
    for values in (
        data_actions.checked(workspace, "photos"),
        data_managing.asked_to_remove(workspace, "photos"),
        data_managing.removed(workspace, "photos"),
    ):
        assert "There is no data set" in status(values)
    assert data_actions.browsed(workspace, "photos", 0, "name") == {"gallery": None}
    assert data_actions.enlarged(workspace, "photos", 0) == {"canvas": None}


def test_a_renamed_data_set_keeps_what_was_found_and_said(workspace, checked_photos):
    data_actions.applied(workspace, "photos", edited(checked_photos, _1={"name": "tree"}))
    values = data_managing.renamed(workspace, "photos", "my leaves")
    assert values["datasets"]["value"] == "my-leaves"
    table = data_actions.shown(workspace, "my-leaves")["table"]
    assert table["rows"][1]["name"] == "tree"


def test_a_name_that_is_none_or_taken_is_refused(workspace, checked_photos, tmp_path):
    data_actions.added(workspace, str(make_photos(tmp_path / "leaves")))
    assert "is no name" in status(data_managing.renamed(workspace, "photos", "//"))
    assert "already" in status(data_managing.renamed(workspace, "photos", "leaves"))
    assert len(workspace.datasets()) == 2


@pytest.mark.parametrize(("length", "count"), [(3, 3), (12, 12), (1000, 12)])
def test_previews_are_spread_over_the_data(length, count):
    chosen = previews.spread(length, 12)
    assert len(chosen) == len(set(chosen)) == count
    assert chosen == sorted(chosen) and chosen[-1] < length


def test_what_the_user_says_of_mask_values_lasts(workspace, checked_photos):
    """The meanings hold for later checks and for the search, and survive a reload."""
    rows = edited(checked_photos, _1={"name": "tree"}, _2={"meaning": "ignore"})
    values = data_actions.applied(workspace, "photos", rows)
    assert {row["raw"]: row["name"] for row in values["table"]["rows"]}["1"] == "tree"
    again = data_actions.checked(workspace, "photos")
    assert again["table"] == values["table"]
    check = previews.load_check(workspace.check_folder("photos"))
    assert dict(check.mapping)["1"] == "tree" and dict(check.mapping)["2"] == "ignore"
    assert check.classes.names[1] == "tree"


def test_a_check_leaves_what_the_estimate_before_a_search_needs(workspace, checked_photos):
    facts = Facts.load(workspace.check_folder("photos") / "facts.npz")
    assert len(facts.sizes) == 6 and facts.class_names[1] == "vegetation"
    data_actions.applied(workspace, "photos", edited(checked_photos, _1={"name": "tree"}))
    assert Facts.load(workspace.check_folder("photos") / "facts.npz").class_names[1] == "tree"


def test_a_forgotten_answer_leaves_the_values_as_they_were_found(workspace, checked_photos):
    rows = edited(checked_photos, _1={"name": "tree", "color": "#123456"})
    assert data_actions.applied(workspace, "photos", rows)["table"]["forgettable"]
    assert data_actions.forgotten(workspace, "photos")["table"] == checked_photos["table"]


def test_other_colours_need_no_second_look_at_the_files(workspace, photos, checked_photos):
    for mask in (photos / "masks").iterdir():
        mask.unlink()  # A new check would fail.
    rows = edited(checked_photos, _1={"color": "#12ab00"})
    values = data_actions.applied(workspace, "photos", rows)
    assert status(values) == "" and values["table"]["rows"][1]["color"] == "#12ab00"
    check = previews.load_check(workspace.check_folder("photos"))
    assert check.mapping == () and dict(check.colors)["vegetation"] == "#12ab00"
    assert check.classes.palette[1] == (0x12, 0xAB, 0)


@pytest.mark.parametrize("change", [{"name": " "}, {"color": "red"}, {"color": "#12"}])
def test_an_answer_that_does_not_hold_changes_nothing(workspace, checked_photos, change):
    rows = edited(checked_photos, _0=change)
    values = data_actions.applied(workspace, "photos", rows)
    assert list(values) == ["status"] and 'role="alert"' in status(values)
    assert data_actions.shown(workspace, "photos")["table"] == checked_photos["table"]


def test_two_values_become_one_class_by_the_same_name(workspace, checked_photos):
    rows = edited(checked_photos, _1={"name": "plants"}, _2={"name": "plants"})
    values = data_actions.applied(workspace, "photos", rows)
    check = previews.load_check(workspace.check_folder("photos"))
    assert check.classes.names.count("plants") == 1
    assert values["gallery"]["sorts"][2][0] == "1"


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Masks that number their objects, which can mean several things."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (tmp_path / "cells" / folder).mkdir(parents=True)
    for index, count in enumerate((3, 5, 9, 25, 7, 20)):
        mask = (
            np.repeat(np.arange(count), -(-60 // count))[:60].astype(np.uint8)[None].repeat(40, 0)
        )
        Image.fromarray(mask).save(tmp_path / "cells" / "masks" / f"{index}.png")
        image = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "cells" / "images" / f"{index}.png")
    return tmp_path / "cells"


def test_an_ambiguous_data_set_asks_with_its_values_and_nothing_decided(workspace, numbered):
    values = data_actions.added(workspace, str(numbered))
    assert "not clear what the mask values mean" in status(values)
    table = values["table"]
    assert table["question"]
    assert {row["name"] for row in table["rows"]} == {""}
    assert table["rows"][-1]["key"] == "*" and table["rows"][0]["key"] == "0"
    assert all(row["example"].is_file() for row in table["rows"][:-1])
    assert sum(row["part"] for row in table["rows"]) == pytest.approx(1)


def test_the_answer_to_the_question_makes_the_data_set_usable(workspace, numbered):
    asked = data_actions.added(workspace, str(numbered))
    rows = [{**row, "name": "background" if row["key"] == "0" else "cell"} for row in edited(asked)]
    values = data_actions.applied(workspace, "cells", rows)
    assert status(values) == "" and not values["table"]["question"]
    check = previews.load_check(workspace.check_folder("cells"))
    assert check.classes.names == ("background", "cell")
    assert data_actions.checked(workspace, "cells")["table"] == values["table"]


def test_an_answer_that_cannot_be_used_leaves_the_question(workspace, numbered):
    asked = data_actions.added(workspace, str(numbered))
    rows = [{**row, "name": "cell"} for row in edited(asked)]
    assert "one class only" in status(data_actions.applied(workspace, "cells", rows))
    assert data_actions.shown(workspace, "cells")["table"] == asked["table"]


def test_what_cannot_be_divided_for_a_search_is_shown_with_the_reason(workspace, photos):
    """Six copies of one image cannot both be learnt from and tested on."""
    first = sorted((photos / "images").iterdir())[0]
    for path in (photos / "images").iterdir():
        path.write_bytes(first.read_bytes())
    values = data_actions.added(workspace, str(photos))
    assert "No image is left for the" in status(values)
    assert values["table"]["rows"] and values["gallery"]["total"] == 6


def test_a_problem_is_still_shown_after_a_reload(workspace, photos, checked_photos):
    for mask in list((photos / "masks").iterdir())[2:]:
        mask.unlink()
    first = data_actions.checked(workspace, "photos")
    assert 'role="alert"' in status(first)
    assert data_actions.shown(workspace, "photos") == first


def test_soft_edges_keep_their_nearest_class_when_classes_are_renamed(workspace, tmp_path):
    y, x = np.mgrid[:64, :80]
    for folder in ("images", "masks"):
        (tmp_path / "soft" / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(6):
        distance = np.hypot(y - 30, x - 30 - index)
        mask = np.clip(255 * (20 - distance), 0, 255).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "soft" / "masks" / f"{index}.jpg")
        image = rng.integers(0, 256, (64, 80, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "soft" / "images" / f"{index}.png")
    first = data_actions.added(workspace, str(tmp_path / "soft"))
    rows = edited(first, _255={"name": "disc"})
    values = data_actions.applied(workspace, "soft", rows)
    assert status(values) == ""
    check = previews.load_check(workspace.check_folder("soft"))
    assert check.classes.names == ("background", "disc") and check.coding.snap


def test_a_broken_record_of_the_last_check_is_as_good_as_none(workspace, checked_photos):
    (workspace.check_folder("photos") / "check.json").write_text("[1]")
    assert "not checked yet" in status(data_actions.shown(workspace, "photos"))


def test_two_tabs_may_check_the_same_data_set_at_once(workspace, checked_photos):
    """The folder of the check was deleted and replaced in two steps, into which others came."""
    folder, table = workspace.check_folder("photos"), checked_photos["table"]

    def check(_):
        found = [data_actions.checked(workspace, "photos")["table"] for _ in range(4)]
        data_actions.browsed(workspace, "photos", 0, "name")
        return found

    with ThreadPoolExecutor(4) as pool:
        found = [value for values in pool.map(check, range(4)) for value in values]
    assert found == [table] * 16
    assert [path.name for path in folder.parent.glob("*photos*")] == ["photos"]


def test_nothing_can_be_checked_or_searched_before_there_is_a_data_set(workspace, photos):
    values = data_actions.listed(workspace)
    assert not any(values[part]["visible"] for part in ("check", "use"))
    values = data_actions.added(workspace, str(photos))
    assert all(values[part]["visible"] for part in ("check", "use"))


def test_a_refused_upload_is_named_as_the_user_calls_it(workspace, tmp_path):
    """The message named a folder of the workspace that was gone by then."""
    folder = tmp_path / "nomasks"
    folder.mkdir()
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    archive = make_zip(folder, tmp_path / "nomasks.zip")
    values = data_actions.added(workspace, str(archive))
    assert "nomasks.zip holds 1 image but no masks" in status(values)
    assert str(workspace.folder) not in status(values)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("a.pdf",), "Files left out: 1 (a.pdf)"),
        (
            ("a.pdf", "b.csv", "c.txt", "d.doc", "e.doc"),
            "Files left out: 5 (a.pdf, b.csv, c.txt and 2 more)",
        ),
    ],
)
def test_the_first_files_left_out_are_named(workspace, photos, names, told):
    """They were counted, and named only to who opened the list."""
    for name in names:
        (photos / name).write_text("x")
    shown = data_actions.added(workspace, str(photos))["notes"]["value"]
    assert f"<summary>{told}</summary>" in shown


@pytest.mark.parametrize("n_images", [20, 70])
def test_it_is_said_what_a_search_does_with_the_images(workspace, tmp_path, n_images):
    photos = make_photos(tmp_path / "photos", n_images)
    shown = data_actions.added(workspace, str(photos))["notes"]["value"]
    told = [int(number) for number in re.findall(r"\d+", shown.partition("A search")[2])]
    splits = make_splits(check_dataset(photos, max_workers=1), seed=0)
    assert told == [len(part) for part in (splits.train, splits.val, splits.test) if part]
    assert ("too few to keep some for a test" in shown) == (not splits.test)
    assert "fold" not in shown


def test_a_data_set_that_cannot_be_divided_says_nothing_of_a_division(workspace, photos):
    data_actions.added(workspace, str(photos))
    (workspace.check_folder("photos") / "facts.npz").unlink()
    assert "A search learns" not in data_actions.shown(workspace, "photos")["notes"]["value"]
