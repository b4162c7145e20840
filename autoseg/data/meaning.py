"""What values became, and the questions asked where they could be several things."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from autoseg.config import IGNORE_INDEX
from autoseg.data.coding import Totals, format_raw
from autoseg.errors import AmbiguousMasksError, DatasetError, FoundValue

MAX_ROWS = 300
"""Most values listed in a verdict or a question."""


@dataclass
class Meaning:
    """What the values became: the result of one rule."""

    targets: dict[int, int]
    """Class index, or `IGNORE_INDEX`, of each known raw value."""
    names: tuple[str, ...]
    """Class names in order."""
    whys: dict[int, str]
    """Reason for each known raw value."""
    snap: bool = False
    """Whether other values take the class of the nearest known one."""
    rest: int | None = None
    """Class of all other values."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the verdict."""


def in_order(values: list[int], names: tuple[str, ...], why: str) -> Meaning:
    """Each value is one class, in order."""
    targets = {value: place for place, value in enumerate(values)}
    return Meaning(targets, names, dict.fromkeys(values, why))


def without_classes(meaning: Meaning, values: Collection[int]) -> Meaning:
    """The same but for some raw values, and for the classes that no other value has."""
    targets = {raw: target for raw, target in meaning.targets.items() if raw not in values}
    kept = sorted({*targets.values()} - {IGNORE_INDEX})
    if meaning.rest is not None and meaning.rest != IGNORE_INDEX:
        kept = sorted({*kept, meaning.rest})
    places = {target: place for place, target in enumerate(kept)} | {IGNORE_INDEX: IGNORE_INDEX}
    return replace(
        meaning,
        targets={raw: places[target] for raw, target in targets.items()},
        names=tuple(meaning.names[target] for target in kept),
        rest=None if meaning.rest is None else places[meaning.rest],
    )


def name_of(value: int, totals: Totals) -> str:
    """The name of a class that nobody named."""
    return format_raw(value, "colors") if totals.space == "colors" else f"class_{value}"


def listed(values: Sequence[int], totals: Totals | None = None) -> str:
    """Values in words, the first eight of them."""
    space = "values" if totals is None else totals.space
    shown = [format_raw(value, space) for value in values[:8]]
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    return f"the value{'s' if len(values) > 1 else ''} {', '.join(shown)}{more}"


def one_class(totals: Totals, ignored: Collection[int] = ()) -> DatasetError:
    """The error for masks without anything to tell apart.

    Args:
        totals: Their values.
        ignored: Those that are left out.
    """
    held = [value for value in totals.values.tolist() if value not in ignored]
    told = [listed(held, totals)] if held else []
    told += [f"{listed(list(ignored), totals)} left out"] if ignored else []
    found = "one class only" if held else "no class"
    return DatasetError(
        f"All masks together hold {found} ({'; '.join(told)}). A model needs at least two, "
        f"background included. "
        + ("Ignore fewer values." if ignored else "Are these the right masks?")
    )


def looks_like_instances(totals: Totals) -> AmbiguousMasksError:
    """The question asked where values are too many for classes."""
    number = len(totals.values) if not totals.other_pixels else f"more than {len(totals.values)}"
    what = "colours" if totals.space == "colors" else "values"
    frequent = format_raw(int(totals.values[np.argmax(totals.pixels)]), totals.space)
    return ask(
        totals,
        f"the masks hold {number} different {what}, which look like numbered objects (instances) "
        f"or smoothed edges rather than classes",
        {frequent: "background", "*": "object"},
    )


def ask(totals: Totals, why: str, example: Mapping[str, str]) -> AmbiguousMasksError:
    """The question what values mean: why it is asked, and an example of an answer."""
    shown = ", ".join(f"{key}={name}" for key, name in list(example.items())[:6])
    return AmbiguousMasksError(
        f"It is not clear what the mask values mean: {why}. Say what each value is, or add a "
        f"class list (classes.txt); for example the mapping {shown} (* is every other value).",
        found_values(totals),
    )


def found_values(totals: Totals) -> list[FoundValue]:
    """The raw values of the masks, most frequent first."""
    order = np.argsort(-totals.pixels, kind="stable")[:MAX_ROWS]
    return [
        FoundValue(
            format_raw(int(totals.values[place]), totals.space),
            float(totals.shares[place]),
            int(totals.images[place]),
            totals.example_of(int(place)),
        )
        for place in order
    ]
