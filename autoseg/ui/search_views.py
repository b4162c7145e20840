"""What the search tab shows of a run, as HTML made from plain records; all of it escaped."""

import base64
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, get_args

from autoseg.search.run_folder import Phase, RunState, TrialRecord
from autoseg.ui import views
from autoseg.ui.search_scores import Headline
from autoseg.ui.texts import tr
from autoseg.ui.words import ending, message, parameter_name, phase_name, status_name

LIVE = ("queued", "running")
"""Statuses of a run that a process works on, or waits with."""

CLOCK_JS = """
(() => {
  const fill = () => element.querySelectorAll('time').forEach((node) => {
    const seconds = node.dataset.in ? Date.now() / 1000 + Number(node.dataset.in)
      : Number(node.dataset.at);
    const at = new Date(1000 * seconds);
    const today = at.toDateString() === new Date().toDateString();
    const far = at - Date.now() >= 86400000;
    const year = at.getFullYear() === new Date().getFullYear() ? {} : {year: 'numeric'};
    const date = far ? {month: 'short', day: 'numeric', ...year} : {};
    const day = today ? {} : {weekday: 'short', ...date};
    node.textContent = at.toLocaleString(document.documentElement.lang || 'en',
      {hour: '2-digit', minute: '2-digit', ...day});
  });
  watch('value', fill);
  fill();
})();
"""
"""Script of a component whose times of day are those of the reader's clock."""


def clock(at: float) -> str:
    """A moment, in Unix seconds, that `CLOCK_JS` writes as the reader's time of day."""
    return f'<time data-at="{at:.0f}"></time>'


def clock_in(seconds: float) -> str:
    """A moment some seconds from now, as `clock`; the text stays the same while they do."""
    return f'<time data-in="{seconds:.0f}"></time>'


def run_card(
    name: str, state: RunState, about: str, n_trials: int, resources: Mapping[str, Any] | None,
    score: Headline | None,
) -> str:  # fmt: skip
    """Where a run stands.

    Args:
        name: Of the run.
        state: Its record.
        about: Its data set, and the run that it goes on from.
        n_trials: Trials so far.
        resources: What the computer is busy with; None where it is not known.
        score: Of its model; None while there is none.
    """
    live = state.status in LIVE
    parts = [
        f'<div class="top"><b>{escape(name)}</b>'
        f"{views.pill(state.status, status_name(state.status))}"
        f'<span class="as-dim">{escape(about)}</span></div>',
        _facts(state, n_trials, score),
    ]
    if live:
        parts += [_time_bar(state), _steps(state)]
    if state.status == "running" and resources:
        parts.append(_resources(resources))
    if state.error:
        parts.append(views.error(state.error))
    elif state.message:
        parts.append(views.note(message(state)))
    return f'<div class="as-card">{"".join(parts)}</div>'


def elapsed_s(state: RunState) -> float:
    """Time of its budget that a run has used, in seconds; it stands still while nothing runs."""
    since = max(0.0, time.time() - state.updated_at) if state.status == "running" else 0.0
    return state.elapsed_s + since


def _facts(state: RunState, n_trials: int, score: Headline | None) -> str:
    elapsed = elapsed_s(state)
    left = max(0.0, state.budget_s - elapsed)
    facts = {
        tr("IoU per image"): _score(score),
        tr("Trials"): str(n_trials),
    }
    if state.status == "running":
        facts[tr("Time left")] = views.duration(left)
        facts[tr("Done at about")] = clock(time.time() + left)
    else:
        facts[tr("Time used")] = views.duration(elapsed)
        facts[tr("Budget")] = views.duration(state.budget_s)
    cells = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    return f'<dl class="as-facts">{cells}</dl>'


def _score(score: Headline | None) -> str:
    """A score above its interval and what it was measured on."""
    if score is None:
        return "–"
    below = "<br>".join(filter(None, (score.interval, score.images)))
    return (
        f'{views.percent(score.value)}<small style="display:block;line-height:1.4">{below}</small>'
    )


