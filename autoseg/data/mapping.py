"""What the user said about mask values: a mapping, or a class list with values."""

from collections.abc import Iterable, Mapping

from autoseg.config import IGNORE_INDEX
from autoseg.data.class_files import DeclaredClasses
from autoseg.data.coding import Totals, pack_color
from autoseg.data.meaning import Meaning, in_order, listed
from autoseg.errors import DatasetError

NEAREST = "nearest"
"""Said of "*", every other value: it takes the class of the nearest value that is named."""


def from_declared_values(
    totals: Totals, declared: DeclaredClasses, values: tuple[int, ...]
) -> Meaning:
    """A class list that gives each name its value."""
    meaning = in_order(list(values), declared.names, f"value given in {declared.file_name}")
    for value, name in zip(values, declared.names, strict=True):
        if name.lower() in ("ignore", "void", "unlabeled", "unlabelled") and value == IGNORE_INDEX:
            meaning = in_order(
                [v for v in values if v != value],
                tuple(n for n in declared.names if n != name),
                f"value given in {declared.file_name}",
            )
            meaning.targets[value] = IGNORE_INDEX
            meaning.whys[value] = f"called {name} in {declared.file_name}"
    small = max(v for v in values if v != IGNORE_INDEX) < 64
    if IGNORE_INDEX in totals.values and IGNORE_INDEX not in meaning.targets and small:
        meaning.targets[IGNORE_INDEX] = IGNORE_INDEX
        meaning.whys[IGNORE_INDEX] = "255 beside the values of the class list: void"
    return meaning


def only_ignores(mapping: Mapping[str, str | int]) -> bool:
    """Whether the user said no more than which values to ignore."""
    return "*" not in mapping and all(map(_is_ignore, mapping.values()))


def ignored_values(mapping: Mapping[str, str | int], totals: Totals) -> set[int]:
    """The raw values of a mapping that names no class."""
    return {raw for key in mapping if (raw := _parse_raw(key, totals)) is not None}


def _is_ignore(target: str | int) -> bool:
    return target == IGNORE_INDEX or (isinstance(target, str) and target.lower() == "ignore")


def from_mapping(
    totals: Totals, declared: DeclaredClasses | None, mapping: Mapping[str, str | int]
) -> Meaning:
    """The user's answer."""
    wanted = {_parse_raw(key, totals): target for key, target in mapping.items()}
    snap = wanted.get(None) == NEAREST
    if snap:
        del wanted[None]
    names, notes = _mapped_names(wanted.values(), declared)
    places = {name: place for place, name in enumerate(names)}

    def index(target: str | int) -> int:
        if _is_ignore(target):
            return IGNORE_INDEX
        return target if isinstance(target, int) else places[target]

    targets = {raw: index(target) for raw, target in wanted.items() if raw is not None}
    rest = index(wanted[None]) if None in wanted else None
    whys = dict.fromkeys(targets, "as you said")
    meaning = Meaning(targets, names, whys, snap=snap, rest=rest, notes=notes)
    if snap:
        meaning.notes.append("Every other value took the class of the nearest named one.")
    if rest is not None:
        meaning.notes.append(
            f"Every value that the mapping does not name became "
            f"{'ignored' if rest == IGNORE_INDEX else names[rest]}, as you said."
        )
    return meaning


def _mapped_names(
    targets: Iterable[str | int], declared: DeclaredClasses | None
) -> tuple[tuple[str, ...], list[str]]:
    """Class names and notes: in the order of the class list, else in that of the mapping.

    The user may rename what the class list names: names that are not all in it replace it.
    """
    wanted = list(targets)
    words = [t for t in wanted if isinstance(t, str) and t.lower() != "ignore"]
    numbers = [t for t in wanted if isinstance(t, int)]
    named = tuple(dict.fromkeys(words))
    notes: list[str] = []
    if declared is not None:
        missing = [name for name in named if name not in declared.names]
        if not missing:
            _check_numbers(numbers, declared)
            return declared.names, notes
        notes.append(
            f"{declared.file_name} does not name {', '.join(missing)}: the names you gave replace "
            f"all of its names."
        )
    if words and numbers:
        raise DatasetError(
            "The mapping gives both class names and class numbers. Use one kind for all."
        )
    if numbers:
        used = sorted({n for n in numbers if n != IGNORE_INDEX})
        if used != list(range(len(used))):
            raise DatasetError(f"The mapping's class numbers must be 0, 1, 2 ..., but are {used}.")
        return tuple(f"class_{n}" for n in used), notes
    return named, notes


def _check_numbers(numbers: list[int], declared: DeclaredClasses) -> None:
    if any(not 0 <= n < len(declared.names) and n != IGNORE_INDEX for n in numbers):
        raise DatasetError(
            f"The mapping's class numbers must lie in [0, {len(declared.names) - 1}], "
            f"but are {sorted(set(numbers))}."
        )


def _parse_raw(key: str, totals: Totals) -> int | None:
    """A key of the mapping -> raw value; "*" -> None."""
    text = str(key).strip()
    if text == "*":
        return None
    try:
        if text.startswith("#") and len(text) == 7:
            value, is_color = int(text[1:], 16), True
        elif text.count(",") == 2:
            red, green, blue = (int(part) for part in text.split(","))
            value, is_color = pack_color((red, green, blue)), True
        else:
            value, is_color = int(text), False
    except ValueError:
        value, is_color = -1, False
    if not 0 <= value < 2**32:
        raise DatasetError(
            f"{key!r} in the mapping is no mask value. Write 17, #ff0000, 255,0,0 or * (the rest)."
        )
    if is_color != (totals.space == "colors"):
        kind = "colours" if totals.space == "colors" else "numbers"
        raise DatasetError(
            f"The masks hold {kind}, but the mapping has {key!r}. They hold "
            f"{listed([int(v) for v in totals.values], totals)}."
        )
    return value
