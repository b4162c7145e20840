import time
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from autoseg.config import MAX_FROZEN_DEPTH, Geometry
from autoseg.search.budget import RUNG_SHARES
from autoseg.search.space import EarlierWinner, SearchSpace
from autoseg.search.study import Study, step_of

SPACE = SearchSpace(
    ("a", "b"), Geometry(window=(64, 64), scale=1.0), ("fpn", "unet"), expected_trials=30
)
N_PORTFOLIO = len(SPACE.portfolio())


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "study.journal"


def tuned(params: dict[str, object]) -> dict[str, object]:
    return {**params, "frozen_depth": 0}


def points(study: Study, count: int) -> list[dict[str, object]]:
    """Points of trials whose score depends on the point alone."""
    found = []
    for _ in range(count):
        trial, params, _ = study.ask()
        found.append(params)
        study.complete(trial, 0.5 - abs(params["decoder_lr"] - 1e-3) * 100)
    return found


def test_the_default_comes_first_and_the_portfolio_before_the_sampler(journal):
    study = Study(journal, SPACE, seed=0)
    asked = [study.ask() for _ in range(N_PORTFOLIO + 2)]
    assert [params for _, params, _ in asked[:N_PORTFOLIO]] == SPACE.portfolio()
    origins = [origin for _, _, origin in asked]
    expected = ["default"] + ["portfolio"] * (N_PORTFOLIO - 1) + ["sampler"] * 2
    assert origins == expected


WON = {**SPACE.portfolio()[0], "frozen_depth": 1, "decoder_lr": 7e-4}
WARM = replace(SPACE, earlier=(EarlierWinner("leaf-1", WON),))


def test_what_won_an_earlier_run_comes_second_and_says_so(journal):
    study = Study(journal, WARM, seed=0)
    asked = [study.ask() for _ in range(N_PORTFOLIO + 2)]
    default, *others = SPACE.portfolio()
    assert [params for _, params, _ in asked[:-1]] == [default, WON, *others]
    origins = [origin for _, _, origin in asked]
    expected = ["default", "earlier run"] + ["portfolio"] * (N_PORTFOLIO - 1) + ["sampler"]
    assert origins == expected
    runs = [study.won_run(trial) for trial, _, _ in asked]
    assert runs == [None, "leaf-1"] + [None] * N_PORTFOLIO


def test_a_resumed_study_goes_on_after_what_won_earlier_runs(journal):
    assert points(Study(journal, WARM, seed=0), 2) == [SPACE.portfolio()[0], WON]
    resumed = Study(journal, WARM, seed=0)
    assert points(resumed, N_PORTFOLIO - 1) == SPACE.portfolio()[1:]


def test_what_won_an_earlier_run_is_that_also_when_it_is_tried_again(journal):
    killed = Study(journal, WARM, seed=0)
    points(killed, 1)
    killed.ask()
    resumed = Study(journal, WARM, seed=0)
    resumed.retry_interrupted({})
    trial, params, origin = resumed.ask()
    assert (params, origin, resumed.won_run(trial)) == (WON, "earlier run", "leaf-1")
    resumed.fail(trial)
    resumed.retry_slower(trial, params)
    assert resumed.ask()[1:] == (SPACE.portfolio()[1], "portfolio")  # Once is enough.


def test_the_same_seed_asks_for_the_same_recipes(tmp_path):
    found = [
        points(Study(tmp_path / f"{k}.journal", SPACE, seed=seed), N_PORTFOLIO + 8)
        for k, seed in enumerate((7, 7, 8))
    ]
    assert found[0] == found[1] and found[0] != found[2]


def test_a_resumed_study_goes_on_and_repeats_nothing(journal):
    first = points(Study(journal, SPACE, seed=0), N_PORTFOLIO + 3)
    resumed = Study(journal, SPACE, seed=0)
    assert resumed.finished() == len(first)
    more = points(resumed, 3)
    assert not any(point in first for point in more)
    assert resumed.finished() == len(first) + 3


def test_a_killed_trial_comes_again_and_before_the_rest(journal):
    """A retried point waited behind the whole portfolio, so that a killed default came last."""
    killed = Study(journal, SPACE, seed=0)
    trial, params, _ = killed.ask()
    resumed = Study(journal, SPACE, seed=0)
    assert resumed.retry_interrupted({}) == [trial.number]
    again, same, origin = resumed.ask()
    assert same == params and origin == "default" and again.number != trial.number
    asked = [resumed.ask()[1] for _ in range(N_PORTFOLIO - 1)]
    assert asked == SPACE.portfolio()[1:]


