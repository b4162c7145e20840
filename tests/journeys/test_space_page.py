"""The page of a Space in a real browser: an example, the files to download, a phone's width."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from bundle_helpers import make_bundle
from PIL import Image
from space_helpers import plain_environment, running_space

from autoseg.config import ClassInfo
from autoseg.examples import draw_example
from autoseg.predictor import Predictor

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH"),
]


@pytest.fixture
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def environment(*models: Path) -> dict[str, str]:
    named = ",".join(map(str, models))
    return {**plain_environment(), "PYTHONPATH": str(ROOT), "AUTOSEG_MODELS": named}


def make_model(folder: Path) -> Path:
    """A model with one example."""
    bundle = make_bundle(folder)
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    (bundle / "examples").mkdir()
    picture = draw_example(image, mask, mask, ClassInfo(("a", "b"), ((0, 0, 0), (255, 0, 0))))
    (bundle / "examples" / "example_1.jpg").write_bytes(picture)
    return bundle


def test_an_example_is_predicted_and_its_mask_can_be_downloaded(browser, tmp_path):
    bundle = make_model(tmp_path / "leaves")
    errors: list[str] = []
    with running_space("predict", tmp_path / "log", environment=environment(bundle)) as url:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.locator("#examples button").first.click()
        page.wait_for_selector("#classes table")
        with page.expect_download() as overlay:
            page.click("#overlay-file")
        with page.expect_download() as mask:
            page.click("#mask-file")
        with Image.open(overlay.value.path()) as file:
            size = file.size
        with Image.open(mask.value.path()) as file:
            assert file.size == size
            values = set(np.unique(np.asarray(file)).tolist())
        assert values <= set(range(len(Predictor.from_pretrained(bundle).class_names)))
    assert errors == []


@pytest.mark.parametrize("kind", ["predict", "gallery"])
def test_nothing_is_wider_than_a_phone(browser, tmp_path, kind):
    models = make_model(tmp_path / "leaves"), make_bundle(tmp_path / "roots", num_classes=5)
    with running_space(kind, tmp_path / "log", environment=environment(*models)) as url:
        for theme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 390, "height": 844})
            page.set_default_timeout(60_000)
            page.goto(f"{url}?__theme={theme}")
            page.locator("#examples button").first.click()
            page.wait_for_selector("#classes table, #classes-0 table")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            page.close()
