"""Gradio's components that ours extend, without the type stubs that Gradio would write.

Where a class extends a component, Gradio writes a `.pyi` file beside its module. In an installed
package that is litter, and mypy then reads the stub, which grows stale, in the module's place.
"""

from functools import partial
from typing import Any

import gradio as gr
from gradio import JSON, Image, component_meta

__all__ = ["HTML", "JSON", "Image"]


def _write_nothing(component_class: type, class_name: str, events: list[Any]) -> None:
    """Takes the place of what writes a stub."""


component_meta.create_or_modify_pyi = _write_nothing


class HTML(gr.HTML):
    """Gradio's, without what it mistakes for events.

    To Gradio every name that stands in quotes in a component's script is an event (6.31). So an
    argument of `__init__` of that name became a function in the page's configuration, and with it
    the whole page and its event loop, all copied for each visitor. The copies of the loop ended
    with tracebacks in the terminal.
    """

    def get_config(self, *args: Any) -> dict[str, Any]:
        """What the browser is told of the component."""
        config = super().get_config(*args)
        return {name: value for name, value in config.items() if not isinstance(value, partial)}