def _time_bar(state: RunState) -> str:
    width = f"{100 * min(1.0, elapsed_s(state) / state.budget_s):.1f}"
    return (
        f'<div class="as-bar" role="progressbar" aria-label="{tr("Time used")}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{width}"><i style="width:{width}%"></i></div>'
    )


def _steps(state: RunState) -> str:
    phases: tuple[str, ...] = get_args(Phase)[:-1]
    position = phases.index(state.phase) if state.phase in phases else len(phases)
    items = []
    for k, phase in enumerate(phases):
        kind = "past" if k < position else "now" if k == position else ""
        progress = f" {100 * state.progress:.0f} %" if k == position and state.progress else ""
        current = ' aria-current="step"' if kind == "now" else ""
        items.append(f'<li class="{kind}"{current}>{phase_name(phase)}{progress}</li>')
    return f'<ol class="as-steps" aria-label="{tr("Phases")}">{"".join(items)}</ol>'


def _resources(values: Mapping[str, Any]) -> str:
    """Memory, processor and GPU, each with a bar."""
    meters = [
        _meter(tr("Memory"), values.get("memory_bytes"), values.get("memory_total_bytes")),
        _share(tr("Processor"), (values.get("cpu_percent") or 0.0) / 100),
    ]
    if gpu := values.get("gpu"):
        name = str(gpu.get("name") or tr("GPU"))
        meters.append(
            _meter(tr("Memory of {name}", name=name), gpu.get("used_bytes"), gpu.get("total_bytes"))
        )
        if gpu.get("utilization") is not None:
            meters.append(_share(name, gpu["utilization"]))
    return f'<dl class="as-meters">{"".join(filter(None, meters))}</dl>'


def _meter(title: str, used: float | None, total: float | None) -> str:
    if not used or not total:
        return ""
    said = tr("{used} of {total} GB", used=f"{used / 1e9:.1f}", total=f"{total / 1e9:.1f}")
    return _bar(title, said, used / total)


def _share(title: str, share: float) -> str:
    return _bar(title, f"{100 * share:.0f} %", share)


def _bar(title: str, said: str, share: float) -> str:
    width = f"{100 * min(1.0, max(0.0, share)):.1f}"
    return (
        f"<div><dt>{escape(title)}</dt><dd>{said}"
        f'<span class="as-bar"><i style="width:{width}%"></i></span></dd></div>'
    )


def ranked(trials: Iterable[TrialRecord]) -> list[TrialRecord]:
    """Trials as the table shows them: the running ones, then the best first."""
    return sorted(
        trials,
        key=lambda trial: (
            trial.status != "running", trial.score is None, -(trial.score or 0.0), trial.number,
        ),
    )  # fmt: skip


def trials(records: Sequence[TrialRecord], best_trial: int | None) -> str:
    """The table of trials."""
    if not records:
        return views.empty(
            tr("No trial yet"), tr("The first one starts when the data is prepared.")
        )
    ordered = ranked(records)
    header = (
        tr("Trial"), tr("Score"), tr("Status"), tr("Encoder"), tr("Decoder"), tr("Frozen depth"),
        tr("Learning rate"), tr("Epochs"), tr("Time"), tr("Per image"), tr("Why it ended"),
    )  # fmt: skip
    best = [k for k, trial in enumerate(ordered) if trial.number == best_trial]
    return views.table(
        header,
        [_trial_row(trial, trial.number == best_trial) for trial in ordered],
        numbers=(0, 1, 6, 7, 8, 9),
        caption=tr("Trials, the best first"),
        best=best,
        tall=True,
    )