def test_a_sampled_trial_that_was_killed_comes_again_too(journal):
    killed = Study(journal, SPACE, seed=0)
    points(killed, N_PORTFOLIO)
    _, params, origin = killed.ask()
    assert origin == "sampler"
    resumed = Study(journal, SPACE, seed=0)
    resumed.retry_interrupted({})
    assert resumed.ask()[1:] == (params, "sampler")
    assert resumed.retry_interrupted({}) != []  # And again, if it is killed again.
    assert resumed.ask()[1] == params


@pytest.mark.parametrize("n_left", range(1, 4))
def test_a_trial_killed_before_all_of_it_was_suggested_comes_again_as_it_was(journal, n_left):
    """The default came back with one parameter of its own and the rest sampled."""
    killed = Study(journal, SPACE, seed=0)
    trial, params, _ = killed.ask()
    lines = journal.read_bytes().splitlines(keepends=True)
    n_suggested = len(trial.params)
    journal.write_bytes(b"".join(lines[: len(lines) - n_suggested + n_left]))
    resumed = Study(journal, SPACE, seed=0)
    (left,) = resumed._study.get_trials(states=(TrialState.RUNNING,))
    assert len(left.params) == n_left < n_suggested
    assert resumed.retry_interrupted({}) == [trial.number]
    assert resumed.ask()[1:] == (params, "default")


def test_nothing_is_retried_twice(journal):
    killed = Study(journal, SPACE, seed=0)
    killed.ask()
    first = Study(journal, SPACE, seed=0)
    assert len(first.retry_interrupted({})) == 1
    assert first.retry_interrupted({}) == []
    assert Study(journal, SPACE, seed=0).retry_interrupted({}) == []


def reported(study: Study, score: float, depth: int = 0) -> tuple[int, float | None]:
    """Rungs a trial of one score sees before it is pruned, and the share at which it is."""
    trial, params, _ = study.ask()
    params["frozen_depth"] = depth
    for rung, share in enumerate(RUNG_SHARES, start=1):
        if study.report(trial, params, share, score):
            study.prune(trial)
            return rung, share
    study.complete(trial, score)
    return len(RUNG_SHARES), None


def test_the_first_trial_is_never_pruned(journal):
    assert reported(Study(journal, SPACE, seed=0), 0.01) == (3, None)


def test_a_bad_trial_is_pruned_at_the_first_rung_once_three_were_there(journal):
    study = Study(journal, SPACE, seed=0)
    for score in (0.5, 0.51, 0.52):
        reported(study, score)
    assert reported(study, 0.1) == (1, RUNG_SHARES[0])
    assert reported(study, 0.6) == (3, None)


def test_of_many_trials_about_a_third_reaches_the_next_rung(journal):
    study = Study(journal, SPACE, seed=0)
    scores = [0.2 + 0.6 * ((37 * k) % 100) / 100 for k in range(60)]
    rungs = [reported(study, score)[0] for score in scores]
    survivors = [score for score, rung in zip(scores, rungs, strict=True) if rung > 1]
    assert 15 <= len(survivors) <= 30
    assert sum(survivors) / len(survivors) > sum(scores) / len(scores) + 0.1


def test_a_trial_that_was_seen_through_is_complete_however_it_scored(journal):
    """At the last rung there is nothing left to save by pruning."""
    study = Study(journal, SPACE, seed=0)
    reported(study, 0.9)
    trial, params, _ = study.ask()
    assert not study.report(trial, tuned(params), 1.0, 0.1)


def test_trials_on_the_frozen_encoder_are_never_pruned_and_prune_nobody(journal):
    study = Study(journal, SPACE, seed=0)
    for score in (0.9, 0.91, 0.92, 0.93):
        assert reported(study, score, depth=MAX_FROZEN_DEPTH) == (3, None)
    assert reported(study, 0.3) == (3, None)  # The first of the fine-tuned ones.
    for score in (0.31, 0.32):
        reported(study, score)
    assert reported(study, 0.01, depth=MAX_FROZEN_DEPTH) == (3, None)


def test_a_trial_that_diverged_comes_back_once_with_a_third_of_its_rate(journal):
    study = Study(journal, SPACE, seed=0)
    trial, params, _ = study.ask()
    study.fail(trial)
    study.retry_slower(trial, params)
    found = []
    for _ in range(N_PORTFOLIO):
        again, slower, origin = study.ask()
        if slower["decoder_lr"] == pytest.approx(params["decoder_lr"] / 3):
            found.append((again, slower, origin))
    ((again, slower, origin),) = found
    assert {**slower, "decoder_lr": params["decoder_lr"]} == params and origin == "default"
    waiting = study._study.get_trials(states=(TrialState.WAITING,))
    study.fail(again)
    study.retry_slower(again, slower)
    assert study._study.get_trials(states=(TrialState.WAITING,)) == waiting


