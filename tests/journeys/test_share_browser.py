"""The Share tab in a real browser, against the Hub of the tests."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from app_process import App
from bundle_helpers import make_info, make_model, make_report
from loopback_hub import ALICE, LoopbackHub
from PIL import Image

from autoseg.bundle import save_bundle
from autoseg.card import render_card
from autoseg.predictor import Predictor
from autoseg.search.run_folder import RunState
from autoseg.workspace import Workspace

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture
def app(tmp_path: Path, hub: LoopbackHub) -> Iterator[App]:
    """The app on a machine that is not signed in, with one finished run."""
    home = tmp_path / "home"
    run = Workspace(home).run("leaves-1")
    info = make_info()
    report = make_report(info.classes.names)
    card = render_card(info, report)
    save_bundle(run.model, make_model(info), info, report=report, card=card)
    run.write_state(RunState("done", "finished", 60.0, 50.0, 1.0, 1))
    app = App(home, hub.environment(tmp_path / "hf"))
    app.start()
    yield app
    app.end()


def open_share(page, app: App) -> None:
    page.goto(app.url)
    page.wait_for_selector("#card >> visible=true")  # The page has chosen its first tab.
    page.get_by_role("tab", name="Share").click()
    page.wait_for_selector("#account >> visible=true")


def sign_in(page) -> None:
    page.fill("#token input", ALICE.token)
    page.click("#sign-in")
    page.wait_for_selector("#account >> text=Signed in as alice")


def named(page) -> None:
    """Wait until a repository is proposed."""
    page.wait_for_function("document.querySelector('#push-repo textarea,#push-repo input').value")


def test_a_repository_that_was_named_outlives_a_sign_in_that_fails(app, page):
    """The field read {} after it."""
    open_share(page, app)
    page.fill("#push-repo textarea, #push-repo input", "me/leaves")
    page.fill("#token input", "hf_nobodyknowsit")
    page.click("#sign-in")
    page.wait_for_selector("#account >> text=Not possible")
    page.wait_for_timeout(1000)
    assert page.input_value("#push-repo textarea, #push-repo input") == "me/leaves"


def test_a_model_is_pushed_pulled_and_tried(app, page, hub, tmp_path):
    open_share(page, app)
    sign_in(page)
    assert page.input_value("#token input") == ""
    named(page)
    page.click("#push-preview")
    page.wait_for_selector("#push-plan >> text=model.safetensors")
    page.wait_for_selector("#push-card h1")
    page.click("#push")
    page.wait_for_selector("#push-plan a")
    assert "model.safetensors" in hub.files("alice/leaves-1")

    page.get_by_role("tab", name="Pull").click()
    page.locator("#pull-id textarea, #pull-id input").fill("alice/leaves-1")
    page.click("#pull")
    page.wait_for_selector("#pulled >> text=stem")
    page.click("#pulled-try")
    Image.fromarray(IMAGE).save(tmp_path / "image.png")
    page.set_input_files("#image input[type=file]", tmp_path / "image.png")
    page.wait_for_selector('#canvas .mc[data-status="ready"]')
    page.locator("#canvas").get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        page.click("#canvas [data-format=index]")
    with Image.open(download.value.path()) as file:
        mask = np.asarray(file)
    model = app.home / "runs" / "leaves-1" / "model"
    assert np.array_equal(mask, Predictor.from_pretrained(model).predict(IMAGE).mask)


@pytest.mark.slow
def test_a_token_stays_out_of_the_page_and_of_the_log(app, page):
    open_share(page, app)
    sign_in(page)
    named(page)
    page.click("#push")
    page.wait_for_selector("#push-plan a")
    assert ALICE.token not in page.content()
    assert ALICE.token not in (app.home / "app.log").read_text()
    open_share(page, app)
    page.wait_for_selector("#account >> text=Not signed in")


@pytest.mark.slow
def test_without_an_account_the_page_says_what_to_do(app, page):
    open_share(page, app)
    page.locator("#push-repo textarea, #push-repo input").fill("alice/leaves")
    page.click("#push")
    page.wait_for_selector("#push-plan [role=alert]")
    assert "Nobody is signed in" in page.inner_text("#push-plan")
