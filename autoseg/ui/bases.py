"""Gradio's components that ours extend, without the type stubs that Gradio would write.

Where a class extends a component, Gradio writes a `.pyi` file beside its module. In an installed
package that is litter, and mypy then reads the stub, which grows stale, in the module's place.
"""

from typing import Any

from gradio import HTML, JSON, Image, component_meta

__all__ = ["HTML", "JSON", "Image"]


def write_nothing(component_class: type, class_name: str, events: list[Any]) -> None:
    """Takes the place of what writes a stub."""


component_meta.create_or_modify_pyi = write_nothing
