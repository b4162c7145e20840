"""The rules by which values and colours become classes where the user has not said how."""

from collections.abc import Sequence

import numpy as np

from autoseg.config import IGNORE_INDEX, MAX_CLASSES, Color
from autoseg.data.class_files import DeclaredClasses
from autoseg.data.coding import Totals, distances, format_raw, pack_color, unpack_color
from autoseg.data.meaning import Meaning, ask, in_order, listed, looks_like_instances, name_of
from autoseg.data.scan import PairFacts
from autoseg.data.verdict import format_share
from autoseg.errors import DatasetError

MAX_GUESSED_CLASSES = 64
"""Without a class list, more values than this are asked about, not taken for classes."""

MAX_SNAPPED_SHARE = 0.05
"""Most pixels of in-between values that are given to the nearest class."""

_PEAK_SHARE = 0.005
_STRAY_SHARE = 0.005
_VOC_VOID = 0xE0E0C0


def read_gray(totals: Totals, facts: Sequence[PairFacts], names: tuple[str, ...] | None) -> Meaning:
    """Grey values or palette indices, without the user's mapping."""
    values = [int(value) for value in totals.values]
    noise = _noise(totals)
    if names is not None:
        return _named_values(totals, values, names, noise)
    if len(values) == 2:
        return in_order(values, ("background", "foreground"), _binary_why(values))
    others = [value for value in values if value != IGNORE_INDEX]
    small = others[-1] < 64 or others[-1] + 1 == len(others)
    dense = others[-1] + 1 <= 2 * len(others)
    void = len(others) < len(values)
    if not (small and dense) and noise is not None:
        return noise
    if instance_like(facts) or len(others) > MAX_CLASSES:
        raise looks_like_instances(totals)
    if small and (dense or not void or totals.palette):
        return _indices(others, tuple(f"class_{value}" for value in others), void)
    if small:
        raise ask(
            totals,
            f"the masks hold {listed(values)}: 255 can be a class or, as in Pascal VOC, mark "
            f"pixels to ignore",
            {str(values[0]): "background", str(values[-1]): "ignore", "*": "object"},
        )
    if len(values) > MAX_GUESSED_CLASSES or totals.other_pixels:
        raise looks_like_instances(totals)
    strays = ~totals.solid & (totals.shares < _STRAY_SHARE / 5)
    if strays.any() and (~strays).sum() >= 2 and totals.shares[strays].sum() < _STRAY_SHARE:
        return _snapped(totals, totals.values[~strays])
    classes = tuple(f"class_{value}" for value in values)
    return in_order(values, classes, "grey values far apart: each is one class, in order")


def _named_values(
    totals: Totals, values: list[int], names: tuple[str, ...], noise: Meaning | None
) -> Meaning:
    """Grey values or palette indices beside a class list of K names."""
    number = len(names)
    others = [value for value in values if value != IGNORE_INDEX]
    fits = others[-1] < number
    if values[-1] < number:
        return _indices(values, names, False)
    if fits and IGNORE_INDEX in values and len(others) > 1:
        if len(values) == number and not totals.palette:
            raise ask(
                totals,
                f"the masks hold {listed(values)} and the class list has {number} names: 255 "
                f"can be the last class or mark pixels to ignore",
                {**{str(v): names[v] for v in others}, "255": "ignore"},
            )
        return _indices(others, names, True)
    if len(values) == number:
        return in_order(values, names, f"as many values as names ({number}): in order")
    if len(values) == 2 and number == 1:
        return in_order(values, ("background", *names), _binary_why(values))
    if noise is not None and len(noise.targets) in (number, number + 1 if number == 1 else -1):
        noise.names = names if len(noise.targets) == number else ("background", *names)
        return noise
    missing = next(v for v in others if v >= number) if not fits else IGNORE_INDEX
    advice = (
        " If value 0 is the background, add a first line for it."
        if others[-1] == number and others[0] == 0
        else ""
    )
    raise DatasetError(
        f"{totals.file_of(missing)} holds the value {missing}, which has no class name: the "
        f"class list has {number} names for the values 0 to {number - 1} "
        f"({', '.join(names[:8])}{', ...' if number > 8 else ''}).{advice}"
    )


def _indices(values: list[int], names: tuple[str, ...], void: bool) -> Meaning:
    """Small whole numbers: with names value k is class k, without names they are numbered."""
    named = len(names) > len(values) or values == list(range(len(values)))
    targets = {value: value if named else place for place, value in enumerate(values)}
    whys = {value: f"index {value} of the class list or palette" for value in values}
    if not named:
        whys = {value: "numbers with gaps: each is one class, in order" for value in values}
    elif values == list(range(len(names))):
        whys = {value: f"values 0 to {len(names) - 1}: the value is the class" for value in values}
    if void:
        targets[IGNORE_INDEX] = IGNORE_INDEX
        whys[IGNORE_INDEX] = "255 beside small numbers: void, as in Cityscapes and Pascal VOC"
    return Meaning(targets, names, whys)


def _binary_why(values: list[int]) -> str:
    return f"{values[0]} and {values[1]} only: binary"


