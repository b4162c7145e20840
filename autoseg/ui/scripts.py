"""Scripts and style sheets of our own components, and the texts in them."""

import re
from collections.abc import Iterable
from importlib.resources import files

from autoseg.ui.texts import LANGUAGES, dictionary

_TEXT = re.compile(r'\bT\("((?:[^"\\]|\\.)*)"')


def read_beside(*names: str) -> str:
    """Files that lie beside this module, one after the other."""
    folder = files("autoseg.ui")
    return "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def script(*names: str) -> str:
    """A component's script, shut off from those of others."""
    return "(() => {\n" + read_beside("elements.js", *names) + "\n})();"


def script_texts(source: str, more: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """What a script says by `T("...")`, in the languages other than that of the code."""
    wanted = {text.replace('\\"', '"') for text in _TEXT.findall(source)} | set(more)
    return {
        name: {text: said for text, said in dictionary(name).items() if text in wanted}
        for name in LANGUAGES[1:]
    }
