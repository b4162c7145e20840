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

DEFAULT = "6m"
"""Where the slider stands on a page that knows of no choice."""

_KEEP = """(now) => window.autosegBudget ? now : {__type__: 'update'}"""
"""Keeps a choice, from when the kept one was read on: until then the slider shows the default."""

_RESTORE = """(kept, now) => {
  window.autosegBudget = true;
  const isNew = now === DEFAULT && typeof kept === 'string' && kept && kept.length < 40;
  return isNew ? [kept, kept] : [{__type__: 'update'}, now];
}""".replace("DEFAULT", repr(DEFAULT))
"""Shows the kept choice, unless its user has made another by then."""

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


def kept_budget() -> gr.BrowserState:
    """What the browser keeps of the choice; it is laid out on the page itself, not in a tab."""
    return gr.BrowserState("", storage_key="autoseg-budget", secret="autoseg")


def keep_budget(budget: gr.HTML, kept: gr.BrowserState, opening: Any) -> None:
    """Keep the choice in the browser, and show it again after a reload; the server is not asked.

    Args:
        budget: The slider.
        kept: From `kept_budget`.
        opening: Event of the page's opening, after which the kept choice is shown.
    """
    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    budget.change(None, budget, kept, js=_KEEP, trigger_mode="multiple", **quiet)
    opening.then(None, [kept, budget], [budget, kept], js=_RESTORE, **quiet)
