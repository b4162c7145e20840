"""A checked data set as the Data tab's components take it."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from autoseg.data.mapping import NEAREST
from autoseg.data.palette import default_palette, format_color
from autoseg.data.verdict import Verdict, VerdictRow, format_share
from autoseg.dataset_facts import Facts
from autoseg.errors import ConfigError, DatasetError, FoundValue
from autoseg.ui import views
from autoseg.ui.data_sentences import said
from autoseg.ui.previews import Check, Colors, Mapping, crop_of
from autoseg.ui.texts import tr

MAX_ASKED = 16
"""Where more values than this have to be explained, the others are explained together."""

NAMED_LEFT_OUT = 3
"""Files left out that are named before the list of them is opened."""

REST = "*"
"""What a mapping calls every value that it does not name."""

Row = dict[str, Any]
"""One row of `VerdictTable`."""


def table(dataset: str, check: Check, folder: Path) -> dict[str, Any] | None:
    """What `VerdictTable` shows: the verdict, or the question; None where there is neither."""
    forgettable = bool(check.mapping or check.colors)
    if check.verdict is not None:
        rows = _verdict_rows(check, folder)
        caption = tr(
            "{number} images with masks, {sizes}",
            number=f"{check.verdict.pairs:,}", sizes=said(check.verdict.sizes),
        )  # fmt: skip
    elif check.question:
        rows = _question_rows(check.question, folder)
        caption = tr("Say what these values are")
    elif forgettable:
        rows, caption = [], ""
    else:
        return None
    return {
        "dataset": dataset, "rows": rows, "caption": caption, "question": check.verdict is None,
        "forgettable": forgettable,
    }  # fmt: skip


def _verdict_rows(check: Check, folder: Path) -> list[Row]:
    assert check.verdict is not None and check.classes is not None and check.coding is not None
    colors = dict(zip(check.classes.names, check.classes.palette, strict=True))
    known = {row.raw for row in check.verdict.rows if _is_single(row.raw)}
    rows = []
    for place, row in enumerate(check.verdict.rows):
        single = row.raw in known
        key = row.raw if single else REST if check.coding.rest is not None else ""
        ignored = row.class_name == "ignore"
        rows.append(
            _row(
                key,
                row,
                crop_of(folder, place),
                name="" if ignored and key else row.class_name,
                meaning="ignore" if ignored else "class",
                color=format_color(colors.get(row.class_name, (128, 128, 128))),
                why=row.why,
            )
        )
    return rows


def _question_rows(question: Sequence[FoundValue], folder: Path) -> list[Row]:
    """The most frequent values, and one row for all others."""
    shown, others = question, question[:0]
    if len(question) > MAX_ASKED:
        shown, others = question[:MAX_ASKED], question[MAX_ASKED:]
    palette = default_palette(len(shown) + 1)
    rows = [
        _row(
            value.raw, value, crop_of(folder, place), name="", meaning="class",
            color=format_color(palette[place]), why="",
        )
        for place, value in enumerate(shown)
    ]  # fmt: skip
    if others:
        rest = FoundValue(
            tr("every other value"), 1 - sum(value.share for value in shown),
            max(value.images for value in others), "",
        )  # fmt: skip
        color = format_color(palette[len(shown)])
        rows.append(_row(REST, rest, None, name="", meaning="class", color=color, why=""))
    return rows


def _row(
    key: str, found: VerdictRow | FoundValue, example: Path | None, *, name: str, meaning: str,
    color: str, why: str,
) -> Row:  # fmt: skip
    return {
        "key": key,
        "raw": said(found.raw),
        "example": example,
        "name": name,
        "meaning": meaning,
        "color": color,
        "share": format_share(found.share),
        "part": found.share,
        "images": f"{found.images:,}",
        "why": said(why),
    }


def _is_single(raw: str) -> bool:
    """Whether a row of a verdict is one value, not all others together."""
    return raw.isdecimal() or raw.startswith("#")


def answer(rows: Sequence[Row], check: Check) -> tuple[Mapping, Colors]:
    """What the user said with the edited rows: a mapping, and colours of classes.

    The mapping is the one there was where nothing but colours differs from what was found.

    Raises:
        ConfigError: A value has no class name.
    """
    mapping = tuple((str(row["key"]), _target(row)) for row in rows)
    if check.coding is not None and check.coding.snap:
        mapping = (*mapping, (REST, NEAREST))
    if dict(mapping) == _found(check):
        mapping = check.mapping
    named = [row for row in rows if row["meaning"] == "class"]
    return mapping, tuple({_target(row): str(row["color"]) for row in named}.items())


def _target(row: Row) -> str:
    meaning, name = row["meaning"], str(row["name"]).strip()
    if meaning in ("ignore", NEAREST):
        return str(meaning)
    if not name:
        raise ConfigError(f"{row['key']} has no class name. Write one, or choose to leave it out.")
    return name


def _found(check: Check) -> dict[str, str]:
    """The mapping that says what was found without one."""
    if check.verdict is None or check.coding is None:
        return {}
    found = {row.raw: row.class_name for row in check.verdict.rows if _is_single(row.raw)}
    return {**found, REST: NEAREST} if check.coding.snap else found


def problem(check: Check) -> str:
    """Why a data set cannot be used or searched, or what has to be said of it; as HTML."""
    if not check.question:
        return views.error(check.problem) if check.problem else ""
    title = escape(tr("One question."))
    return f'<div class="as-note" role="alert"><b>{title}</b> {escape(check.problem)}</div>'


def sentences(verdict: Verdict, folder: Path) -> str:
    """What a search does with the images, and what was mended, left out or unclear, as HTML.

    Args:
        verdict: How the data set was read.
        folder: Where what was found out about it is kept.
    """
    division = _division(folder)
    parts = [f'<div class="as-note">{escape(division)}</div>'] if division else []
    for title, texts in (
        (tr("Please check"), verdict.ambiguous),
        (tr("Mended"), verdict.mended),
        (tr("Notes"), verdict.notes),
    ):
        if texts:
            items = "".join(f"<li>{escape(said(text))}</li>" for text in texts)
            parts.append(f'<div class="as-note"><b>{escape(title)}</b><ul>{items}</ul></div>')
    if verdict.skipped_count:
        items = "".join(
            f"<li>{escape(item.path)}: {escape(said(item.why))}</li>" for item in verdict.skipped
        )
        title = tr("Files left out: {number}", number=f"{verdict.skipped_count:,}")
        title = f"{title} ({_first_left_out(verdict)})"
        parts.append(
            f'<details class="as-note"><summary>{escape(title)}</summary>'
            f'<ul style="max-height:240px;overflow:auto">{items}</ul></details>'
        )
    return '<div style="display:grid;gap:10px">' + "".join(parts) + "</div>" if parts else ""


def _first_left_out(verdict: Verdict) -> str:
    """The first files left out, and how many more there are."""
    names = ", ".join(item.path for item in verdict.skipped[:NAMED_LEFT_OUT])
    more = verdict.skipped_count - NAMED_LEFT_OUT
    return tr("{names} and {more} more", names=names, more=f"{more:,}") if more > 0 else names


def _division(folder: Path) -> str:
    """What a search does with the images; "" where the check could not divide them."""
    try:
        facts = Facts.load(folder / "facts.npz")
    except DatasetError:
        return ""
    train, val, test = (f"{len(part):,}" for part in (facts.train, facts.val, facts.test))
    if len(facts.test):
        return tr(
            "A search learns from {train} of these images, chooses the best model by {val}, and "
            "keeps {test} unseen for the final test.", train=train, val=val, test=test,
        )  # fmt: skip
    return tr(
        "A search learns from {train} of these images and chooses the best model by {val}. They "
        "are too few to keep some for a test: at the end, if time allows, each is judged by a "
        "model that was trained without it.", train=train, val=val,
    )  # fmt: skip
