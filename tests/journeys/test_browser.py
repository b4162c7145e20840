"""The page in a real browser, from an empty workspace to a mask, with the real search."""

from pathlib import Path

import numpy as np
import pytest
from app_process import App
from PIL import Image

from autoseg.predictor import Predictor


def make_sample(page, app: App) -> None:
    page.goto(app.url)
    page.click("#sample")
    page.wait_for_selector("#verdict table")


def test_the_sample_is_made_checked_and_there_after_a_reload(app, page):
    make_sample(page, app)
    names = page.eval_on_selector_all(
        "#verdict input[type=text]", "fields => fields.map((field) => field.value)"
    )
    assert "vehicle" in names
    page.wait_for_selector("#gallery img")
    page.reload()
    page.wait_for_selector("#verdict table")
    page.wait_for_selector("#gallery img")


def test_what_cannot_be_done_is_said_on_the_page(app, page, tmp_path):
    archive = tmp_path / "broken.zip"
    archive.write_text("no zip")
    page.goto(app.url)
    page.set_input_files("#upload input[type=file]", archive)
    page.wait_for_selector("#verdict [role=alert]")
    assert "broken.zip" in page.inner_text("#verdict")
    page.get_by_role("tab", name="Search").click()
    page.click("#start")
    page.wait_for_selector("#dataset >> text=No data set is chosen")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(app, browser, theme):
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"{app.url}?__theme={theme}")
    page.click("#sample")
    page.wait_for_selector("#verdict table")
    for tab in ("Data", "Search", "Predict", "Share"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


@pytest.mark.slow
def test_from_an_empty_workspace_to_a_mask(app, page):
    """Reloads, a second tab and a restart of the app in mid-search lose nothing; Stop finishes."""
    make_sample(page, app)
    page.click("#use")
    budget = page.locator("#budget input[type=text]")
    budget.fill("4m")
    budget.press("Enter")
    page.click("#start")
    page.wait_for_selector("#card >> text=sample-1")
    page.wait_for_selector("#card >> text=running")

    page.goto("about:blank")  # Else it may be fetching a script when the app ends.
    app.end()
    app.start()
    page.goto(app.url)
    page.wait_for_selector("#card >> text=sample-1")
    second = page.context.new_page()
    second.goto(app.url)
    second.wait_for_selector("#card >> text=sample-1")
    page.wait_for_selector("#trials tbody tr", timeout=180_000)
    second.wait_for_selector("#trials tbody tr", timeout=10_000)
    second.close()
    # A search that is stopped before its second evaluation has no learning curve.
    page.wait_for_selector("#curves svg.marks", timeout=180_000)

    page.click("#stop")
    page.wait_for_selector("#stop:disabled")
    page.wait_for_selector("#card >> text=done", timeout=180_000)
    page.wait_for_selector("#report table")
    page.wait_for_selector("#curves svg.marks")
    page.reload()
    page.wait_for_selector("#report table")

    page.click("#try")
    page.locator("#examples button").first.click()
    page.wait_for_selector('#canvas .mc[data-status="ready"]')
    page.locator("#canvas").get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        page.click("#canvas [data-format=index]")
    mask = read_png(download.value.path())
    assert mask.shape == (192, 256)
    own = own_probabilities(app, download.value.suggested_filename)
    given = np.take_along_axis(own, mask[None].astype(int), 0)[0]
    assert np.all(
        own.max(0) - given < 0.02
    )  # With other threads sums round otherwise: ties differ.


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def own_probabilities(app: App, name: str) -> np.ndarray:
    """Probabilities (K, H, W) for the same image by the same model, without the page."""
    source = app.home / "datasets" / "sample" / "images" / f"{Path(name).stem}.jpg"
    predictor = Predictor.from_pretrained(app.home / "runs" / "sample-1")
    return predictor.predict(source, with_probabilities=True).probabilities
