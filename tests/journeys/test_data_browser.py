"""The Data tab in a real browser: uploads, the table of mask values, the pages of images."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from app_process import App
from PIL import Image
from slow_server import requests_held
from workspace_helpers import make_photos, make_zip

from autoseg.ui import data_actions
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow  # A server and a browser each take seconds.

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def open_page(page, app: App) -> None:
    page.goto(app.url)
    page.wait_for_selector("#upload .place")


def upload_files(page, *paths: Path) -> None:
    page.locator("#upload input[type=file]").nth(0).set_input_files(list(paths))


def upload_folder(page, folder: Path) -> None:
    page.locator("#upload input[type=file]").nth(1).set_input_files(folder)


def drop(page, *paths: Path) -> None:
    """Let go of files or folders over the place for them, as the system's file manager does."""
    box = page.locator("#upload .place").bounding_box()
    client = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        client.send(
            "Input.dispatchDragEvent",
            {
                "type": kind, "x": box["x"] + 20, "y": box["y"] + 20,
                "data": {"items": [], "files": [str(p) for p in paths], "dragOperationsMask": 1},
            },
        )  # fmt: skip


def tile_names(page) -> list[str]:
    page.wait_for_selector("#gallery .tile")
    return page.locator("#gallery .name").all_inner_texts()


def classes_shown(page) -> list[str]:
    page.wait_for_selector("#verdict-table table")
    return [field.input_value() for field in page.locator("#verdict-table input[type=text]").all()]


def fetched(page, selector: str) -> np.ndarray:
    url = page.locator(selector).first.get_attribute("src")
    with Image.open(BytesIO(page.request.get(url).body())) as file:
        return np.asarray(file.convert("RGB"))


def numbered_cells(folder: Path) -> Path:
    """Masks with 0, 15 and 255, which can mean several things."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for index in range(6):
        mask = np.repeat(np.array([0, 15, 255], np.uint8), 20)[None].repeat(40, 0)
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
        image = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
    return folder


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A folder with splits inside, a class list, and files that are no images."""
    folder = tmp_path / "Weizen Feld"
    for split, count in (("train", 6), ("test", 3)):
        made = make_photos(tmp_path / split, n_images=count)
        shutil.copytree(made, folder / split, ignore=shutil.ignore_patterns("classes.txt"))
        shutil.copy(made / "classes.txt", folder)
    for kind in ("images", "masks"):
        first = sorted((folder / "train" / kind).iterdir())[0]
        first.rename(first.with_name(f"Blätter 叶{first.suffix}"))
    (folder / "notes.docx").write_bytes(b"x" * 1000)
    (folder / ".hidden.png").write_bytes(b"x")
    return folder


@pytest.mark.parametrize("way", [upload_folder, drop])
def test_a_folder_is_taken_with_the_folders_inside(app, page, field, way):
    open_page(page, app)
    way(page, field)
    assert classes_shown(page)[:2] == ["ground", "vegetation"]
    assert {name.split("/")[0] for name in tile_names(page)} == {"train", "test"}
    assert page.locator("#datasets label").inner_text().strip() == "Weizen-Feld"
    stored = app.home / "datasets" / "Weizen-Feld"
    files = (path for path in stored.rglob("*.*") if path.name != ".origin.json")
    sent = sorted(path.relative_to(stored).as_posix() for path in files)
    assert sent == sorted(
        path.relative_to(field).as_posix()
        for path in field.rglob("*.*")
        if path.suffix != ".docx" and not path.name.startswith(".")
    )
    for name in sent:
        assert (stored / name).read_bytes() == (field / name).read_bytes()


def test_two_folders_dropped_together_are_one_data_set(app, page, tmp_path):
    photos = make_photos(tmp_path / "photos")
    open_page(page, app)
    drop(page, photos / "images", photos / "masks", photos / "classes.txt")
    assert classes_shown(page)[0] == "ground"
    assert len(tile_names(page)) == 6


