"""The Predict tab in a real browser: images in, masks on the canvas, files and corrections out."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_process import App
from PIL import Image
from predict_helpers import finished_run
from workspace_helpers import make_photos

from autoseg.data.dataset import check_dataset
from autoseg.predictor import Predictor
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow  # A server and a browser each take seconds.


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app over two runs of one data set, the second trained on from the first."""
    home = tmp_path_factory.mktemp("home")
    workspace = Workspace(home)
    photos = workspace.add_dataset(make_photos(home / "photos", 8)).source
    first = finished_run(workspace, "photos-1", photos)
    finished_run(workspace, "photos-2", photos, seed=1, start_from=first.model)
    app = App(home)
    app.start()
    yield app
    app.end()


@pytest.fixture
def workspace(app) -> Workspace:
    return Workspace(app.home)


@pytest.fixture
def photos(workspace) -> Path:
    return workspace.dataset("photos").source


@pytest.fixture
def tab(app, page) -> Any:
    """The tab with the older of the two models."""
    return opened(page, app, "photos-1")


def opened(page: Any, app: App, model: str | None = None) -> Any:
    page.goto(app.url)
    page.get_by_role("tab", name="Predict", exact=True).click()
    page.wait_for_selector("#examples button")
    if model:
        choose(page, "#model", model)
    return page


def choose(page: Any, field: str, text: str) -> None:
    """Choose from a list by typing the beginning of what it is called."""
    box = page.locator(f"{field} input[role=combobox]")
    box.click()
    box.fill(text)
    page.locator("[role=option]", has_text=text).first.click()


def wait_for_canvas(page: Any, name: str = "") -> str:
    """Wait until the canvas has painted a result (of an image of that name); the result's id."""
    canvas = page.locator('#canvas .mc[data-status="ready"]')
    canvas.wait_for()
    if name:
        page.locator("#canvas .mc", has_text=name).wait_for()
    return canvas.get_attribute("data-result")


def wait_for_another(page: Any, former: str) -> str:
    page.locator(f'#canvas .mc[data-status="ready"]:not([data-result="{former}"])').wait_for()
    return wait_for_canvas(page)


def download(page: Any, output_format: str) -> Path:
    page.locator("#canvas").get_by_role("button", name="Download").click()
    with page.expect_download() as waited:
        page.locator(f"#canvas [data-format={output_format}]").click()
    file = waited.value.path()
    named = file.with_name(waited.value.suggested_filename)
    file.rename(named)
    return named


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_an_example_s_mask_is_painted_and_can_be_downloaded(tab, workspace, photos):
    tab.locator("#examples button").first.click()
    wait_for_canvas(tab)
    file = download(tab, "index")
    wanted = Predictor.from_pretrained(workspace.run("photos-1").path).predict(
        photos / "images" / f"{file.stem}.jpg"
    )
    assert np.array_equal(read(file), wanted.mask)
    assert np.array_equal(read(download(tab, "confidence")), wanted.confidence_image())


def test_events_that_leave_the_canvas_as_it_is_take_nothing_from_it(tab):
    """Gradio's "no change" used to take the menu of downloads and the Chinese texts away."""
    for name in ("Data", "Predict", "Data", "Predict"):
        tab.get_by_role("tab", name=name, exact=True).click()
        tab.wait_for_timeout(1000)
    tab.locator("#examples button").first.click()
    wait_for_canvas(tab)
    assert tab.locator("#canvas").get_by_role("button", name="Download").is_visible()


def test_an_example_is_compared_with_its_ground_truth(tab, app):
    tab.locator("#examples button").first.click()
    wait_for_canvas(tab)
    assert not tab.get_by_role("button", name="Differences").is_visible()
    choose(tab, "#compare", "Ground truth")
    tab.get_by_role("button", name="Differences").click()
    tab.get_by_role("button", name="Side by side").click()
    assert tab.locator("#canvas").get_by_text("Ground truth").first.is_visible()
    tab.goto(app.url)  # A reload compares again.
    tab.get_by_role("tab", name="Predict", exact=True).click()
    wait_for_canvas(tab)
    tab.get_by_role("button", name="Side by side").wait_for()
    assert tab.locator("#compare input").input_value() == "Ground truth"
    assert tab.get_by_text("Compare with (ground truth is in the list)").is_visible()