def test_a_rate_at_the_lower_end_is_not_lowered(journal):
    study = Study(journal, SPACE, seed=0)
    trial, params, _ = study.ask()
    study.fail(trial)
    study.retry_slower(trial, {**params, "decoder_lr": 4e-4})
    assert points(study, N_PORTFOLIO - 1) == SPACE.portfolio()[1:]


def test_failed_trials_are_not_counted_as_finished(journal):
    study = Study(journal, SPACE, seed=0)
    first, second, third = (study.ask()[0] for _ in range(3))
    study.fail(first)
    study.complete(second, 0.4)
    third.report(0.2, step_of(RUNG_SHARES[0]))
    study.prune(third)
    assert study.finished() == 2


def test_a_journal_cut_off_in_a_line_is_read_up_to_there(journal):
    """A full disk or a kill may leave half a line."""
    points(Study(journal, SPACE, seed=0), 4)
    journal.write_bytes(journal.read_bytes()[:-7])
    study = Study(journal, SPACE, seed=0)
    assert study.finished() >= 3
    study.retry_interrupted({})
    points(study, 2)
    assert Study(journal, SPACE, seed=0).finished() >= 5


def test_a_lock_that_a_killed_process_left_is_not_waited_for(journal):
    """Optuna's own lock is a link to the journal; it gives up on a stale one after 30 seconds."""
    Study(journal, SPACE, seed=0)
    journal.with_name(f"{journal.name}.lock").symlink_to(journal)
    started = time.monotonic()
    points(Study(journal, SPACE, seed=0), 1)
    assert time.monotonic() - started < 10


def test_a_trial_killed_after_its_end_was_recorded_is_not_tried_again(journal):
    """The finished trial came back as a new one, and its own record was marked as failed."""
    first = Study(journal, SPACE, seed=0)
    complete, pruned, lost = (first.ask()[0].number for _ in range(3))
    resumed = Study(journal, SPACE, seed=0)
    assert resumed.retry_interrupted({complete: 0.5, pruned: None}) == [lost]
    assert resumed.finished() == 2


def test_the_parameter_that_decides_is_the_most_important(journal):
    study = Study(journal, SPACE, seed=0)
    points(study, 3)
    assert study.importances() == (3, {})
    points(study, 30)
    n_trials, shares = study.importances()
    assert n_trials == 33 and max(shares, key=shares.get) == "decoder_lr"
    assert set(shares) >= {"encoder", "frozen_depth", "encoder_lr_ratio"}  # Conditional ones too.
    assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) >= 0


WITH_FROZEN = replace(
    SPACE, encoders=("a", "b", "vit"), vit_encoders=("vit",), frozen_encoders=("vit",)
)


def test_a_study_goes_on_learning_beside_an_encoder_that_is_only_tried_frozen(journal, caplog):
    study = Study(journal, WITH_FROZEN, seed=0)
    optuna.logging.enable_propagation()
    found = points(study, 60)
    optuna.logging.disable_propagation()
    assert not caplog.records
    frozen = [params for params in found if params["encoder"] == "vit"]
    assert {params["frozen_depth"] for params in frozen} == {MAX_FROZEN_DEPTH}
    assert 3 <= len(frozen) <= 50
    asked = [trial.params for trial in study._study.trials]
    assert all(("frozen_depth" in one) == (one["encoder"] != "vit") for one in asked)
    n_trials, shares = study.importances()
    assert n_trials == 60 and {"encoder", "frozen_depth", "decoder_lr"} <= set(shares)
    assert sum(shares.values()) == pytest.approx(1)


def test_a_trial_of_it_that_was_killed_or_diverged_comes_again_frozen(journal):
    killed = Study(journal, WITH_FROZEN, seed=0)
    points(killed, 2)
    _, params, _ = killed.ask()
    assert params["encoder"] == "vit"
    resumed = Study(journal, WITH_FROZEN, seed=0)
    assert len(resumed.retry_interrupted({})) == 1
    trial, again, origin = resumed.ask()
    assert (again, origin) == (params, "portfolio")
    other = Study(journal.with_name("other"), WITH_FROZEN, seed=0)
    points(other, 2)
    trial, params, _ = other.ask()
    other.fail(trial)
    other.retry_slower(trial, params)
    slower = next(p for p in points(other, 2) if p["encoder"] == "vit")
    assert slower == {**params, "decoder_lr": params["decoder_lr"] / 3}
