"""Making a model of a faster trial, in a real browser."""

import pytest
from taking_helpers import takeable_run

from autoseg.data.sample import make_sample_dataset
from autoseg.workspace import Workspace

pytestmark = pytest.mark.slow  # A server and a browser each take seconds.


def test_a_faster_trial_becomes_a_model_that_predict_knows(app, page):
    source = make_sample_dataset(app.home / "datasets" / "photos", n_images=12, size=(96, 128))
    takeable_run(Workspace(app.home), "photos-1", source)
    page.goto(app.url)
    page.get_by_role("tab", name="Search").click()
    page.wait_for_selector("#card >> text=photos-1")
    page.wait_for_function(
        "document.querySelector('#take-trial input')?.value.startsWith('Trial 1')"
    )
    page.click("#take")
    page.wait_for_selector("#card >> text=photos-1-trial-1", timeout=120_000)
    page.wait_for_selector("#report >> text=Winner of the search")
    page.wait_for_selector("#take-box", state="hidden")
    page.locator("#runs").get_by_text("photos-1 ·").click()
    page.wait_for_selector("#take-box")
    page.click("#take")
    page.wait_for_selector("#take-problem >> text=is there already")
    page.get_by_role("tab", name="Predict").click()
    page.locator("#model input").click()
    page.wait_for_selector("[role=option] >> text=photos-1-trial-1")
