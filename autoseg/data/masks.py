"""What each raw mask value means. What can be meant in two ways is asked, never guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autoseg.config import IGNORE_INDEX, MAX_CLASSES, ClassInfo, Color
from autoseg.data.class_files import DeclaredClasses
from autoseg.data.coding import MaskCoding, Totals, format_raw, sum_up, unpack_color
from autoseg.data.mapping import (
    from_declared_values,
    from_mapping,
    ignored_values,
    only_ignores,
)
from autoseg.data.meaning import (
    MAX_ROWS,
    Meaning,
    found_values,
    listed,
    looks_like_instances,
    one_class,
    without_classes,
)
from autoseg.data.palette import default_palette
from autoseg.data.rules import instance_like, read_colors, read_gray
from autoseg.data.scan import PairFacts
from autoseg.data.verdict import VerdictRow
from autoseg.errors import AmbiguousMasksError, DatasetError


@dataclass(frozen=True)
class Reading:
    """How a set's masks are read."""

    coding: MaskCoding
    """Raw values to classes."""
    classes: ClassInfo
    """Names and colours."""
    rows: tuple[VerdictRow, ...]
    """One row per raw value."""
    notes: tuple[str, ...]
    """Sentences for the verdict."""


def read_values(
    facts: Sequence[PairFacts],
    files: Sequence[str],
    declared: DeclaredClasses | None = None,
    mapping: Mapping[str, str | int] | None = None,
    names: Sequence[str] | None = None,
) -> Reading:
    """Decide what the values of all masks mean.

    Args:
        facts: One per mask.
        files: Name of each mask, for errors.
        declared: The class list, if there is one.
        mapping: The user's answer, raw value or colour to class name, index or "ignore"; "*"
            stands for every other value. It overrides everything else, but one that only says what
            to ignore leaves the other values to the class list and the rules.
        names: Name of each sample; None: the names of the masks.

    Raises:
        AmbiguousMasksError: The values can be read in more than one way.
        DatasetError: One class only, or a value without a class.
    """
    totals = sum_up(facts, files, names)
    if mapping and only_ignores(mapping):
        meaning = _read_ignoring(totals, facts, declared, ignored_values(mapping, totals))
    elif mapping:
        meaning = from_mapping(totals, declared, mapping)
    else:
        meaning = _read_by_rules(totals, facts, declared)
    _check_known(totals, meaning)
    return _finish(totals, meaning, declared)


def _read_by_rules(
    totals: Totals, facts: Sequence[PairFacts], declared: DeclaredClasses | None
) -> Meaning:
    """What the values mean by the class list and the rules."""
    if len(totals.values) == 1 and not totals.other_pixels:
        raise one_class(totals)
    if declared is not None and declared.values is not None and totals.space == "values":
        return from_declared_values(totals, declared, declared.values)
    if totals.space == "colors":
        return read_colors(totals, declared)
    return read_gray(totals, facts, None if declared is None else declared.names)


def _read_ignoring(
    totals: Totals,
    facts: Sequence[PairFacts],
    declared: DeclaredClasses | None,
    ignored: set[int],
) -> Meaning:
    """What the values mean where the user said no more than which of them to ignore.

    They are left out of what the rules make of all values, noise around them included. Where the
    rules make nothing of them all, or numbered objects remain, the others are read by themselves.
    """
    here = ignored.intersection(totals.values.tolist())
    absent = sorted(ignored - here)
    rest = facts
    if totals.space == "values":
        rest = [fact.without(here) for fact in facts]
    numbered = declared is None and totals.space == "values" and instance_like(rest)
    meaning = None if numbered else _read_if_clear(totals, facts, declared)
    if meaning is None:
        meaning = _read_without(totals, rest, declared, here)
    if declared is None:
        meaning = without_classes(meaning, here)
    meaning.targets.update(dict.fromkeys(here, IGNORE_INDEX))
    meaning.whys.update(dict.fromkeys(here, "as you said"))
    if absent and not totals.other_pixels:
        named = ", ".join(format_raw(value, totals.space) for value in absent)
        meaning.notes.append(f"No mask holds {named}, which you said to ignore.")
    return meaning


def _read_if_clear(
    totals: Totals, facts: Sequence[PairFacts], declared: DeclaredClasses | None
) -> Meaning | None:
    """What the values mean by the class list and the rules; None: these cannot tell."""
    try:
        return _read_by_rules(totals, facts, declared)
    except DatasetError:
        return None


