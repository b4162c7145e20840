import gradio as gr
import pytest
from gradio.context import LocalContext
from ui_helpers import trial

from autoseg.search.run_folder import RunState
from autoseg.ui import words
from autoseg.ui.texts import dictionary


@pytest.fixture
def chinese_reader():
    before = LocalContext.request.set(gr.Request(headers={"accept-language": "zh-CN"}))
    yield
    LocalContext.request.reset(before)


def state(message: str, **changes: object) -> RunState:
    return RunState("running", "searching", 60, 1, 1, 1, message=message, **changes)


def test_why_a_trial_was_pruned_is_said_with_its_numbers(chinese_reader):
    reason = "scored 45.7 after 25 % of its length: not among the best third at that point"
    said = words.ending(reason)
    assert "45.7" in said and "25" in said and "scored" not in said


def test_for_which_run_another_waits_is_said(chinese_reader):
    said = words.message(state("Waits for sample-1: one …", waits_for="sample-1"))
    assert "sample-1" in said and "Waits" not in said


def test_of_which_trial_a_model_was_made_is_said(chinese_reader):
    text = "Trial 3 of leaves-1 as the search trained it, without final training."
    said = words.message(state(text))
    assert "leaves-1" in said and "3" in said and "Trial" not in said


COMPILED = [
    "Compiling the network, for faster steps.",
    "Memory ran out for the compiled network: training goes on without.",
    "The network was compiled in 62 s: a step takes 41 ms instead of 70 ms.",
    "The network was compiled in 62 s, but its steps are no faster: training goes on without.",
    "The network could not be compiled, and training goes on without: OSError: 41",
]


@pytest.mark.parametrize("text", COMPILED)
def test_what_came_of_compiling_is_said_with_its_numbers(chinese_reader, text):
    said = words.message(state(text))
    assert "train" not in said and "ompil" not in said
    assert all(number in said for number in ("62", "41", "70", "OSError") if number in text)


def test_that_memory_was_short_is_said_with_its_numbers(chinese_reader):
    text = "Memory was short: the decoder learnt from 64 windows instead of 4,000."
    said = words.message(state(text))
    assert "64" in said and "4,000" in said and "Memory" not in said


def test_what_nobody_translated_stays_as_it_stands(chinese_reader):
    assert words.ending("CUDA out of memory") == "CUDA out of memory"
    assert words.message(state("Something else.")) == "Something else."
    assert words.parameter_name("novel") == "novel"
    assert words.status_name("novel") == "novel"


@pytest.mark.parametrize(
    "status", ["queued", "running", "paused", "interrupted", "done", "failed", "set aside"]
)
def test_every_status_has_a_word(chinese_reader, status):
    assert not words.status_name(status).isascii()


def test_every_parameter_of_the_search_has_a_plain_name(chinese_reader):
    known = set(vars(trial(0).recipe)) - {"geometry", "flip", "train_norm", "batch_size", "epochs"}
    names = {name.removesuffix("_name") for name in known}
    assert all(not words.parameter_name(name).isascii() for name in names)


JARGON = ("stochastic", "shallow", "calibrat", "folds", "prune", "single encoder", "any like")


@pytest.mark.parametrize("word", JARGON)
def test_the_page_says_it_in_plain_words(word):
    """The field's words stay in the code and in the records; these texts are the page's own."""
    assert [text for text in dictionary("zh") if word in text.lower()] == []
