"""The look of the app: one theme, one style sheet, both without anything from the network."""

from importlib.resources import files
from typing import Any

import gradio as gr

CSS = files("autoseg.ui").joinpath("style.css").read_text(encoding="utf-8")
"""Style sheet of all tabs."""

SERIES_COLORS = (
    "#3B8FD6", "#D55E00", "#009E73", "#CC79A7", "#B97F00", "#8B6FC0", "#1A9CB0", "#7A7A7A",
)  # fmt: skip
"""Colours of curves: 3 to 1 against both themes, told apart by the colour-blind too.

Source: Okabe and Ito 2008; blue, orange and sky blue moved to a middle lightness.
"""

_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """The theme; its fonts are those of the system."""
    base = gr.themes.Default(
        primary_hue="indigo", neutral_hue="slate", font=_FONT, font_mono=_MONO, radius_size="md"
    )
    # The defaults of these miss the contrast of 4.5 to 1 that WCAG AA asks for.
    return base.set(
        body_text_color_subdued="#55657d",
        body_text_color_subdued_dark="#a9b6c9",
        block_info_text_color="#55657d",
        block_info_text_color_dark="#a9b6c9",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
    )


def html(value: str = "", **options: Any) -> gr.HTML:
    """Our own HTML, which Gradio's style for texts leaves alone."""
    return gr.HTML(value, apply_default_css=False, **options)


def overlay_viewer() -> gr.ImageSlider:
    """The image and its mask on both sides of a line, hidden until there is one."""
    return gr.ImageSlider(
        label="Image and mask: drag the line", type="filepath", visible=False,
        interactive=False, max_height=560, buttons=["fullscreen"], elem_id="viewer",
    )  # fmt: skip
