"""The verdict: what was read, how, and what was skipped, mended or left out, as plain data."""

from dataclasses import dataclass

from autoseg.data.formats import Skipped


@dataclass(frozen=True)
class VerdictRow:
    """One raw value or colour that was found in the masks."""

    raw: str
    """The value ("0", "255") or the colour ("#ff0000")."""
    share: float
    """Share of all pixels, in [0, 1]."""
    images: int
    """Number of images that have it."""
    class_name: str
    """The class it became; "ignore" where it neither trains nor scores."""
    why: str
    """Why it became that class."""
    example: str = ""
    """Name of the sample that has the most of it."""


@dataclass(frozen=True)
class Verdict:
    """How a data set was read, for people."""

    rows: tuple[VerdictRow, ...]
    """Raw values and what they became."""
    pairs: int
    """Number of usable pairs."""
    sizes: str
    """Sizes of the images in words."""
    skipped: tuple[Skipped, ...] = ()
    """Files left out, the first `MAX_SKIPPED` of them."""
    skipped_count: int = 0
    """Number of all files left out."""
    mended: tuple[str, ...] = ()
    """Sentences on what was repaired while reading."""
    ambiguous: tuple[str, ...] = ()
    """Sentences on what could be meant differently and was not asked."""
    notes: tuple[str, ...] = ()
    """Other sentences for the user."""

    def table(self) -> list[tuple[str, str, str, str, str]]:
        """Rows of strings under `TABLE_HEADER`, for the console and the app."""
        return [
            (row.raw, format_share(row.share), f"{row.images:,}", row.class_name, row.why)
            for row in self.rows
        ]


TABLE_HEADER = ("value", "pixels", "images", "class", "why")
"""Columns of `Verdict.table`."""

MAX_SKIPPED = 200
"""Most skipped files that a verdict lists."""


def format_share(share: float) -> str:
    """A share as per cent with two digits that say something."""
    percent = 100 * share
    if percent == 0:
        return "0 %"
    if percent < 0.001:
        return "<0.001 %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"