def test_a_model_that_was_trained_on_shows_what_changed(app, page):
    opened(page, app, "photos-2").locator("#examples button").first.click()
    wait_for_canvas(page)
    assert page.locator("#compare input").input_value() == ("Before the training went on: photos-1")
    assert page.get_by_role("button", name="Differences").is_visible()


def test_an_upload_is_predicted_at_once_and_again_by_another_model(tab, photos):
    tab.set_input_files("#image input[type=file]", photos / "images" / "scene_001.jpg")
    first = wait_for_canvas(tab, "scene_001")
    choose(tab, "#model", "photos-2")
    tab.click("#predict")
    wait_for_another(tab, first)


def test_a_pasted_image_is_predicted(tab, photos):
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    png = Image.open(photos / "images" / "scene_002.jpg")
    png.save(photos.parent / "pasted.png")
    data = list((photos.parent / "pasted.png").read_bytes())
    tab.evaluate(
        """async (data) => navigator.clipboard.write([new ClipboardItem({
            'image/png': new Blob([new Uint8Array(data)], {type: 'image/png'})})])""",
        data,
    )
    tab.locator("#image").get_by_label("Paste from clipboard").click()
    wait_for_canvas(tab)


def test_several_images_become_a_gallery_and_a_zip(tab, workspace, photos):
    files = sorted((photos / "images").iterdir())[:4]
    with tab.expect_file_chooser() as asked:
        tab.click("#several")
    asked.value.set_files(files)
    tab.locator("#batch .thumbnail-item").nth(3).wait_for()
    first = wait_for_canvas(tab)
    tab.locator("#batch .thumbnail-item").nth(2).click()
    wait_for_another(tab, first)
    tab.get_by_label("By name").check()
    tab.locator("#batch .thumbnail-item").first.get_by_text("scene_000").wait_for()
    tab.locator("#batch .thumbnail-item").nth(3).click()
    wait_for_canvas(tab, "scene_003")
    tab.get_by_role("button", name="Download all").click()
    with tab.expect_download() as waited:
        tab.click("#zip")
    predictor = Predictor.from_pretrained(workspace.run("photos-1").path)
    with zipfile.ZipFile(waited.value.path()) as archive:
        assert len(archive.namelist()) == 5
        for file in files:
            with archive.open(f"{file.stem}.png") as mask, Image.open(mask) as image:
                assert np.array_equal(np.asarray(image), predictor.predict(file).mask)


def test_a_reload_and_a_restart_show_the_batch_again(tab, app, photos):
    """A reload of the page used to take the gallery away, though all of it is on the disk."""
    tab.set_input_files("#image input[type=file]", photos / "images" / "scene_001.jpg")
    first = wait_for_canvas(tab, "scene_001")
    with tab.expect_file_chooser() as asked:
        tab.click("#several")
    asked.value.set_files(sorted((photos / "images").iterdir())[:3])
    tab.locator("#batch .thumbnail-item").nth(2).wait_for()
    first = wait_for_another(tab, first)
    tab.locator("#batch .thumbnail-item").nth(2).click()
    chosen = wait_for_another(tab, first)
    for restart in (False, True):
        if restart:
            app.end()
            app.start()
        tab.goto(app.url)
        tab.wait_for_selector("#card >> visible=true")
        tab.wait_for_timeout(2000)  # Another tab stood first when the page asked for them.
        tab.get_by_role("tab", name="Predict", exact=True).click()
        tab.locator("#batch .thumbnail-item").nth(2).wait_for()
        assert wait_for_canvas(tab) == chosen
        assert tab.locator("#batch .thumbnail-item.selected").count() == 1
        assert "photos-1" in tab.locator("#model input").input_value()
    tab.click("#predict")
    wait_for_another(tab, chosen)
    tab.locator("#batch .thumbnail-item").nth(2).wait_for()


@pytest.mark.parametrize("asked", ["example", "model"])
def test_what_is_asked_for_while_a_reload_reads_is_not_covered(tab, app, asked):
    """The results of before used to take the place of an answer that came while they were read."""
    choose(tab, "#model", "photos-2")
    tab.locator("#examples button").first.click()
    former, held = wait_for_canvas(tab), []

    def late(route: Any) -> None:
        if former in route.request.post_data:
            held.append((route, route.fetch()))
        else:
            route.continue_()

    tab.route("**/gradio_api/run/**", late)
    opened(tab, app)
    for _ in range(100):
        if held:
            break
        tab.wait_for_timeout(100)
    if asked == "example":
        tab.locator("#examples button").first.click()
        shown = wait_for_another(tab, former)
    else:
        choose(tab, "#model", "photos-1")
    route, answer = held.pop()
    route.fulfill(response=answer)
    tab.wait_for_timeout(3000)
    if asked == "example":
        assert wait_for_canvas(tab) == shown
    else:
        assert "photos-1" in tab.locator("#model input").input_value()