def _read_without(
    totals: Totals,
    facts: Sequence[PairFacts],
    declared: DeclaredClasses | None,
    ignored: set[int],
) -> Meaning:
    """What the rules make of the values but for some of them, which `facts` do not hold."""
    others = totals.without(ignored)
    if not len(others.values):
        raise DatasetError(
            f"The mapping ignores all that the masks hold ({listed(sorted(ignored), totals)}). A "
            f"model needs at least two classes, background included."
        )
    try:
        return _read_by_rules(others, facts, declared)
    except AmbiguousMasksError as error:
        known = ", ".join(f"{format_raw(value, totals.space)}=ignore" for value in sorted(ignored))
        raise AmbiguousMasksError(
            f"{error} Give it beside {known}.", found_values(totals)
        ) from error


def _check_known(totals: Totals, meaning: Meaning) -> None:
    """Every value has a class, and at least two classes occur."""
    unknown = [int(v) for v in totals.values if int(v) not in meaning.targets]
    if unknown and meaning.rest is None and not meaning.snap:
        raise DatasetError(
            f"{totals.file_of(unknown[0])} holds the value "
            f"{format_raw(unknown[0], totals.space)}, which has no class. The masks hold "
            f"{listed(unknown, totals)} beyond those with a class: add them to the class list or "
            f"the mapping, or correct the masks."
        )
    if totals.other_pixels and meaning.rest is None and not meaning.snap:
        raise looks_like_instances(totals)
    found = {meaning.targets[int(v)] for v in totals.values if int(v) in meaning.targets}
    if unknown and meaning.rest is not None:
        found.add(meaning.rest)
    if len(found - {IGNORE_INDEX}) < 2:
        values = [int(value) for value in totals.values]
        ignored = [value for value in values if meaning.targets.get(value) == IGNORE_INDEX]
        raise one_class(totals, ignored)


def _finish(totals: Totals, meaning: Meaning, declared: DeclaredClasses | None) -> Reading:
    known = sorted(meaning.targets)
    coding = MaskCoding(
        totals.space,
        tuple(known),
        tuple(meaning.targets[value] for value in known),
        meaning.snap,
        meaning.rest,
    )
    names = meaning.names
    if not 2 <= len(names) <= MAX_CLASSES:
        raise DatasetError(
            f"There must be 2 to {MAX_CLASSES} classes, background included, but there are "
            f"{len(names)}: {', '.join(names[:8]) or 'none'}."
        )
    classes = ClassInfo(names, _palette(totals, meaning, declared))
    return Reading(coding, classes, _rows(totals, meaning, coding), tuple(meaning.notes))


def _palette(
    totals: Totals, meaning: Meaning, declared: DeclaredClasses | None
) -> tuple[Color, ...]:
    if declared is not None and declared.colors is not None and declared.names == meaning.names:
        return declared.colors
    colors = list(default_palette(len(meaning.names)))
    source = totals.palette
    if totals.space == "colors":
        source = {value: value for value in meaning.targets}
    if len({source[value] for value in meaning.targets if value in source}) > 1:
        for value, target in meaning.targets.items():
            if value in source and target != IGNORE_INDEX:
                colors[target] = unpack_color(source[value])
    return tuple(colors)


def _rows(totals: Totals, meaning: Meaning, coding: MaskCoding) -> tuple[VerdictRow, ...]:
    """One row per known value, and one for all others of a class."""
    targets = coding.classes_of(totals.values, "")
    rows: list[VerdictRow] = []
    others: dict[int, list[int]] = {}
    for place, raw in enumerate(totals.values.tolist()):
        target = int(targets[place])
        if raw not in meaning.whys or len(rows) >= MAX_ROWS:
            others.setdefault(target, []).append(place)
            continue
        rows.append(
            VerdictRow(
                format_raw(raw, totals.space),
                float(totals.shares[place]),
                int(totals.images[place]),
                _target_name(target, meaning),
                meaning.whys[raw],
                totals.example_of(place),
            )
        )
    for target, places in sorted(others.items()):
        why = "nearest class" if meaning.snap else "every other value"
        share = float(totals.shares[places].sum())
        most = int(totals.images[places].max())
        raw_text = f"{len(places)} other values"
        example = totals.example_of(max(places, key=lambda place: int(totals.pixels[place])))
        name = _target_name(target, meaning)
        rows.append(VerdictRow(raw_text, share, most, name, why, example))
    return tuple(rows)


def _target_name(target: int, meaning: Meaning) -> str:
    return "ignore" if target == IGNORE_INDEX else meaning.names[target]
