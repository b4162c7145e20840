"""What the check of a data set says in English, in the reader's language.

Verdicts are stored, and printed by the command line, in English. Here their sentences are
recognised by their form; one that is not stays as it is.
"""

import re
from collections.abc import Callable
from functools import cache

from autoseg.ui.texts import tr

_Say = Callable[..., str]

_FORMS: dict[str, _Say] = {
    "all {size}": lambda **of: tr("all {size}", **of),
    "{number} sizes, {small} to {large}, most often {size} ({count} of {all})": lambda **of: tr(
        "{number} sizes, {small} to {large}, most often {size} ({count} of {all})", **of
    ),
    "as you said": lambda: tr("as you said"),
    "nearest class": lambda: tr("nearest class"),
    "every other value": lambda: tr("every other value"),
    "{number} other values": lambda **of: tr("{number} other values", **of),
    "{first} and {second} only: binary": lambda **of: tr("{first} and {second} only: binary", **of),
    "values 0 to {last}: the value is the class": lambda **of: tr(
        "values 0 to {last}: the value is the class", **of
    ),
    "index {value} of the class list or palette": lambda **of: tr(
        "index {value} of the class list or palette", **of
    ),
    "as many values as names ({number}): in order": lambda **of: tr(
        "as many values as names ({number}): in order", **of
    ),
    "numbers with gaps: each is one class, in order": lambda: tr(
        "numbers with gaps: each is one class, in order"
    ),
    "grey values far apart: each is one class, in order": lambda: tr(
        "grey values far apart: each is one class, in order"
    ),
    "frequent; values between were noise or soft edges": lambda: tr(
        "frequent; values between were noise or soft edges"
    ),
    "each colour is one class": lambda: tr("each colour is one class"),
    "colour given in the class list": lambda: tr("colour given in the class list"),
    "value given in {file}": lambda **of: tr("value given in {file}", **of),
    "called {name} in {file}": lambda **of: tr("called {name} in {file}", **of),
    "255 beside small numbers: void, as in Cityscapes and Pascal VOC": lambda: tr(
        "255 beside small numbers: void, as in Cityscapes and Pascal VOC"
    ),
    "255 beside the values of the class list: void": lambda: tr(
        "255 beside the values of the class list: void"
    ),
    "Pascal VOC's colour of object borders: void": lambda: tr(
        "Pascal VOC's colour of object borders: void"
    ),
    "Class names come from {file}.": lambda **of: tr("Class names come from {file}.", **of),
    "No mask holds {values}, which you said to ignore.": lambda **of: tr(
        "No mask holds {values}, which you said to ignore.", **of
    ),
    "No pixel has the class {names}.": lambda **of: tr("No pixel has the class {names}.", **of),
    "{number} pairs do not decode and were left out.": lambda **of: tr(
        "{number} pairs do not decode and were left out.", **of
    ),
    "{number} masks were turned like their images, as EXIF says.": lambda **of: tr(
        "{number} masks were turned like their images, as EXIF says.", **of
    ),
    "Every other value took the class of the nearest named one.": lambda: tr(
        "Every other value took the class of the nearest named one."
    ),
    "not an image file": lambda: tr("not an image file"),
    "image without a mask": lambda: tr("image without a mask"),
    "mask without an image": lambda: tr("mask without an image"),
    "neither in an image nor in a mask folder": lambda: tr(
        "neither in an image nor in a mask folder"
    ),
}
"""Sentences of `autoseg.data` by their form, where a {name} is any text."""


def said(sentence: str) -> str:
    """A sentence of the check in the reader's language."""
    for pattern, say in _patterns():
        if found := pattern.fullmatch(sentence):
            return say(**found.groupdict())
    return sentence


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], _Say], ...]:
    return tuple(
        (re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(form))), say)
        for form, say in _FORMS.items()
    )