def test_a_reload_shows_no_other_user_s_images(app, browser, photos):
    """The browsers of shared computers are signed in to by one after the other."""
    guarded = App(app.home, arguments=[f"--auth={name}:a-long-password" for name in ("anna", "bo")])
    guarded.start()
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    try:
        for name, sees in (("anna", False), ("bo", False), ("anna", True)):
            context.clear_cookies()
            page.goto(guarded.url)
            page.get_by_label("username").fill(name)
            page.get_by_label("password").fill("a-long-password")
            page.get_by_role("button", name="Login").click()
            page.get_by_role("tab", name="Predict", exact=True).click()
            page.wait_for_selector("#examples button")
            page.wait_for_timeout(3000)
            assert page.locator("#canvas .mc[data-result]").count() == sees
            assert page.locator("#batch .thumbnail-item").count() == (2 if sees else 0)
            if name == "anna" and not sees:
                with page.expect_file_chooser() as asked:
                    page.click("#several")
                asked.value.set_files(sorted((photos / "images").iterdir())[:2])
                page.locator("#batch .thumbnail-item").nth(1).wait_for()
                wait_for_canvas(page)
    finally:
        context.close()
        guarded.end()


def draw(tab, *keys: str) -> None:
    """Correct the image that is shown, by keyboard."""
    tab.get_by_role("button", name="Correct", exact=True).click()
    tab.locator("#canvas canvas").first.focus()
    for key in keys:
        tab.keyboard.press(key)


def test_a_mask_drawn_by_keyboard_is_kept_and_can_be_taken_back(tab, workspace, photos):
    tab.locator("#examples button").first.click()
    wait_for_canvas(tab)
    name = download(tab, "index").stem
    draw(tab, "2", "Space", "ArrowRight", "Space")
    tab.get_by_role("button", name="Add to the data set").click()
    tab.locator("#message", has_text="is added to photos").wait_for()
    (kept,) = workspace.corrections("photos").all()
    assert kept.original == name
    dataset = check_dataset(photos, max_workers=1)
    own = Predictor.from_pretrained(workspace.run("photos-1").path)
    before = own.predict(photos / "images" / f"{name}.jpg").mask
    changed = kept.read_mask() != before
    assert 0 < changed.sum() < before.size
    assert set(kept.read_mask()[changed]) == {1} and len(dataset.classes.names) > 2
    tab.reload()
    tab.get_by_role("tab", name="Predict", exact=True).click()
    tab.get_by_role("button", name="Teach the model: corrections").wait_for()
    tab.locator("#corrections .thumbnail-item").click()
    tab.locator("#remove-correction:not([disabled])").click()
    tab.locator("#corrections-text", has_text="No corrections of photos yet").wait_for()
    assert workspace.corrections("photos").all() == ()


def test_a_drawing_outlives_the_app_that_predicted_it(tab, app, workspace):
    tab.locator("#examples button").first.click()
    wait_for_canvas(tab)
    draw(tab, "2", "Space")
    # An event that was under way makes Gradio load the page again; the browser asks before it does.
    tab.on("dialog", lambda dialog: dialog.dismiss())
    app.end()
    app.start()
    tab.get_by_role("button", name="Add to the data set").click()
    tab.locator("#canvas .mc-changed", has_text="Sent").wait_for()
    (kept,) = workspace.corrections("photos").all()
    workspace.corrections("photos").remove(kept.name)


