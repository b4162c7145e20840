"""The scripts of the page's components: they parse, and each text in them has its Chinese."""

import re
import subprocess
from pathlib import Path

import playwright
import pytest

import autoseg.ui
from autoseg.ui import (
    budget_slider,
    dataset_drop,
    downloader,
    image_browser,
    mask_canvas,
    verdict_table,
)
from autoseg.ui.scripts import script, script_texts, spoken, with_fixed
from autoseg.ui.texts import dictionary

FOLDER = Path(autoseg.ui.__file__).parent
FILES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.js"))
COMPONENTS = {
    module.__name__.rpartition(".")[2]: module.JS
    for module in (
        budget_slider, dataset_drop, downloader, image_browser, mask_canvas, verdict_table,
    )
}  # fmt: skip
NODE = next((Path(playwright.__file__).parent / "driver").glob("node*"))
"""The JavaScript engine that Playwright brings."""


def read(file: str) -> str:
    return (FOLDER / file).read_text(encoding="utf-8")


def fault(source: str, folder: Path) -> str:
    """What a JavaScript engine says against a script; "" where it can be run."""
    file = folder / "script.js"
    file.write_text(source, encoding="utf-8")
    return subprocess.run([NODE, "--check", file], capture_output=True, text=True).stderr


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_components_script_parses(name, tmp_path):
    """As a whole: what two of its files both declare is a fault too."""
    assert fault(with_fixed(COMPONENTS[name]), tmp_path) == ""


def test_a_name_that_two_files_declare_is_a_fault(tmp_path):
    assert "LANGUAGE" in fault(script("elements.js"), tmp_path)


def test_every_script_belongs_to_a_component():
    joined = "\n".join(COMPONENTS.values())
    assert [file for file in FILES if read(file) not in joined] == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_text_of_a_script_has_its_chinese_and_goes_to_the_page(name):
    said = spoken(COMPONENTS[name])
    assert said - set(dictionary("zh")) == set()
    assert said == set(script_texts(COMPONENTS[name])["zh"])


def test_a_text_is_found_on_a_line_of_its_own_and_with_quotes_in_it():
    assert spoken('T("One") + T(\n  "Two \\"2\\"",\n) + FIT("Three")') == {"One", 'Two "2"'}


@pytest.mark.parametrize("file", FILES)
def test_a_script_is_written_as_the_others(file):
    """With double quotes, in lines as long as those of the Python code; a text is never broken."""
    lines = [line for line in read(file).splitlines() if not re.fullmatch(r' *"[^"]*",?', line)]
    assert [line for line in lines if len(line) > 100] == []
    literals = r'"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|//[^\n]*|/\*.*?\*/'
    assert "'" not in re.sub(literals, "", read(file), flags=re.S)
