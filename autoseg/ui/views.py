"""What the page shows, as HTML made from plain records; every text from outside is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from autoseg.config import Color
from autoseg.data.verdict import format_share
from autoseg.ui.texts import tr

_PILLS = {
    "running": "running", "queued": "running", "complete": "good", "done": "good",
    "pruned": "pruned", "paused": "pruned", "interrupted": "pruned", "set aside": "pruned",
    "failed": "bad",
}  # fmt: skip


def score_names() -> dict[str, str]:
    """Scores of a report in the order shown, by their names in the records."""
    return {
        "macro_imagewise_iou": tr("IoU per image, mean of classes"),
        "macro_iou": tr("IoU over all pixels, mean of classes"),
        "macro_dice": tr("Dice (F1), mean of classes"),
        "macro_precision": tr("Precision, mean of classes"),
        "macro_recall": tr("Recall, mean of classes"),
        "macro_boundary_iou": tr("Boundary IoU, mean of classes"),
        "pixel_accuracy": tr("Pixel accuracy"),
    }


def empty(title: str, advice: str) -> str:
    """A box for where nothing is yet, saying what to do."""
    return f'<div class="as-empty"><b>{escape(title)}</b>{escape(advice)}</div>'


def error(text: object, title: str | None = None) -> str:
    """An error as it stands.

    Args:
        text: The error.
        title: What stands before it; None: that it is not possible.
    """
    title = title or tr("Not possible.")
    return f'<div class="as-error" role="alert"><b>{escape(title)}</b> {escape(str(text))}</div>'


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
        return tr("{seconds} s", seconds=total)
    if total < 3600:
        minutes, rest = divmod(total, 60)
        if not rest:
            return tr("{minutes} min", minutes=minutes)
        return tr("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    return tr("{hours} h {minutes} min", hours=total // 3600, minutes=total % 3600 // 60)


def percent(value: float | None) -> str:
    """A score in [0, 1] as per cent with one digit; a dash where it is undefined."""
    return "–" if value is None else f"{100 * value:.1f} %"


def signed(value: float) -> str:
    """A number with one digit and its sign, where it is negative a minus and no hyphen."""
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def told_apart(shares: Sequence[float | None]) -> list[str]:
    """Shares in [0, 1] as per cent, with one digit, or with two where one does not tell them apart.

    What is None is "".
    """
    known = {share for share in shares if share is not None}
    digits = 1 if len({f"{100 * share:.1f}" for share in known}) == len(known) else 2
    return ["" if share is None else f"{100 * share:.{digits}f} %" for share in shares]


def pill(status: str, shown: str | None = None) -> str:
    """A status as a coloured word.

    Args:
        status: Of a run or a trial.
        shown: The word in the reader's language; None: the status itself.
    """
    return f'<span class="as-pill {_PILLS.get(status, "")}">{escape(shown or status)}</span>'


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
    header = (tr("Class"), tr("Share of the image"), tr("Pixels"), tr("Mean confidence"))
    caption = tr("Found in {seconds} s", seconds=f"{seconds:.2f}")
    return table(header, cells, numbers=(1, 2, 3), caption=caption)