def _trial_row(trial: TrialRecord, is_best: bool) -> Sequence[str]:
    marks = [_mark("★", tr("Best so far"))] if is_best else []
    if trial.from_run is not None:
        marks.append(_mark("↩", tr("Its recipe won the run {run}", run=trial.from_run)))
    return (
        " ".join((str(trial.number), *marks)),
        views.percent(trial.score),
        views.pill(trial.status, status_name(trial.status)),
        _encoder(trial.recipe.encoder_name),
        escape(trial.recipe.decoder_name),
        frozen_depth(trial.recipe.frozen_depth),
        f"{trial.recipe.decoder_lr:.2g}",
        f"{trial.curve[-1].epochs:.1f}" if trial.curve else "–",
        views.duration(trial.seconds),
        milliseconds(trial.latency_ms),
        f'<div class="wide">{escape(ending(trial.reason))}</div>',
    )


def _mark(sign: str, meaning: str) -> str:
    """A sign that says what it means when pointed at, and to those who cannot see it."""
    return f'<span title="{escape(meaning)}" aria-label="{escape(meaning)}">{sign}</span>'


def _encoder(name: str) -> str:
    """An encoder by its short name; the whole one, with the tag of its weights, when pointed at."""
    return f'<span title="{escape(name)}">{escape(short_name(name))}</span>'


def short_name(encoder_name: str) -> str:
    """An encoder without the tag of its weights."""
    return encoder_name.partition(".")[0]


def frozen_depth(depth: int) -> str:
    """How much of the encoder stays as it was pretrained."""
    return {0: tr("0 (none)"), 4: tr("4 (all)")}.get(depth, str(depth))


def milliseconds(value: float | None) -> str:
    """A time per image; a dash where it was not measured."""
    if value is None:
        return "–"
    return tr("{value} ms", value=f"{value:.0f}" if value >= 10 else f"{value:.1f}")


def importances(values: Mapping[str, Any] | None) -> str:
    """How much of the difference between trials each parameter explains, the largest first."""
    shares: Mapping[str, float] = (values or {}).get("importances") or {}
    if not shares:
        return views.empty(
            tr("What matters is not known yet"), tr("It takes four finished trials to tell.")
        )
    bars = "".join(
        _bar(parameter_name(name), f"{100 * share:.0f} %", share)
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
    )
    count = int((values or {}).get("n_trials") or 0)
    return (
        f'<div class="as-card as-flat"><b>{tr("What made the difference between trials")}</b>'
        f'<dl class="as-shares">{bars}</dl><span class="as-dim">'
        f"{tr('Estimated from {count} trials; more trials make it surer.', count=count)}"
        f"</span></div>"
    )


def front(records: Sequence[TrialRecord]) -> str:
    """Trials that no other beats in both score and speed, in words."""
    if len(records) < 2:
        return ""
    items = "".join(f"<li>{in_short(trial)}</li>" for trial in records)
    title = tr("No other trial is both faster and better than these:")
    return f'<div class="as-note"><b>{title}</b><ul>{items}</ul></div>'


def in_short(trial: TrialRecord) -> str:
    """A trial by its number, its score and the time it takes for an image."""
    return tr(
        "Trial {number}: {score} in {time}",
        number=trial.number,
        score=views.percent(trial.score),
        time=milliseconds(trial.latency_ms),
    )


def pictures(values: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """What the best trial makes of validation images.

    Args:
        values: The search's record of them (`live/live.json`).
        files: JPEGs by the names in it; those that are missing are left out.
    """
    figures = "".join(
        _figure(image, files[image["file"]])
        for image in values.get("images", ())
        if image.get("file") in files
    )
    if not figures:
        return ""
    caption = tr(
        "The best trial when these were drawn ({number}, {score}) on validation images: image, "
        "ground truth, prediction",
        number=values.get("trial"),
        score=views.percent(values.get("score")),
    )
    return (
        f'<section class="as-card as-flat"><b>{caption}</b>'
        f'<div class="as-pictures">{figures}</div></section>'
    )


def _figure(image: Mapping[str, Any], jpeg: bytes) -> str:
    name = escape(str(image.get("name", "")))
    said = tr("{name}: IoU {score}", name=name, score=views.percent(image.get("iou")))
    data = base64.b64encode(jpeg).decode()
    described = tr("Image, ground truth and prediction of {name}", name=name)
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{described}">'
        f"<figcaption>{said}</figcaption></figure>"
    )
