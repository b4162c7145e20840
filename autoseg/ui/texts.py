"""The page's texts in the reader's language. English stands in the code and is the key."""

import hashlib
import json
from functools import cache
from html import escape
from importlib.resources import files

import gradio as gr
from gradio.context import LocalContext

LANGUAGES = ("en", "zh")
"""Languages of the page; the first is that of the code."""


def tr(text: str, **values: object) -> str:
    """A text of a callback in the language of the browser that asked.

    Args:
        text: English, with `{name}` where a value goes.
        values: What goes there.
    """
    return dictionary(language()).get(text, text).format(**values)


def label(text: str) -> str:
    """A text of the layout, which the browser puts into its own language."""
    if text not in dictionary("zh"):
        return text
    return gr.I18n()(_key(text))  # type: ignore[return-value]  # Gradio takes it for a text.


def both(text: str) -> str:
    """A text within the layout's own HTML, in all languages; the style sheet shows one."""
    said = dictionary("zh").get(text)
    if said is None:
        return escape(text)
    return f'<span class="as-en">{escape(text)}</span><span class="as-zh">{escape(said)}</span>'


def language() -> str:
    """Language of the browser whose event is being answered; English where there is none."""
    request = LocalContext.request.get(None)
    accepted = request.headers.get("accept-language", "") if request is not None else ""
    first = str(accepted).split(",")[0].strip().lower()
    return next((name for name in LANGUAGES if first.split("-")[0] == name), LANGUAGES[0])


def translations() -> gr.I18n:
    """All texts of layouts, as `launch` takes them."""
    chinese = dictionary("zh")
    return gr.I18n(
        en={_key(text): text for text in chinese},
        zh={_key(text): said for text, said in chinese.items()},
    )


@cache
def dictionary(name: str) -> dict[str, str]:
    """English texts and what they are in another language; empty for English itself."""
    merged: dict[str, str] = {}
    folder = files("autoseg.ui").joinpath("locales", name)
    if folder.is_dir():
        for file in sorted(folder.iterdir(), key=lambda file: file.name):
            merged |= json.loads(file.read_text(encoding="utf-8"))
    return merged


def _key(text: str) -> str:
    """A key without the dots and braces that mean something to the browser's i18n."""
    return "t" + hashlib.sha256(text.encode()).hexdigest()[:12]
