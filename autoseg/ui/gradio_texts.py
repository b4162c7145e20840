"""What Gradio itself says on the page, in the words that it lacks.

It asks its dictionaries for some keys that none of them has (6.31), and shows the bare key; other
texts stand in its code in English, whatever the browser's language.
"""

import json

import gradio as gr

from autoseg.ui import texts
from autoseg.ui.texts import LANGUAGES, both, dictionary

BY_KEY = {
    "common.complete": "Complete",
    "common.progress": "Progress",
    "common.upload": "Upload",
    "image.no_webcam_support": (
        "This browser gives the page no camera. It does so on localhost and on https pages only."
    ),
    "status.queue_position": "In queue: {position} of {size}",
}
"""Keys that Gradio has no text for in at least one of our languages, and the English."""

NAMES = (
    "Capture from camera",
    "Exit fullscreen mode",
    "File upload",
    "Fullscreen",
    "Gradio footer navigation",
    "More tabs",
    "Paste from clipboard",
    "Remove Image",
    "Upload file",
    "Vega visualization",
)
"""Names of Gradio's buttons and areas that are English in every language."""

SCRIPT = """() => {
  let waiting = false;
  const name = () => {
    waiting = false;
    const texts = TEXTS[document.documentElement.lang.split('-')[0]];
    if (!texts) return;
    for (const attribute of ['aria-label', 'title'])
      for (const part of document.querySelectorAll(`[${attribute}]`)) {
        const said = texts[part.getAttribute(attribute)];
        if (said) part.setAttribute(attribute, said);
      }
  };
  new MutationObserver(() => {
    if (!waiting) { waiting = true; requestAnimationFrame(name); }
  }).observe(document.body, {
    childList: true, subtree: true, attributeFilter: ['aria-label', 'title'],
  });
  name();
}"""


def script() -> str:
    """Puts the names into the browser's language, also those that come later."""
    known = {language: dictionary(language) for language in LANGUAGES[1:]}
    names = {
        language: {name: said[name] for name in NAMES if name in said}
        for language, said in known.items()
    }
    return SCRIPT.replace("TEXTS", json.dumps(names, ensure_ascii=False))


def login_message() -> str:
    """What stands above the fields of Gradio's login page, which has no style sheet of ours."""
    style = (
        ".auth { max-width: 30rem; } "
        "html:lang(zh) .as-en, html:not(:lang(zh)) .as-zh { display: none; }"
    )
    return f"<style>{style}</style>" + both(
        "autoseg finds the best segmentation model for your images. Sign in with the name and the "
        "password that you got from whoever runs it."
    )


def translations() -> gr.I18n:
    """All texts of layouts and those that Gradio lacks, as `launch` takes them."""
    return gr.I18n(
        **{
            language: {**said, **_by_key(language)}
            for language, said in texts.translations().translations_dict.items()
        }
    )


def _by_key(language: str) -> dict[str, str]:
    known = dictionary(language)
    return {key: known.get(text, text) for key, text in BY_KEY.items()}
