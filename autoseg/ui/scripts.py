"""Scripts and style sheets of our own components, and the texts in them."""

import json
import re
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from autoseg.ui.texts import LANGUAGES, dictionary

_TEXT = re.compile(r'\bT\(\s*"((?:[^"\\]|\\.)*)"')


def read_beside(*names: str) -> str:
    """Files that lie beside this module, one after the other."""
    folder = files("autoseg.ui")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def script(*names: str) -> str:
    """A component's script, shut off from those of others."""
    return "(() => {\n" + read_beside("elements.js", *names) + "\n})();"


def with_fixed(source: str, **values: Any) -> str:
    """A component's script with what it must know and never changes, as `FIXED`.

    Not as custom props: an event that leaves an `HTML` component as it is (`gr.skip()`, or no value
    for it) takes all of these away in the browser (Gradio 6.31, `postprocess_update_dict`).
    """
    return f"const FIXED = {json.dumps(values)};\n{source}"


def spoken(source: str) -> set[str]:
    """English texts that a script says by `T("...")`."""
    return {text.replace('\\"', '"') for text in _TEXT.findall(source)}


def script_texts(source: str, more: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """What a script says, and more, in the languages other than that of the code."""
    wanted = spoken(source) | set(more)
    return {
        name: {text: said for text, said in dictionary(name).items() if text in wanted}
        for name in LANGUAGES[1:]
    }
