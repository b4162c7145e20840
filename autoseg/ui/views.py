"""What the page shows, as HTML made from plain records; every text from outside is escaped."""

import time
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, get_args

from autoseg.config import ClassInfo, Color
from autoseg.data.verdict import Verdict, format_share
from autoseg.search.run_folder import Phase, RunState, TrialRecord

SCORE_NAMES = {
    "macro_imagewise_iou": "IoU per image, mean of classes",
    "macro_iou": "IoU over all pixels, mean of classes",
    "macro_dice": "Dice (F1), mean of classes",
    "macro_precision": "Precision, mean of classes",
    "macro_recall": "Recall, mean of classes",
    "macro_boundary_iou": "Boundary IoU, mean of classes",
    "pixel_accuracy": "Pixel accuracy",
}
"""Scores of a report in the order shown."""

_SPLITS = {
    "test": " of the test split",
    "validation": " of the validation split",
    "folds": ", each predicted by a model that had not seen it",
}

_PILLS = {
    "running": "running", "complete": "good", "done": "good", "pruned": "pruned",
    "interrupted": "pruned", "failed": "bad",
}  # fmt: skip


def empty(title: str, advice: str) -> str:
    """A box for where nothing is yet, saying what to do."""
    return f'<div class="as-empty"><b>{escape(title)}</b>{escape(advice)}</div>'


def error(text: object) -> str:
    """An error as it stands."""
    return f'<div class="as-error" role="alert"><b>Not possible.</b> {escape(str(text))}</div>'