def _noise(totals: Totals) -> Meaning | None:
    """Two or more grey values far apart with compression noise or soft edges around them."""
    if len(totals.values) <= (2 if totals.lossy else 16):
        return None
    peaks = _peaks(totals, radius=24)
    if len(peaks) < 2 or peaks[-1] - peaks[0] < 64:
        return None
    exact = totals.shares[np.isin(totals.values, peaks)].sum()
    near = np.zeros(len(totals.values), dtype=bool)
    for peak in peaks:
        near |= distances(totals.values, int(peak), totals.space) <= 24
    far = totals.shares[~near].sum() + totals.other_pixels / totals.pixels.sum()
    if exact < (0.6 if totals.lossy else 0.85) or far > MAX_SNAPPED_SHARE:
        return None
    return _snapped(totals, peaks)


def _peaks(totals: Totals, radius: float) -> np.ndarray:
    """Values, ascending, that are frequent and farther than `radius` from a more frequent one."""
    peaks: list[int] = []
    free = totals.shares >= _PEAK_SHARE
    while free.any():
        best = int(totals.values[np.argmax(np.where(free, totals.pixels, -1))])
        peaks.append(best)
        free &= distances(totals.values, best, totals.space) > radius
    return np.asarray(sorted(peaks), dtype=np.int64)


def _snapped(totals: Totals, peaks: np.ndarray) -> Meaning:
    """Each peak is a class; everything else goes to the nearest peak."""
    known = [int(peak) for peak in peaks]
    shown = [format_raw(value, totals.space) for value in known]
    binary = len(known) == 2
    names = tuple(name_of(value, totals) for value in known)
    if binary:
        names = ("background", "foreground")
    meaning = in_order(known, names, "frequent; values between were noise or soft edges")
    meaning.snap = True
    share = 1 - float(totals.shares[np.isin(totals.values, peaks)].sum())
    cause = "JPEG compression" if totals.lossy else "soft edges"
    how = f"cut at {(known[0] + known[1]) // 2 + 1}" if binary and totals.space == "values" else ""
    meaning.notes.append(
        f"{format_share(share)} of the pixels lie between {', '.join(shown[:8])} ({cause}) and "
        f"took the nearest class{f' ({how})' if how else ''}. Masks saved as PNG without smoothing "
        f"are exact."
    )
    return meaning


def instance_like(facts: Sequence[PairFacts]) -> bool:
    """Whether masks number their objects: 1 to n in each, with an n of its own."""
    most = []
    for fact in facts:
        values = fact.values[fact.values > 0]
        if len(values) and int(values[-1]) != len(values):
            return False
        most.append(len(values))
    return max(most) >= 4 and len(set(most)) >= 3 and len(facts) >= 5


def read_colors(totals: Totals, declared: DeclaredClasses | None) -> Meaning:
    """Colours, without the user's mapping."""
    if declared is not None and declared.colors is not None:
        return _declared_colors(totals, declared.names, declared.colors)
    shares = totals.shares
    main = totals.values[totals.solid & (shares > 1e-5) | (shares >= _PEAK_SHARE)]
    if len(totals.values) > MAX_GUESSED_CLASSES or totals.lossy:
        main = _peaks(totals, radius=48)
    void = [_VOC_VOID] if _VOC_VOID in main and len(main) > 2 else []
    classes = [int(value) for value in main if value not in void]
    rest = 1 - float(shares[np.isin(totals.values, main)].sum())
    if not 2 <= len(classes) <= MAX_GUESSED_CLASSES or rest > MAX_SNAPPED_SHARE:
        raise looks_like_instances(totals)
    names = tuple(name_of(value, totals) for value in classes)
    if declared is not None:
        if len(declared.names) != len(classes):
            raise ask(
                totals,
                f"the masks hold {len(classes)} colours but {declared.file_name} names "
                f"{len(declared.names)} classes without colours",
                {format_raw(classes[0], "colors"): declared.names[0], "*": declared.names[-1]},
            )
        raise ask(
            totals,
            f"{declared.file_name} does not say which of the {len(classes)} colours is which "
            f"class. Write its lines as `name red green blue`, or",
            dict(zip((format_raw(v, "colors") for v in classes), declared.names, strict=True)),
        )
    if rest > 0:
        meaning = _snapped(totals, np.asarray(classes + void))
        meaning.names = names
    else:
        meaning = in_order(classes, names, "each colour is one class")
    for value in void:
        meaning.targets[value] = IGNORE_INDEX
        meaning.whys[value] = "Pascal VOC's colour of object borders: void"
    return meaning


def _declared_colors(totals: Totals, names: tuple[str, ...], colors: tuple[Color, ...]) -> Meaning:
    known = [pack_color(color) for color in colors]
    meaning = in_order(known, names, "colour given in the class list")
    unknown = ~np.isin(totals.values, known)
    if not unknown.any():
        return meaning
    share = float(totals.shares[unknown].sum()) + totals.other_pixels / totals.pixels.sum()
    rare = ~totals.solid | (totals.shares < _STRAY_SHARE / 5) | totals.lossy
    odd = totals.values[unknown & ~rare]
    if share > MAX_SNAPPED_SHARE or len(odd):
        value = int(odd[0]) if len(odd) else int(totals.values[unknown][0])
        raise DatasetError(
            f"{totals.file_of(value)} holds the colour {format_raw(value, 'colors')} "
            f"{unpack_color(value)}, which the class list does not "
            f"have ({format_share(share)} of all pixels have such colours). Add a line"
            f" `name red green blue` for it.",
        )
    meaning.snap = True
    meaning.notes.append(
        f"{format_share(share)} of the pixels have colours beside those of the class list (soft "
        f"edges or compression) and took the nearest class."
    )
    return meaning
