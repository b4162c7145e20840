"""Gradio's components that ours extend, without the type stubs that Gradio would write.

Where a class extends a component, Gradio writes a `.pyi` file beside its module. In an installed
package that is litter, and mypy then reads the stub, which grows stale, in the module's place.
"""

from functools import partial
from typing import Any

import gradio as gr
from gradio import JSON, component_meta
from gradio.components import Component

__all__ = ["HTML", "JSON", "Gallery", "Image"]

_SCHEMAS: dict[type[Component], dict[str, Any]] = {}


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


def _schema(component_class: type[Component], component: Component) -> dict[str, Any]:
    if component_class not in _SCHEMAS:
        _SCHEMAS[component_class] = component_class.api_info(component)
    return _SCHEMAS[component_class]


class Image(gr.Image):
    """Gradio's, whose schema is made once: each update had taken 0.5 ms for it."""

    is_template = True
    """For Gradio: the browser shows what it shows for the base class."""

    def api_info(self) -> dict[str, Any]:
        """What the API tells of its values."""
        return _schema(gr.Image, self)


class Gallery(gr.Gallery):
    """Gradio's, whose schema is made once: each update had taken 2.4 ms for it."""

    is_template = True
    """For Gradio: the browser shows what it shows for the base class."""

    def api_info(self) -> dict[str, Any]:
        """What the API tells of its values."""
        return _schema(gr.Gallery, self)
