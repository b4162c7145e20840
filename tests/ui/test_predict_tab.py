from pathlib import Path

import gradio as gr
import pytest

from autoseg.ui import predict_tab
from autoseg.ui.access import Access
from autoseg.ui.predict_events import Wish
from autoseg.ui.predict_kept import browser_states


def test_the_newest_model_is_chosen_with_its_examples(desk, run):
    values = predict_tab.opened(desk)
    assert values["model"]["value"] == "photos-1"
    pictures = values["examples"]["value"]
    assert pictures and all(Path(path).is_file() for path in pictures)
    assert not values["hint"]["visible"]


@pytest.mark.parametrize("typed", ["/models/leaf", "alice/leaves"])
def test_what_was_typed_stays_when_the_list_is_read_again(desk, run, typed):
    assert predict_tab.opened(desk, typed)["model"]["value"] == typed


def test_a_run_that_is_gone_is_no_longer_chosen(desk, run):
    assert predict_tab.opened(desk, "gone")["model"]["value"] == "photos-1"


def test_an_empty_workspace_says_what_to_do(desk):
    values = predict_tab.opened(desk)
    assert values["hint"]["visible"] and "Start a search" in values["hint"]["value"]
    assert not values["examples"]["visible"]


def test_a_choice_to_compare_with_does_not_hold_for_another_model():
    wish = Wish("photos-1", "nothing")
    assert wish.of("photos-1") == "nothing"
    assert wish.of("photos-2") is None
    assert Wish().of("photos-1") is None


def test_no_event_of_the_tab_is_part_of_the_api(workspace):
    with gr.Blocks() as page:
        predict_tab.build(workspace, Access(), browser_states())
    assert page.fns
    assert {event.api_visibility for event in page.fns.values()} == {"private"}
