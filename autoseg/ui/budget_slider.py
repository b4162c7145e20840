"""The time budget: a slider over labelled stops beside a field for any other time."""

from typing import Any

import gradio as gr

from autoseg.ui.scripts import read_beside, script, script_texts, with_fixed

JS = script("budget_slider.js")
"""The script, which tells nothing but the value."""

STOPS = (
    "1m", "2m", "3m", "4m", "6m", "10m", "15m", "20m", "30m", "45m", "1h", "1h30m", "2h", "3h",
    "4h",
)  # fmt: skip
"""Times on the slider: each about a third more than the one before."""

LEAST_S = 20
"""A shorter time, in seconds, is a slip: nothing is searched in it."""

_MARKED = ("1m", "4m", "15m", "45m", "4h")

_HTML = (
    '<div class="bs"><div class="bs-head"><span class="bs-title"></span>'
    '<input type="text" autocomplete="off" spellcheck="false"></div>'
    '<input type="range" min="0" step="1"><div class="bs-marks" aria-hidden="true"></div>'
    '<div class="bs-info"></div></div>'
)


def budget_slider(value: str, **options: Any) -> gr.HTML:
    """A component whose value is the text of a duration, as `config.parse_duration` reads it.

    What is typed comes as it is.

    Args:
        value: At first, e.g. "1h30m".
        options: Of `gr.HTML`.
    """
    return gr.HTML(
        value,
        html_template=_HTML,
        css_template=read_beside("budget_slider.css"),
        js_on_load=with_fixed(
            JS, texts=script_texts(JS), stops=list(STOPS), marked=list(_MARKED), least=LEAST_S
        ),
        apply_default_css=False,
        **options,
    )
