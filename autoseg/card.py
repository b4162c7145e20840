"""The model card: what the model is, what it scores, and the lines that load it."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from autoseg import card_results, card_training
from autoseg.bundle import BundleInfo
from autoseg.card_results import SCORE_NAMES
from autoseg.card_text import code, listed, plain, yaml
from autoseg.card_usage import usage
from autoseg.licences import hub_fields, model_licence

__all__ = ["REPO_PLACEHOLDER", "SCORE_NAMES", "is_generated", "render_card"]

REPO_PLACEHOLDER = "REPO_OR_FOLDER"
"""Stands in the code for the folder or the Hub repository; whoever pushes fills it in."""

_METRIC_TYPES = {
    "macro_iou": "mean_iou",
    "macro_dice": "f1",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "pixel_accuracy": "accuracy",
}
"""The Hub's identifiers, where it has one for exactly that score."""

_MARK_START = "<!-- card by autoseg, edit it as you like: "

_BACKGROUNDS = frozenset({"background", "_background_", "bg"})
_MAX_NAMES = 6


def render_card(
    info: BundleInfo,
    report: Mapping[str, Any] | None,
    *,
    repo_id: str | None = None,
    licence: str | None = None,
    data_licence: str | None = None,
    examples: Sequence[str] | None = None,
) -> str:
    """Text of `README.md`: YAML front matter with `model-index`, then the card for people.

    The same bundle gives the same card, and `is_generated` tells one that nobody has edited.

    Args:
        info: What the bundle knows of itself.
        report: Content of `report.json`; None: the model was not evaluated.
        repo_id: Repository that the code loads from; None: `REPO_PLACEHOLDER`.
        licence: Licence of the model; None: what follows from those of weights and data.
        data_licence: Licence of the training data; None: what the report knows.
        examples: Paths of the example pictures to show; None: all that the report names.
    """
    data_licence = data_licence or ((report or {}).get("data") or {}).get("licence")
    licence = licence or model_licence(info.weights_licence, data_licence)
    sections = [
        f"# {_title(info)}",
        _introduction(info, report),
        card_results.examples(info, report or {}, examples),
        usage(info, repo_id or REPO_PLACEHOLDER),
        card_results.scores(info, report),
        card_results.limits(info, report),
        card_training.search(report),
        card_training.recipe(info, report),
        card_training.data(info, report),
        card_training.licences(info, licence, data_licence),
    ]
    body = "\n\n".join(section.strip() for section in sections if section)
    card = f"---\n{_front_matter(info, report, repo_id, licence)}---\n\n{body}\n\n"
    return f"{card}{_mark(card)}\n"


def is_generated(card: str) -> bool:
    """Whether a card is still as some version of autoseg wrote it: nobody has edited it."""
    text, start, rest = card.replace("\r\n", "\n").rpartition(_MARK_START)
    return bool(start) and start + rest.rstrip() == _mark(text)


def _mark(text: str) -> str:
    """A comment that readers do not see, with a digest of all that stands above it."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"{_MARK_START}{digest[:32]} -->"


def _title(info: BundleInfo) -> str:
    names = [name for name in info.classes.names if name.casefold() not in _BACKGROUNDS]
    shown = [plain(name) for name in names[:_MAX_NAMES]]
    if len(names) > _MAX_NAMES:
        shown.append(f"{len(names) - _MAX_NAMES} more classes")
    return f"Segmentation of {listed(shown)}"


def _introduction(info: BundleInfo, report: Mapping[str, Any] | None) -> str:
    names = [f"**{plain(name)}**" for name in info.classes.names[: 2 * _MAX_NAMES]]
    if info.classes.num_classes > len(names):
        names.append(f"{info.classes.num_classes - len(names)} more")
    parameters = ((report or {}).get("search") or {}).get("parameters")
    size = f" with {parameters / 1e6:.1f} million parameters" if parameters else ""
    if info.recipe is None:
        network = f"It is a network of segmentation_models_pytorch{size}."
    else:
        network = (
            f"It is a small {info.recipe.decoder_name} decoder on the pretrained encoder "
            f"`{code(info.recipe.encoder_name)}`{size}, found and trained by autoseg."
        )
    sentence = (
        f"Give it an image, and it says of every pixel which of {info.classes.num_classes} classes "
        f"it shows: {listed(names)}. {network}"
    )
    return "\n\n".join(filter(None, (sentence, card_results.headline(report))))


def _front_matter(
    info: BundleInfo, report: Mapping[str, Any] | None, repo_id: str | None, licence: str
) -> str:
    """YAML for the Hub."""
    source = ((report or {}).get("data") or {}).get("source") or {}
    values: dict[str, Any] = {
        **hub_fields(licence),
        "library_name": "segmentation-models-pytorch",
        "pipeline_tag": "image-segmentation",
        "tags": ["autoseg", "semantic-segmentation", "image-segmentation", "pytorch"],
    }
    if info.recipe is not None:
        values["base_model"] = f"timm/{info.recipe.encoder_name}"
        values["base_model_relation"] = "finetune"
    if source.get("repo_id"):
        values["datasets"] = [source["repo_id"]]
    if report is not None:
        results = _results(report, source)
        if results:
            values["metrics"] = ["mean_iou"]
            name = repo_id.rpartition("/")[2] if repo_id else _title(info)
            values["model-index"] = [{"name": name, "results": [results]}]
    return "".join(yaml(values))


def _results(report: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any] | None:
    """The scores as `model-index` wants them; None if there are none."""
    scores = report["model"]["scores"]
    metrics = [
        {
            "type": _METRIC_TYPES.get(key, key),
            "name": name,
            "value": round(scores[key]["value"], 4),
        }
        for key, name in SCORE_NAMES.items()
        if (scores.get(key) or {}).get("value") is not None
    ]
    if not metrics:
        return None
    dataset = {"name": "the user's images", "type": "custom", "split": report["split"]}
    if source.get("repo_id"):
        dataset = {**dataset, "name": source["repo_id"], "type": source["repo_id"]}
        if source.get("revision"):
            dataset["revision"] = source["revision"]
    task = {"type": "image-segmentation", "name": "Semantic segmentation"}
    return {"task": task, "dataset": dataset, "metrics": metrics}
