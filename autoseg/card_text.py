"""Text that Markdown, HTML and YAML show as it is, whatever a user named a class."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from autoseg.config import Color
from autoseg.text import printable


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A Markdown table of cells that are escaped already; columns of `numbers` stand right."""
    right = set(numbers)
    rule = ["---:" if k in right else "---" for k in range(len(header))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def bullets(lines: Iterable[str]) -> str:
    """A Markdown list of lines that are escaped already."""
    return "\n".join(f"- {line}" for line in lines)


def percent(value: float | None) -> str:
    """A share as per cent with one decimal; "-" where there is none."""
    return "-" if value is None else f"{100 * value:.1f}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "6.0 min", "2.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 trial", "1,200 trials"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(parts: Sequence[str]) -> str:
    """Parts as a sentence has them: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def swatch(color: Color) -> str:
    """A block of the colour, then its code: readers without styles see the code at least."""
    code = "#{:02x}{:02x}{:02x}".format(*color)
    style = f"color:{code};font-size:1.2em;text-shadow:0 0 2px #888"
    return f'<span style="{style}">&#9608;</span> `{code}`'


def code(text: str) -> str:
    """Text that cannot end the code span it stands in."""
    return printable(text).replace("`", "'").replace("|", "\\|")


def plain(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#~$" else c for c in escaped)


def yaml(value: Any, indent: str = "") -> Iterable[str]:
    """Lines of block YAML; scalars are JSON, which YAML reads as it stands."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list):
                yield f"{indent}{key}:\n"
                yield from yaml(item, indent + "  ")
            else:
                yield f"{indent}{key}: {_scalar(item)}\n"
        return
    for item in value:
        if isinstance(item, dict):
            first, *rest = yaml(item, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {_scalar(item)}\n"


def _scalar(value: Any) -> str:
    return json.dumps(printable(value) if isinstance(value, str) else value, ensure_ascii=False)