def test_a_second_image_is_added_while_the_first_is_still_being_kept(tab, workspace):
    """Its event was dropped, and after a minute the page said that it was not sent."""
    held: list[Any] = []

    def late(route: Any) -> None:
        if not held and "changed_px" in route.request.post_data:
            held.append(route)
        else:
            route.continue_()

    tab.locator("#examples button").first.click()
    first = wait_for_canvas(tab)
    tab.route("**/gradio_api/run/**", late)
    draw(tab, "2", "Space")
    tab.get_by_role("button", name="Add to the data set").click()
    tab.locator("#image input[type=file]").set_input_files(
        sorted((workspace.dataset("photos").source / "images").iterdir())[0]
    )
    wait_for_another(tab, first)
    draw(tab, "2", "Space")
    tab.get_by_role("button", name="Add to the data set").click()
    tab.locator("#canvas .mc-changed", has_text="Sent").wait_for()
    corrections = workspace.corrections("photos")
    assert len(held) == 1 and len(corrections) == 1
    held[0].continue_()
    tab.wait_for_function("autosegUnanswered.size === 0")
    assert len(corrections) == 2
    corrections.clear()


@pytest.mark.slow
def test_a_correction_is_learnt_and_the_next_prediction_shows_what_changed(tab, workspace):
    tab.locator("#examples button").first.click()
    wait_for_canvas(tab)
    draw(tab, "2", "Space", "ArrowRight", "Space")
    tab.get_by_role("button", name="Add to the data set").click()
    tab.locator("#message", has_text="is added to photos").wait_for()
    tab.locator("#teach-budget input").fill("soon")
    tab.click("#train")
    tab.locator("#message [role=alert]").wait_for()
    tab.locator("#teach-budget input").fill("45s")
    tab.click("#train")
    card = tab.locator("#card", has_text="photos-corrected-1")
    card.locator(".as-pill", has_text="done").wait_for(timeout=300_000)
    run = workspace.named_run("photos-corrected-1")
    assert run.info().config.start_from == str(workspace.named_run("photos-1").model)
    former = tab.locator("#canvas .mc").get_attribute("data-result")
    tab.click("#try")
    tab.locator("#corrections-text", has_text="Learnt by this model already: 1.").wait_for()
    assert tab.locator("#message [role=alert]").count() == 0
    assert "Prediction of photos-1," in tab.locator("#canvas .mc-foot").inner_text()
    tab.locator("#examples button").first.click()
    wait_for_another(tab, former)
    assert "Prediction of photos-corrected-1," in tab.locator("#canvas .mc-foot").inner_text()
    assert tab.locator("#compare input").input_value() == "Before the training went on: photos-1"
    tab.get_by_role("button", name="Differences").click()


def test_the_canvas_says_whose_prediction_it_shows(tab):
    """After another model was chosen the former one's mask passed for that one's."""
    tab.locator("#examples button").first.click()
    former = wait_for_canvas(tab)
    foot = tab.locator("#canvas .mc-foot")
    assert "Prediction of photos-1," in foot.inner_text()
    choose(tab, "#model", "photos-2")
    tab.wait_for_timeout(500)
    assert "Prediction of photos-1," in foot.inner_text()
    tab.click("#predict")
    wait_for_another(tab, former)
    assert "Prediction of photos-2," in foot.inner_text()


def test_what_cannot_be_done_is_said(tab, tmp_path):
    assert tab.locator("#predict").is_disabled()
    tab.locator("#examples button").first.click()
    wait_for_canvas(tab)
    assert tab.locator("#predict").is_enabled()
    (tmp_path / "broken.png").write_text("no image")
    tab.set_input_files("#image input[type=file]", tmp_path / "broken.png")
    tab.locator("#message [role=alert]", has_text="does not decode").wait_for()
    tab.locator('#canvas .mc[data-status="empty"]').wait_for()  # The former one's mask stayed.
    box = tab.locator("#model input[role=combobox]")
    box.fill("/nowhere/at/all")
    box.press("Enter")
    tab.locator("#examples button").first.wait_for(state="hidden")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_tab_is_usable_on_a_phone_and_in_chinese(app, browser, theme):
    context = browser.new_context(viewport={"width": 390, "height": 844}, locale="zh-CN")
    page = context.new_page()
    page.goto(f"{app.url}?__theme={theme}")
    page.get_by_role("tab", name="预测", exact=True).click()
    page.locator("#examples button").first.click()
    wait_for_canvas(page)
    assert page.get_by_text("对比对象").is_visible()
    page.wait_for_timeout(1500)  # The page moves to what was asked for.
    for part in ("#compare", "#canvas canvas >> nth=0"):
        box = page.locator(part).bounding_box()
        assert 0 <= box["y"] and box["y"] + 200 < 844, part
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