def note(text: str) -> str:
    """One message."""
    return f'<div class="as-note" role="status">{escape(text)}</div>'


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[int] = (),
    caption: str = "", best: Sequence[int] = (), tall: bool = False,
) -> str:  # fmt: skip
    """A table of cells that are HTML already.

    Args:
        header: Texts.
        rows: HTML cells.
        numbers: Columns to align at the right.
        caption: Text above.
        best: Rows to mark.
        tall: Whether it scrolls by itself when long.
    """
    kinds = ["num" if k in numbers else "" for k in range(len(header))]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(text)}</th>'
        for kind, text in zip(kinds, header, strict=True)
    )
    body = "".join(
        f'<tr class="{"best" if k in best else ""}">'
        + "".join(f'<td class="{i}">{cell}</td>' for i, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for k, row in enumerate(rows)
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    tallness = " as-tall" if tall else ""
    return (
        f'<div class="as-scroll{tallness}" tabindex="0"><table class="as-table">{title}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def class_label(name: str, color: Color | None) -> str:
    """A class's name after a small square of its colour."""
    fill = f"background:rgb{tuple(color)}" if color else "visibility:hidden"
    square = f'<span class="as-swatch" style="{fill}"></span>'
    return square + escape(name)


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "3 min 20 s", "1 h 5 min"."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s" if total % 60 else f"{total // 60} min"
    return f"{total // 3600} h {total % 3600 // 60} min"


def percent(value: float | None) -> str:
    """A score in [0, 1] as per cent with one digit; a dash where it is undefined."""
    return "–" if value is None else f"{100 * value:.1f} %"


def verdict(checked: Verdict, classes: ClassInfo) -> str:
    """The verdict's table with its sentences below."""
    colors = dict(zip(classes.names, classes.palette, strict=True))
    rows = [
        (
            class_label(row.class_name, colors.get(row.class_name)),
            escape(row.raw),
            f'{format_share(row.share)}<span class="as-bar mini">'
            f'<i style="width:{100 * row.share:.1f}%"></i></span>',
            f"{row.images:,}",
            f'<div class="wide">{escape(row.why)}</div>',
        )
        for row in checked.rows
    ]
    header = ("Class", "Value in the masks", "Pixels", "Images", "Why")
    caption = f"{checked.pairs:,} images with masks, {checked.sizes}"
    parts = [table(header, rows, numbers=(2, 3), caption=caption)]
    for title, sentences in (
        ("Please check", checked.ambiguous),
        ("Mended", checked.mended),
        ("Notes", checked.notes),
    ):
        if sentences:
            items = "".join(f"<li>{escape(text)}</li>" for text in sentences)
            parts.append(f'<div class="as-note"><b>{title}</b><ul>{items}</ul></div>')
    if checked.skipped_count:
        items = "".join(
            f"<li>{escape(item.path)}: {escape(item.why)}</li>" for item in checked.skipped
        )
        files = "1 file" if checked.skipped_count == 1 else f"{checked.skipped_count:,} files"
        parts.append(
            f'<details class="as-note"><summary>{files} left out</summary>'
            f"<ul>{items}</ul></details>"
        )
    return '<div style="display:grid;gap:10px">' + "".join(parts) + "</div>"


def run_card(name: str, state: RunState, dataset: str, n_trials: int) -> str:
    """Where a run stands."""
    live = state.status == "running"
    now = time.time() if live else state.updated_at
    elapsed = state.elapsed_s + max(0.0, now - state.updated_at)
    left = duration(state.budget_s - elapsed) if live else "–"
    share = min(1.0, elapsed / state.budget_s) if live else 1.0
    facts = {
        "Best IoU per image": percent(state.best_score),
        "Trials": str(n_trials),
        "Time left" if live else "Time used": left if live else duration(elapsed),
        "Budget": duration(state.budget_s),
    }
    cells = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    parts = [
        f'<div class="top"><b>{escape(name)}</b>{pill(state.status)}'
        f'<span class="as-dim">{escape(dataset)}</span></div>',
        f'<dl class="as-facts">{cells}</dl>',
    ]
    if live:
        width = f"{100 * share:.1f}"
        parts.append(
            f'<div class="as-bar" role="progressbar" aria-label="Time used" aria-valuemin="0" '
            f'aria-valuemax="100" aria-valuenow="{width}"><i style="width:{width}%"></i></div>'
        )
        parts.append(_steps(state))
    if state.error:
        parts.append(error(state.error))
    elif state.message:
        parts.append(note(state.message))
    return f'<div class="as-card">{"".join(parts)}</div>'


def _steps(state: RunState) -> str:
    phases: tuple[str, ...] = get_args(Phase)[:-1]
    position = phases.index(state.phase) if state.phase in phases else len(phases)
    items = []
    for k, phase in enumerate(phases):
        kind = "past" if k < position else "now" if k == position else ""
        progress = f" {100 * state.progress:.0f} %" if k == position and state.progress else ""
        items.append(f'<li class="{kind}">{phase.capitalize()}{progress}</li>')
    return f'<ol class="as-steps" aria-label="Phases">{"".join(items)}</ol>'


def pill(status: str) -> str:
    """A status as a coloured word."""
    return f'<span class="as-pill {_PILLS.get(status, "")}">{escape(status)}</span>'


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
        return empty("No trial yet", "The first one starts when the data is prepared.")
    ordered = ranked(records)
    rows = [
        (
            str(trial.number),
            percent(trial.score),
            pill(trial.status),
            escape(trial.recipe.encoder_name),
            _frozen(trial.recipe.frozen_depth),
            f"{trial.recipe.decoder_lr:.1e}",
            f"{trial.curve[-1].epochs:.1f}" if trial.curve else "–",
            duration(trial.seconds),
            f'<div class="wide">{escape(trial.reason)}</div>',
        )
        for trial in ordered
    ]
    header = (
        "Trial", "Score", "Status", "Encoder", "Frozen depth", "Learning rate", "Epochs", "Time",
        "Why it ended",
    )  # fmt: skip
    best = [k for k, trial in enumerate(ordered) if trial.number == best_trial]
    return table(header, rows, numbers=(0, 1, 5, 6, 7), best=best, tall=True)


def _frozen(depth: int) -> str:
    return {0: "0 (none)", 4: "4 (all)"}.get(depth, str(depth))


def report(values: dict[str, Any]) -> str:
    """Scores of the final model with their intervals, the default recipe's beside them."""
    model, default = values["model"], values.get("default_recipe")
    where = _SPLITS.get(values.get("split", ""), "")
    header = ["Score", "This model", "95 % interval"]
    header += ["Default recipe", "95 % interval"] if default else []
    rows = []
    for name, title in SCORE_NAMES.items():
        if name not in model["scores"]:
            continue
        row = [escape(title), *_score_cells(model["scores"][name])]
        if default:
            row += _score_cells(default["scores"].get(name, {}))
        rows.append(row)
    caption = f"Result on {values.get('n_images', 0):,} images{where}"
    parts = [table(header, rows, numbers=range(1, len(header)), caption=caption)]
    sentences = [_difference(values.get("difference")), values.get("default_note")]
    parts += [
        note(text) for text in (" ".join(filter(None, sentences)), values.get("note")) if text
    ]
    parts.append(_per_class(model["per_class"]))
    return '<div style="display:grid;gap:10px">' + "".join(parts) + "</div>"


def _score_cells(score: dict[str, float | None]) -> list[str]:
    low, high = score.get("low"), score.get("high")
    interval = "–" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
    return [f"<b>{percent(score.get('value'))}</b>", f'<span class="as-dim">{interval}</span>']


def _difference(values: dict[str, Any] | None) -> str:
    if not values or values.get("value") is None:
        return ""
    sign = "above" if values["value"] >= 0 else "below"
    text = (
        f"The search's model is {abs(100 * values['value']):.1f} points {sign} the default recipe"
    )
    if values.get("low") is not None and values.get("high") is not None:
        text += f" (95 % interval {100 * values['low']:+.1f} to {100 * values['high']:+.1f})"
    if values.get("probability_better") is not None:
        text += f"; it is better with probability {100 * values['probability_better']:.0f} %"
    return text + "."


def _per_class(classes: Sequence[dict[str, Any]]) -> str:
    columns = {
        "iou": "IoU", "dice": "Dice (F1)", "precision": "Precision", "recall": "Recall",
        "imagewise_iou": "IoU per image", "boundary_iou": "Boundary IoU",
    }  # fmt: skip
    rows = [
        [escape(str(row["name"])), *(percent(row.get(key)) for key in columns)] for row in classes
    ]
    header = ["Class", *columns.values()]
    return table(header, rows, numbers=range(1, len(header)), caption="Per class")


def prediction(rows: Iterable[tuple[str, Color, float, int, float | None]], seconds: float) -> str:
    """Classes of one predicted image.

    Args:
        rows: Name, colour, share of the image, pixels, mean confidence of each class.
        seconds: Time it took, in seconds.
    """
    cells = [
        (
            class_label(name, color),
            f'{format_share(share)}<span class="as-bar mini"><i style="width:{100 * share:.1f}%">'
            f"</i></span>",
            f"{pixels:,}",
            percent(confidence),
        )
        for name, color, share, pixels, confidence in rows
    ]
    header = ("Class", "Share of the image", "Pixels", "Mean confidence")
    caption = f"Found in {seconds:.2f} s"
    return table(header, cells, numbers=(1, 2, 3), caption=caption)
