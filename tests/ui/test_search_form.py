import pytest

from autoseg.errors import ConfigError
from autoseg.ui.search_form import Form


def test_a_form_becomes_a_configuration(workspace):
    form = Form("photos", "1h30m", seed=3.0, flip="none", n_trials=" 5 ", encoders=["resnet"])
    config = form.config(workspace)
    assert (config.budget_s, config.seed, config.flip, config.n_trials) == (5400, 3, "none", 5)
    assert config.encoders == ("resnet",)
    assert Form("photos", "90s").config(workspace).flip is None
    assert Form("photos", "90s", max_latency=" ").config(workspace).max_latency_ms is None
    assert Form("photos", "90s", max_latency="0.02s").config(workspace).max_latency_ms == 20


@pytest.mark.parametrize("budget", ["", None, "soon", "-5m"])
def test_a_budget_that_is_none_is_refused(workspace, budget):
    with pytest.raises(ConfigError):
        Form("photos", budget).config(workspace)
    assert set(Form("photos", budget).problems()) == {"budget"}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": None}, "dataset"),
        ({"n_trials": "0"}, "n_trials"),
        ({"n_trials": "-1"}, "n_trials"),
        ({"n_trials": "many"}, "n_trials"),
        ({"max_side": "8"}, "max_side"),
        ({"max_side": "1e3"}, "max_side"),
        ({"max_latency": "fast"}, "max_latency"),
        ({"max_latency": "-5ms"}, "max_latency"),
    ],
)
def test_an_error_belongs_to_its_field(changes, field):
    problems = Form(**{"dataset": "photos", "budget": "6m", **changes}).problems()
    assert set(problems) == {field} and problems[field]


@pytest.mark.parametrize(
    ("budget", "way_out"), [("3", "Write 3m"), ("2.5", "Write 2.5m"), ("10s", "20 s or more")]
)
def test_a_slip_of_a_budget_says_what_was_meant(budget, way_out):
    """ "3" was taken as three seconds."""
    assert way_out in Form("photos", budget).problems()["budget"]


@pytest.mark.parametrize("budget", ["20", "20s", "1m", "999h"])
def test_a_budget_of_some_length_holds(budget):
    assert Form("photos", budget).problems() == {}


def test_a_form_that_holds_has_no_problems():
    assert Form("photos", "6m", n_trials="3", max_side="256").problems() == {}
