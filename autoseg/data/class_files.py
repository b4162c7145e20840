"""Class lists that lie beside images: names, and colours or mask values where they are given."""

import json
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from autoseg.config import Color
from autoseg.errors import DatasetError
from autoseg.text import printable

CLASS_FILES = (
    "classes.txt",
    "labels.txt",
    "class_names.txt",
    "label_names.txt",
    "labelmap.txt",
    "label_colors.txt",
    "class_dict.csv",
    "classes.csv",
    "id2label.json",
)
"""Names under which class lists are looked for, best first."""

_MAX_NAME = 200
"""Characters of a class name that are kept."""


@dataclass(frozen=True)
class DeclaredClasses:
    """What a class list says."""

    file_name: str
    """Name of the class list."""
    names: tuple[str, ...]
    """Class names in the file's order."""
    colors: tuple[Color, ...] | None = None
    """One colour per class where the file gives them."""
    values: tuple[int, ...] | None = None
    """One mask value per class where the file gives them."""


def read_class_file(path: Path) -> DeclaredClasses:
    """Read one class per line: `name`, `name r g b`, `0: name`, `name: 0`, or CVAT's label map.

    A JSON file maps mask values to names: `{"0": "background", "1": "leaf"}`. What a terminal would
    obey instead of showing it is taken out of the names.

    Raises:
        DatasetError: The file is no text, is empty, or its lines are of different kinds.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path.name} is not a readable text file ({error}).") from error
    lines = _json_lines(text, path) if path.suffix == ".json" else text.splitlines()
    lines = [line.strip() for line in lines]
    lines = [line for line in lines if line and not line.startswith("#")]
    if lines and re.fullmatch(r"\W*(name|label|class)\W+r\w*\W+g\w*\W+b\w*\W*", lines[0].lower()):
        del lines[0]
    if not lines:
        raise DatasetError(f"{path.name} is empty. Write one class name per line, or remove it.")
    colored = [found for line in lines if (found := _with_color(line)) is not None]
    valued = [pair for line in lines if (pair := _with_value(line)) is not None]
    if len(colored) == len(lines):
        names, colors = zip(*colored, strict=True)
        declared = DeclaredClasses(path.name, names, colors=colors)
    elif len(valued) == len(lines):
        valued.sort(key=lambda pair: pair[1])
        names, values = zip(*valued, strict=True)
        declared = DeclaredClasses(path.name, names, values=values)
    else:
        declared = DeclaredClasses(path.name, tuple(line.strip("\"'") for line in lines))
    names = tuple(printable(name).strip()[:_MAX_NAME] for name in declared.names)
    declared = replace(declared, names=names)
    for given in (declared.names, declared.colors, declared.values):
        if given is not None and len(set(given)) != len(given):
            twice = Counter[object](given).most_common(1)[0][0]
            raise DatasetError(f"{path.name} gives {twice!r} more than once. Classes must differ.")
    return declared


def _json_lines(text: str, path: Path) -> list[str]:
    """A JSON map of values to names as lines `value: name`."""
    try:
        names = json.loads(text)
        return [f"{int(value)}: {name}" for value, name in names.items()]
    except (ValueError, AttributeError) as error:
        raise DatasetError(
            f"{path.name} should map mask values to names, such as "
            f'{{"0": "background", "1": "leaf"}} ({error}). Correct it, or remove it.'
        ) from error


def _with_color(line: str) -> tuple[str, Color] | None:
    match = re.fullmatch(
        r"(.+?)[\s,;:\t(]+(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})[\s):,;]*(?::.*)?", line
    )
    if match is None:
        return None
    red, green, blue = (int(match.group(place)) for place in (2, 3, 4))
    if max(red, green, blue) > 255:
        return None
    return match.group(1).strip("\"' "), (red, green, blue)


def _with_value(line: str) -> tuple[str, int] | None:
    if match := re.fullmatch(r"(\d{1,5})\s*[\s:=,;]\s*(.+)", line):
        return match.group(2).strip("\"' "), int(match.group(1))
    if match := re.fullmatch(r"(.+?)\s*[:=,;\t]\s*(\d{1,5})", line):
        return match.group(1).strip("\"' "), int(match.group(2))
    return None
