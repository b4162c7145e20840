"""The report of a finished run, as HTML: scores with their intervals, classes, a comparison."""

from collections.abc import Sequence
from html import escape
from typing import Any

from autoseg.evaluation import compared_with, shown_gain
from autoseg.ui import report_words, views
from autoseg.ui.texts import tr


def report(values: dict[str, Any]) -> str:
    """Scores of the final model, beside them those of what it is compared with."""
    model, default = values["model"], values.get("default_recipe")
    header = [tr("Score"), tr("This model"), tr("95 % interval")]
    other = {
        "former model": tr("Former model"),
        "winner of the search": tr("Winner of the search"),
    }.get(compared_with(values), tr("Default recipe"))
    header += [other, tr("95 % interval")] if default else []
    parts = [
        views.table(
            header,
            _rows(model, default),
            numbers=range(1, len(header)),
            caption=_caption(values),
        )
    ]
    about_default = report_words.note(values.get("default_note") or "")
    about_other = [*_difference(values), about_default]
    sentences = [
        _stop(values.get("stopped_after_s")), report_words.missing_trials(values), *about_other
    ]  # fmt: skip
    notes = (" ".join(filter(None, sentences)), report_words.note(values.get("note") or ""))
    parts += [views.note(text) for text in notes if text]
    parts.append(_per_class(model["per_class"]))
    return '<div style="display:grid;gap:10px">' + "".join(parts) + "</div>"


def _rows(model: dict[str, Any], default: dict[str, Any] | None) -> list[list[str]]:
    rows = []
    for name, title in views.score_names().items():
        if name not in model["scores"]:
            continue
        row = [escape(title), *_score_cells(model["scores"][name])]
        if default:
            row += _score_cells(default["scores"].get(name, {}))
        rows.append(row)
    return rows


def _caption(values: dict[str, Any]) -> str:
    count = f"{values.get('n_images', 0):,}"
    split = values.get("split")
    if split == "test":
        return tr("Result on {count} images of the test split", count=count)
    if split == "validation":
        return tr("Result on {count} images of the validation split", count=count)
    if split == "folds":
        return tr(
            "Result on {count} images, each predicted by a model that had not seen it", count=count
        )
    return tr("Result on {count} images", count=count)


def _score_cells(score: dict[str, float | None]) -> list[str]:
    low, high = score.get("low"), score.get("high")
    interval = "–"
    if low is not None and high is not None:
        interval = tr("{low} to {high}", low=f"{100 * low:.1f}", high=f"{100 * high:.1f}")
    return [
        f"<b>{views.percent(score.get('value'))}</b>",
        f'<span class="as-dim">{interval}</span>',
    ]


def _difference(report: dict[str, Any]) -> list[str]:
    """Sentences on how far the model lies above or below what it is compared with."""
    values = report.get("difference")
    if not values or values.get("value") is None:
        return []
    points = f"{abs(shown_gain(report)):.1f}"
    said = [
        _above(compared_with(report), points)
        if values["value"] >= 0
        else _below(compared_with(report), points)
    ]
    if values.get("low") is not None and values.get("high") is not None:
        low, high = views.signed(100 * values["low"]), views.signed(100 * values["high"])
        said.append(tr("The 95 % interval is {low} to {high}.", low=low, high=high))
    if values.get("probability_better") is not None:
        share = f"{100 * values['probability_better']:.0f}"
        said.append(tr("It is better with probability {share} %.", share=share))
    return said


def _above(other: str, points: str) -> str:
    """That the model scores so many points more than another."""
    if other == "former model":
        return tr("The model is {points} points above the former one.", points=points)
    if other == "winner of the search":
        return tr("The model is {points} points above the winner of the search.", points=points)
    return tr("The model is {points} points above the default recipe.", points=points)


def _below(other: str, points: str) -> str:
    """That the model scores so many points less than another."""
    if other == "former model":
        return tr("The model is {points} points below the former one.", points=points)
    if other == "winner of the search":
        return tr("The model is {points} points below the winner of the search.", points=points)
    return tr("The model is {points} points below the default recipe.", points=points)


def _stop(after_s: float | None) -> str:
    """That somebody ended the run before its time; "" where nobody did."""
    if after_s is None:
        return ""
    return tr("The run was stopped by request after {time}.", time=views.duration(after_s))


def _per_class(classes: Sequence[dict[str, Any]]) -> str:
    columns = {
        "iou": tr("IoU"), "dice": tr("Dice (F1)"), "precision": tr("Precision"),
        "recall": tr("Recall"), "imagewise_iou": tr("IoU per image"),
        "boundary_iou": tr("Boundary IoU"),
    }  # fmt: skip
    rows = [
        [escape(str(row["name"])), *(views.percent(row.get(key)) for key in columns)]
        for row in classes
    ]
    header = [tr("Class"), *columns.values()]
    return views.table(header, rows, numbers=range(1, len(header)), caption=tr("Per class"))
