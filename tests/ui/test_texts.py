"""Every text of the page, English and Chinese, found by reading the code."""

import ast
import json
import re
import string
from collections import Counter
from functools import cache
from pathlib import Path

import gradio as gr
import pytest
from gradio.context import LocalContext

import autoseg.ui
from autoseg.ui import gradio_texts, report_words, texts

FOLDER = Path(autoseg.ui.__file__).parent
MODULES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.py"))
LISTED = {
    "gradio_texts.py": [*gradio_texts.BY_KEY.values(), *gradio_texts.NAMES],
    "report_words.py": report_words.FIXED,
}
"""What others say, and these modules put into the reader's language."""
SPEAKING = ("tr", "label", "both")


@cache
def said(module: str) -> list[ast.Call]:
    """Calls of a module that say something to a person."""
    tree = ast.parse((FOLDER / module).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call for call in calls if isinstance(call.func, ast.Name) and call.func.id in SPEAKING]


def english(module: str) -> list[str]:
    texts = [call.args[0].value for call in said(module) if isinstance(call.args[0], ast.Constant)]
    return [*texts, *given_to_canvases(module), *LISTED.get(module, ())]


def given_to_canvases(module: str) -> list[str]:
    """What a canvas shows before it has an image; its script translates it."""
    tree = ast.parse((FOLDER / module).read_text(encoding="utf-8"))
    return [
        keyword.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "MaskCanvas"
        for keyword in node.keywords
        if keyword.arg == "empty" and isinstance(keyword.value, ast.Constant)
    ]


def fields(text: str) -> Counter:
    return Counter((name, form) for _, name, form, _ in string.Formatter().parse(text) if name)


@pytest.mark.parametrize("module", MODULES)
def test_a_text_is_written_where_it_is_said(module):
    """A text that comes from a variable cannot be found here, so nobody would translate it."""
    if module != "texts.py":
        hidden = [
            call.lineno for call in said(module) if not isinstance(call.args[0], ast.Constant)
        ]
        assert hidden == []


@pytest.mark.parametrize("module", MODULES)
def test_every_text_has_its_chinese(module):
    assert [text for text in english(module) if text not in texts.dictionary("zh")] == []


def test_a_translation_has_the_same_places_for_values():
    for text, chinese in texts.dictionary("zh").items():
        assert fields(text) == fields(chinese), text


def test_no_translation_is_left_over():
    scripts = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.js"))
    used = {text for module in MODULES for text in english(module)}
    quoted = set(re.findall(r"\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'|`([^`]*)`", scripts))
    in_scripts = {text.replace("\\'", "'") for found in quoted for text in found if text}
    assert [text for text in texts.dictionary("zh") if text not in used | in_scripts] == []


def test_a_text_is_the_same_chinese_in_every_file():
    meant: dict[str, set[str]] = {}
    for file in (FOLDER / "locales" / "zh").glob("*.json"):
        for text, chinese in json.loads(file.read_text(encoding="utf-8")).items():
            meant.setdefault(text, set()).add(chinese)
    assert {text: found for text, found in meant.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("zh-TW", "zh"), ("ZH", "zh"), ("en-GB,zh", "en"),
        ("de", "en"), ("", "en"),
    ],
)  # fmt: skip
def test_the_browsers_first_language_decides(accepted, language):
    token = LocalContext.request.set(gr.Request(headers={"accept-language": accepted}))
    try:
        assert texts.language() == language
        said = texts.tr("Not signed in")
        assert said == (texts.dictionary("zh")["Not signed in"] if language == "zh" else said)
        assert said.isascii() == (language == "en")
    finally:
        LocalContext.request.reset(token)


def test_a_text_within_html_is_escaped_in_both_languages(monkeypatch):
    monkeypatch.setattr(texts, "dictionary", lambda name: {"<a>": "<b>"})
    assert "&lt;a&gt;" in texts.both("<a>") and "&lt;b&gt;" in texts.both("<a>")
    assert texts.both("<c>") == "&lt;c&gt;"