def test_loose_files_are_taken_together(app, page, tmp_path):
    photos, flat = make_photos(tmp_path / "photos"), tmp_path / "flat"
    flat.mkdir()
    for path in (photos / "images").iterdir():
        shutil.copy(path, flat)
        shutil.copy(photos / "masks" / f"{path.stem}.png", flat / f"{path.stem}_mask.png")
    open_page(page, app)
    upload_files(page, *flat.iterdir())
    assert len(tile_names(page)) == 6


def test_files_of_a_folder_that_stay_behind_are_named(app, page, field):
    open_page(page, app)
    upload_folder(page, field)
    tile_names(page)
    status = page.locator("#upload .status[role=status]")
    text = "Not sent, since they are neither images nor class lists: notes.docx"
    assert status.inner_text() == text


def test_what_is_no_data_set_is_not_sent(app, page, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("a")
    open_page(page, app)
    upload_files(page, text)
    page.wait_for_selector("#upload .fault >> text=no image among these")
    archive = make_zip(make_photos(tmp_path / "photos"), tmp_path / "b.zip")
    upload_files(page, archive, text)
    page.wait_for_selector("#upload .fault >> text=one zip at a time")
    assert not (app.home / "datasets").exists()


def test_a_folder_that_is_no_data_set_is_refused_by_its_name(app, page, tmp_path):
    """The message named a zip that nobody had made, beside "onlyimages.zip is uploaded."."""
    photos = make_photos(tmp_path / "onlyimages")
    shutil.rmtree(photos / "masks")
    open_page(page, app)
    drop(page, photos)
    page.wait_for_selector("#data-status >> text=Not possible")
    assert "onlyimages" in page.locator("#data-status").inner_text()
    for part in ("#data-status", "#upload"):
        text = page.locator(part).inner_text()
        assert "onlyimages.zip" not in text and "is uploaded" not in text


def test_an_upload_can_be_cancelled(app, page, tmp_path):
    big = tmp_path / "big.zip"
    with big.open("wb") as file:
        file.truncate(400 * 2**20)
    open_page(page, app)
    page.route("**/upload", lambda route: None)  # The server never answers.
    upload_files(page, big)
    page.click("#upload .going button")
    page.wait_for_selector("#upload .status >> text=cancelled")
    assert page.locator("#upload .choose button").first.is_enabled()


def test_the_same_is_there_after_a_reload_and_in_another_tab(app, page, tmp_path):
    open_page(page, app)
    upload_files(page, make_zip(make_photos(tmp_path / "photos"), tmp_path / "photos.zip"))
    names = tile_names(page)
    page.reload()
    assert tile_names(page) == names and classes_shown(page)[0] == "ground"
    second = page.context.new_page()
    second.goto(app.url)
    assert tile_names(second) == names
    second.fill("#verdict-table input[type=text] >> nth=1", "tree")
    second.click("#verdict-table .main")
    second.wait_for_selector("#verdict-table >> text=Read it as found")
    page.reload()
    assert classes_shown(page)[1] == "tree"


def test_a_question_is_answered_with_the_keyboard_alone(app, page, tmp_path):
    open_page(page, app)
    upload_folder(page, numbered_cells(tmp_path / "cells"))
    page.wait_for_selector("#verdict [role=alert] >> text=not clear what the mask values mean")
    assert classes_shown(page) == ["", "", ""]
    assert page.locator("#verdict-table img").count() == 3
    page.focus("#verdict-table .main")
    page.keyboard.press("Enter")
    page.wait_for_selector("#verdict-table .message >> text=Give each value a class name")
    assert page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"
    for row, name in enumerate(("background", "cell", None)):
        if name is not None:
            page.keyboard.type(name)
            assert page.evaluate("document.activeElement.value") == name
            for _ in range(3):  # Colour, meaning, the next name.
                page.keyboard.press("Tab")
            continue
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        assert "255" in page.evaluate("document.activeElement.getAttribute('aria-label')"), row
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#gallery .tile")
    check = json.loads((app.home / "checks" / "cells" / "check.json").read_text())
    assert check["mapping"] == [["0", "background"], ["15", "cell"], ["255", "ignore"]]
    assert check["classes"]["names"] == ["background", "cell"]


def test_a_colour_reaches_the_small_images_and_the_canvas(app, page, tmp_path):
    open_page(page, app)
    upload_files(page, make_zip(make_photos(tmp_path / "photos"), tmp_path / "photos.zip"))
    tile_names(page)
    before = fetched(page, "#gallery img").astype(int)
    page.locator("#verdict-table input[type=color]").nth(1).fill("#ff0000")
    page.click("#verdict-table .main")
    page.wait_for_selector("#verdict-table >> text=Read it as found")
    after = fetched(page, "#gallery img").astype(int)
    redder = (after - before)[..., 0] - (after - before)[..., 1]
    assert (redder > 20).mean() > 0.1


def test_values_of_one_class_have_one_colour(app, page, tmp_path):
    open_page(page, app)
    upload_files(page, make_zip(make_photos(tmp_path / "photos"), tmp_path / "photos.zip"))
    assert classes_shown(page)[1:3] == ["vegetation", "water"]
    colors = page.locator("#verdict-table input[type=color]")
    page.locator("#verdict-table input[type=text]").nth(2).fill("vegetation")
    assert colors.nth(2).input_value() == colors.nth(1).input_value()
    colors.nth(2).fill("#0a0b0c")
    assert colors.nth(1).input_value() == "#0a0b0c"
    page.click("text=Undo my changes")
    assert classes_shown(page)[1:3] == ["vegetation", "water"]


def test_any_image_is_shown_large_and_arrows_lead_through_the_small_ones(app, page, tmp_path):
    open_page(page, app)
    photos = make_photos(tmp_path / "photos", n_images=30)
    upload_files(page, make_zip(photos, tmp_path / "photos.zip"))
    assert len(tile_names(page)) == 24
    page.locator("#gallery .tile").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    chosen = page.evaluate("document.activeElement.title")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#data-canvas >> text={chosen}")
    page.click("#gallery .pager button >> nth=1")
    page.wait_for_selector("#gallery >> text=Page 2 of 2")
    assert len(tile_names(page)) == 6
    page.select_option("#gallery select", "2")
    page.wait_for_selector("#gallery .note >> text=% water")
    page.wait_for_selector("#gallery >> text=Page 1 of 2")


def test_a_finished_check_leaves_the_data_set_alone_that_is_chosen_by_then(app, page, tmp_path):
    """Its table appeared under the name of the other one, into which "Apply" then wrote it."""
    workspace = Workspace(app.home)
    for name, number in (("many", 600), ("few", 6)):
        data_actions.added(workspace, make_photos(tmp_path / name, n_images=number))
    few = workspace.check_folder("few") / "check.json"
    many = workspace.check_folder("many") / "check.json"
    before = many.stat().st_mtime_ns
    open_page(page, app)
    page.click("#datasets label >> text=many")
    page.wait_for_selector("#gallery >> text=600 images")
    page.click("#check")
    page.click("#datasets label >> text=few")
    page.wait_for_selector("#gallery >> text=6 images")
    assert many.stat().st_mtime_ns == before, "The check was over too soon to show anything."
    while many.stat().st_mtime_ns == before:
        page.wait_for_timeout(50)
    page.wait_for_timeout(1500)
    assert page.locator("#gallery .head b").inner_text().startswith("6 images")
    assert page.locator("#datasets input:checked").get_attribute("value") == "few"
    page.fill("#verdict-table input[type=text] >> nth=1", "tree")
    page.click("#verdict-table .main")
    page.wait_for_selector("#verdict-table >> text=Read it as found")
    assert json.loads(few.read_text())["classes"]["names"][1] == "tree"
    assert json.loads(many.read_text())["classes"]["names"][1] == "vegetation"


def test_a_data_set_chosen_as_soon_as_the_page_shows_it_stays_chosen(app, page, tmp_path):
    """Gradio says that a tab is chosen when the page opens: the late answer put "bees" back."""
    workspace = Workspace(app.home)
    for name in ("ants", "bees"):
        data_actions.added(workspace, make_photos(tmp_path / name))
    with requests_held(page, "**/queue/join*"):
        open_page(page, app)
        page.click("#datasets label >> text=ants")
    page.wait_for_timeout(2000)
    assert page.locator("#datasets input:checked").get_attribute("value") == "ants"


def test_a_data_set_that_came_meanwhile_is_listed_when_the_tab_is_opened(app, page, tmp_path):
    workspace = Workspace(app.home)
    data_actions.added(workspace, make_photos(tmp_path / "photos"))
    open_page(page, app)
    tile_names(page)
    page.fill("#verdict-table input[type=text] >> nth=1", "tree")
    page.get_by_role("tab", name="Share").click()
    workspace.add_dataset(make_photos(tmp_path / "fields"))
    page.get_by_role("tab", name="Data").click()
    page.wait_for_selector("#datasets label >> text=fields")
    assert page.locator("#datasets input:checked").get_attribute("value") == "photos"
    assert classes_shown(page)[1] == "tree"  # Not applied yet, and not lost.


def test_the_search_follows_the_data_tab_until_a_data_set_is_chosen_there(app, page, tmp_path):
    """A search ran on another data set than the one that had been looked at."""
    workspace = Workspace(app.home)
    for name in ("ants", "bees", "cats"):
        data_actions.added(workspace, make_photos(tmp_path / name))
    data_actions.chosen(workspace, "bees")

    def show(name: str) -> None:
        page.get_by_role("tab", name=name, exact=True).click()

    def searches_in(name: str) -> None:
        page.wait_for_function(
            "name => document.querySelector('#dataset input').value === name", arg=name
        )
        page.wait_for_timeout(700)  # Nor does a late answer change it.
        assert page.input_value("#dataset input") == name

    page.goto(app.url)
    show("Search")
    searches_in("bees")
    show("Data")
    page.click("#datasets label >> text=cats")
    show("Search")
    searches_in("cats")
    page.locator("#dataset input").click()
    page.locator("[role=option]", has_text="ants").click()
    show("Data")
    page.click("#datasets label >> text=bees")
    show("Search")
    searches_in("ants")
    show("Data")
    page.click("#use")
    searches_in("bees")
    show("Data")
    page.click("#datasets label >> text=cats")
    show("Search")
    searches_in("cats")


def test_a_data_set_that_is_chosen_while_the_search_opens_stays(app, page, tmp_path):
    """The list that was asked for with the tab came after the choice, and took it back."""
    workspace = Workspace(app.home)
    for name in ("ants", "bees", "cats"):
        data_actions.added(workspace, make_photos(tmp_path / name))
    data_actions.chosen(workspace, "bees")
    page.goto(app.url)
    tile_names(page)
    page.get_by_role("tab", name="Search", exact=True).click()
    page.wait_for_function("document.querySelector('#dataset input').value === 'bees'")
    page.get_by_role("tab", name="Data", exact=True).click()
    page.click("#datasets label >> text=cats")
    page.wait_for_timeout(2000)

    with requests_held(page, "**/queue/join*", "**/gradio_api/run/**"):
        page.get_by_role("tab", name="Search", exact=True).click()
        page.locator("#dataset input").click()
        page.locator("[role=option]", has_text="ants").click()
        page.wait_for_timeout(500)
    page.wait_for_timeout(3000)
    assert page.input_value("#dataset input") == "ants"


def test_what_cannot_be_taken_in_is_said(app, page, tmp_path):
    """A link and an unreadable folder were dropped without a word."""
    open_page(page, app)
    page.evaluate(
        """() => {
        const data = new DataTransfer();
        data.setData("text/uri-list", "https://example.org/");
        const place = document.querySelector("#upload .place");
        place.dispatchEvent(new DragEvent("drop", {dataTransfer: data, cancelable: true}));
        }"""
    )
    page.wait_for_selector("#upload .fault >> text=neither a file nor a folder")
    page.evaluate(
        """() => {
        const readEntries = (done, fail) => fail(new DOMException("not allowed"));
        const entry = {name: "a", isFile: false, createReader: () => ({readEntries})};
        const drop = new Event("drop", {cancelable: true});
        drop.dataTransfer = {items: [{webkitGetAsEntry: () => entry}]};
        document.querySelector("#upload .place").dispatchEvent(drop);
        }"""
    )
    page.wait_for_selector("#upload .fault >> text=could not be read: not allowed")
    assert page.locator("#upload .choose button").first.is_enabled()


def test_a_second_drop_during_an_upload_is_answered(app, page, tmp_path):
    photos = make_photos(tmp_path / "photos")
    open_page(page, app)
    page.route("**/upload", lambda route: None)  # The server never answers.
    upload_files(page, make_zip(photos, tmp_path / "photos.zip"))
    page.wait_for_selector("#upload .going button")
    drop(page, photos)
    page.wait_for_selector("#upload .fault >> text=Wait for this upload, or cancel it")
    page.click("#upload .going button")
    page.wait_for_selector("#upload .status >> text=cancelled")
    assert page.locator("#upload .fault").inner_text() == ""


def test_a_data_set_is_renamed_and_removed_after_a_question(app, page, tmp_path):
    open_page(page, app)
    upload_files(page, make_zip(make_photos(tmp_path / "photos"), tmp_path / "photos.zip"))
    tile_names(page)
    page.click("#data-manage button >> nth=0")
    page.fill("#data-new-name input, #data-new-name textarea", "leaves")
    page.click("#data-rename")
    page.wait_for_selector("#datasets >> text=leaves")
    page.click("#data-remove")
    page.wait_for_selector("#data-sure >> text=Delete leaves")
    page.click("#data-keep")
    page.wait_for_selector("#data-confirm", state="hidden")
    assert (app.home / "datasets" / "photos").is_dir()
    page.click("#data-remove")
    page.click("#data-confirm")
    page.wait_for_selector("#verdict >> text=No data set chosen")
    assert not (app.home / "datasets" / "photos").exists()


def test_the_tab_speaks_chinese(app, browser, tmp_path):
    context = browser.new_context(locale="zh-CN", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(app.url)
    page.wait_for_selector("#upload >> text=将文件夹或 zip 拖到这里")
    page.wait_for_selector("#verdict >> text=尚未选择数据集")
    upload_folder(page, numbered_cells(tmp_path / "cells"))
    page.wait_for_selector("#verdict-table >> text=请说明这些值的含义")
    page.click("#verdict-table .main")
    page.wait_for_selector("#verdict-table .message >> text=请为每个值填写类别名称")
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "classes", "images"),
    [
        ("coffee_leaf", ["background", "leaf", "symptom"], 500),
        ("dsb2018", ["background", "foreground"], 664),
    ],
)
def test_real_data_sets_are_taken_as_folders(app, page, name, classes, images):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not on this machine")
    open_page(page, app)
    upload_folder(page, SHARED / name)
    assert classes_shown(page) == classes
    assert len(tile_names(page)) == 24
    page.wait_for_selector(f"#gallery >> text={images} images")
    for place in range(24):
        page.locator("#gallery .tile").nth(place).scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('#gallery img, #verdict-table img')]"
        ".every((image) => image.complete && image.naturalWidth > 0)"
    )
    page.locator("#gallery .tile").nth(7).click()
    chosen = page.locator("#gallery .tile").nth(7).get_attribute("title")
    page.wait_for_selector(f"#data-canvas >> text={chosen}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(app, browser, tmp_path, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")

    def serious() -> list[tuple[str, list[str]]]:
        found = axe.Axe().run(page).response["violations"]
        bad = [item for item in found if item["impact"] in ("serious", "critical")]
        return [(item["id"], [node["html"] for node in item["nodes"]]) for item in bad]

    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{app.url}?__theme={theme}")
    upload_folder(page, numbered_cells(tmp_path / "cells"))
    page.wait_for_selector("#verdict-table table")
    page.click("#verdict-table .main")
    assert serious() == []
    page.click("#sample")
    page.wait_for_selector("#gallery img")
    assert serious() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
