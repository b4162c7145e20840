"""What the Hub reads in a README: YAML front matter, from which it makes tags; its mistakes."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from loopback_hub.repositories import RegularFile, Tree

SDKS = ("gradio", "docker", "static", "streamlit")
_COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_SHORT_DESCRIPTION_LENGTH = 60
_FRONT_MATTER = re.compile(r"^\s*---\r?\n(.*?)\r?\n---\s*(?:\r?\n|$)", re.DOTALL)


def mistakes(readme: str, kind: str) -> tuple[list[str], list[str]]:
    """Errors, for which the Hub refuses a README, and warnings."""
    match = _FRONT_MATTER.match(readme)
    if match is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        card = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"], []
    if not isinstance(card, dict):
        return ["YAML Metadata Error: the metadata must be a mapping"], []
    return [*_wrong_fields(card, kind), *_wrong_results(card.get("model-index", []))], []


def _wrong_fields(card: dict[str, Any], kind: str) -> Iterator[str]:
    for name in ("license", "pipeline_tag", "library_name"):
        if not isinstance(card.get(name, ""), str | list):
            yield f'"{name}" must be a string'
    if kind != "space":
        return
    if card.get("sdk", SDKS[0]) not in SDKS:
        yield f'"sdk" must be one of [{", ".join(SDKS)}]'
    for name in ("colorFrom", "colorTo"):
        if card.get(name, _COLORS[0]) not in _COLORS:
            yield f'"{name}" must be one of [{", ".join(_COLORS)}]'
    if len(str(card.get("short_description", ""))) > _SHORT_DESCRIPTION_LENGTH:
        yield '"short_description" length must be less than or equal to 60 characters long'


def _wrong_results(model_index: Any) -> Iterator[str]:
    if not isinstance(model_index, list):
        yield '"model-index" must be an array'
        return
    for i, model in enumerate(model_index):
        if not isinstance(model.get("results"), list):
            yield f'"model-index[{i}].results" is required'
            continue
        for k, result in enumerate(model["results"]):
            where = f"model-index[{i}].results[{k}]"
            for part, fields in (("task", ("type",)), ("dataset", ("type", "name"))):
                for name in fields:
                    if not isinstance(result.get(part, {}).get(name), str):
                        yield f'"{where}.{part}.{name}" is required'
            for m, metric in enumerate(result.get("metrics") or [{}]):
                if not {"type", "value"} <= metric.keys():
                    yield f'"{where}.metrics[{m}]" needs a type and a value'


def read_card(tree: Tree) -> dict[str, Any]:
    """Front matter of the README; empty if there is none that can be read."""
    readme = tree.get("README.md")
    if not isinstance(readme, RegularFile):
        return {}
    match = _FRONT_MATTER.match(readme.content.decode(errors="replace"))
    try:
        card = yaml.safe_load(match[1]) if match else None
    except yaml.YAMLError:
        return {}
    return card if isinstance(card, dict) else {}


def tags_of(card: dict[str, Any], tree: Tree) -> list[str]:
    """The tags by which the Hub filters, each once."""
    tags = [card.get("library_name"), card.get("pipeline_tag"), *_listed(card.get("tags"))]
    if any(path.endswith(".safetensors") for path in tree):
        tags.append("safetensors")
    for name, prefix in (
        ("datasets", "dataset"),
        ("base_model", "base_model"),
        ("license", "license"),
    ):
        tags += [f"{prefix}:{value}" for value in _listed(card.get(name))]
    tags.append("region:us")
    return list(dict.fromkeys(str(tag) for tag in tags if tag))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
