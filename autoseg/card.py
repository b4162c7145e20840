"""The model card: what the model is, what it scores, and the lines that load it."""

import json
from collections.abc import Iterable
from typing import Any

from autoseg.bundle import BundleInfo
from autoseg.config import to_dict

REPO_PLACEHOLDER = "REPO_OR_FOLDER"
"""Stands in the code for the folder or the Hub repository; whoever pushes fills it in."""

SCORE_NAMES = {
    "macro_imagewise_iou": "IoU (macro, image-wise)",
    "macro_iou": "IoU (macro)",
    "macro_dice": "Dice / F1 (macro)",
    "macro_imagewise_dice": "Dice (macro, image-wise)",
    "macro_precision": "precision (macro)",
    "macro_recall": "recall (macro)",
    "macro_boundary_iou": "boundary IoU (macro)",
    "pixel_accuracy": "pixel accuracy (micro)",
}
"""Names for people, each with its reduction, in the order of the table."""

_METRIC_TYPES = {
    "macro_iou": "mean_iou",
    "macro_dice": "f1",
    "macro_precision": "precision",
    "macro_recall": "recall",
    "pixel_accuracy": "accuracy",
}
"""The Hub's identifiers, where it has one for exactly that score."""

_HUB_LICENCES = frozenset({"apache-2.0", "mit", "bsd-3-clause", "cc-by-nc-4.0", "cc-by-4.0"})
"""Licences that the Hub knows by the same name; others are "other"."""

_USE = """\
With autoseg (`pip install autoseg-search`), which resizes, tiles and restores the size:

```python
import autoseg

predictor = autoseg.Predictor.from_pretrained("{repo}")
prediction = predictor.predict("image.png")
prediction.mask  # (H, W) uint8, class indices at the image's own size
prediction.save_overlay("overlay.png")
```

With segmentation_models_pytorch alone:

```python
import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

model = smp.from_pretrained("{repo}").eval()
image = Image.open("image.png").convert("RGB")
{resize}
pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
mean, std = torch.tensor({mean}), torch.tensor({std})
pixels = (pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
bottom, right = -pixels.shape[2] % 32, -pixels.shape[3] % 32
padded = torch.nn.functional.pad(pixels, (0, right, 0, bottom), mode="replicate")
with torch.inference_mode():
    logits = model(padded)[:, :, : pixels.shape[2], : pixels.shape[3]]
mask = logits.argmax(1)[0].numpy()  # class indices at the working size
```
"""

_RESIZE_BOX = """\
factor = min({height} / image.height, {width} / image.width)
size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
image = image.resize(size, Image.Resampling.BILINEAR)"""

_RESIZE_SCALE = """\
size = max(1, round(image.width * {scale})), max(1, round(image.height * {scale}))
image = image.resize(size, Image.Resampling.BILINEAR)"""


def render_card(
    info: BundleInfo, report: dict[str, Any] | None, *, verdict: dict[str, Any] | None = None
) -> str:
    """Text of `README.md`: YAML front matter with `model-index`, then the card for people.

    Args:
        info: What the bundle knows of itself.
        report: Content of `report.json`; None: the model was not evaluated.
        verdict: Content of `verdict.json`, for the number and sizes of the images.
    """
    sections = [
        f"# {_title(info)}",
        _introduction(info),
        "## Use\n\n" + _usage(info),
        _scores(report),
        _classes(info, report),
        _training(info, verdict),
        _limits(info, report),
    ]
    body = "\n\n".join(section.strip() for section in sections if section)
    return f"---\n{_front_matter(info, report)}---\n\n{body}\n"


def _title(info: BundleInfo) -> str:
    return (
        f"Semantic segmentation: {', '.join(_plain(name) for name in info.classes.names[:6])}"
        + (" and more" if info.classes.num_classes > 6 else "")
    )


def _introduction(info: BundleInfo) -> str:
    return (
        f"This model gives each pixel of an image one of {info.classes.num_classes} classes. It is "
        f"a {info.recipe.decoder_name} decoder on the encoder `{_code(info.recipe.encoder_name)}`, "
        f"found and fine-tuned by autoseg, which searches encoders, frozen depths and learning "
        f"rates within a time budget."
    )


def _usage(info: BundleInfo) -> str:
    preprocessing = info.preprocessing
    if preprocessing.geometry.box is not None:
        height, width = preprocessing.geometry.box
        resize = _RESIZE_BOX.format(height=height, width=width)
    elif preprocessing.geometry.scale != 1:
        resize = _RESIZE_SCALE.format(scale=preprocessing.geometry.scale)
    else:
        resize = "# The model sees images at their own size."
    return _USE.format(
        repo=REPO_PLACEHOLDER,
        resize=resize,
        mean=list(preprocessing.mean),
        std=list(preprocessing.std),
    )


def _scores(report: dict[str, Any] | None) -> str:
    if report is None:
        return "## Scores\n\nThis model was not evaluated."
    scores = report["model"]["scores"]
    default = (report.get("default_recipe") or {}).get("scores", {})
    header = ["score", "this model", "95 % interval"] + (["default recipe"] if default else [])
    rows = []
    for key, name in SCORE_NAMES.items():
        if key not in scores:
            continue
        score = scores[key]
        interval = f"{_number(score.get('low'))} to {_number(score.get('high'))}"
        row = [name, f"**{_number(score['value'])}**", interval]
        rows.append(row + ([_number(default.get(key, {}).get("value"))] if default else []))
    untouched = (
        "which neither training nor selection saw"
        if report.get("untouched")
        else "which also served to select the model, so the scores are somewhat too high"
    )
    lines = [
        "## Scores",
        f"On the {_plain(report['split'])} split of {report['n_images']} images, {untouched}. "
        + _plain(report.get("note", "")),
        _table(header, rows),
        "Macro: mean over classes of the pixels of all images pooled. Macro, image-wise: mean over "
        "classes of the mean over the images that have the class. Intervals: bootstrap over "
        "images.",
    ]
    if default and report.get("default_note"):
        lines.append(_plain(report["default_note"]))
    return "\n\n".join(lines)


def _classes(info: BundleInfo, report: dict[str, Any] | None) -> str:
    scored = {row["name"]: row for row in (report["model"]["per_class"] if report else [])}
    columns = ("iou", "dice", "precision", "recall") if scored else ()
    rows = []
    for index, (name, color) in enumerate(
        zip(info.classes.names, info.classes.palette, strict=True)
    ):
        row = [str(index), _plain(name), "`#{:02x}{:02x}{:02x}`".format(*color)]
        rows.append(row + [_number(scored.get(name, {}).get(column)) for column in columns])
    header = ["index", "class", "colour", *(name.replace("iou", "IoU") for name in columns)]
    return f"## Classes\n\n{_table(header, rows)}"


def _training(info: BundleInfo, verdict: dict[str, Any] | None) -> str:
    versions = ", ".join(
        f"{_plain(name)} {_plain(version)}" for name, version in info.versions.items()
    )
    recipe = json.dumps(to_dict(info.recipe), indent=2, ensure_ascii=True)
    lines = ["## Training"]
    if verdict and verdict.get("pairs"):
        sizes = f" ({_plain(str(verdict['sizes']))})" if verdict.get("sizes") else ""
        lines.append(f"Data: {verdict['pairs']} pairs of image and mask{sizes}.")
    if info.data_fingerprint:
        lines.append(f"Fingerprint of the data: `{_code(info.data_fingerprint)}`.")
    lines.append(f"Recipe:\n\n```json\n{recipe}\n```")
    if versions:
        lines.append(f"Trained with {versions}.")
    return "\n\n".join(lines)


def _limits(info: BundleInfo, report: dict[str, Any] | None) -> str:
    lines = [
        "## Limits and licence",
        "The scores hold for images like those it was trained on: other cameras, places or "
        "magnifications can do much worse, so try it on your own before you rely on it. Every "
        "pixel gets a class, also where the image shows something that is none of them.",
    ]
    calibration = report.get("calibration_error") if report else None
    if calibration is not None:
        lines.append(
            f"The confidence of a pixel is off by {_number(calibration)} on average (expected "
            f"calibration error)."
        )
    licence = _plain(info.weights_licence) or "unknown"
    lines.append(
        f"The encoder's pretrained weights are under the licence {licence}, which binds this model "
        f"too; so may the terms of the data it was trained on."
    )
    return "\n\n".join(lines)


def _front_matter(info: BundleInfo, report: dict[str, Any] | None) -> str:
    """YAML for the Hub."""
    known = info.weights_licence in _HUB_LICENCES
    values: dict[str, Any] = {"license": info.weights_licence if known else "other"}
    if not known:
        values["license_name"] = info.weights_licence or "unknown"
    values["library_name"] = "segmentation-models-pytorch"
    values["pipeline_tag"] = "image-segmentation"
    values["tags"] = ["autoseg", "semantic-segmentation", "image-segmentation", "pytorch"]
    values["base_model"] = f"timm/{info.recipe.encoder_name}"
    metrics = [
        {
            "type": _METRIC_TYPES.get(key, key),
            "name": name,
            "value": round(report["model"]["scores"][key]["value"], 4),
        }
        for key, name in (SCORE_NAMES.items() if report else ())
        if report and (report["model"]["scores"].get(key) or {}).get("value") is not None
    ]
    if report and metrics:
        dataset = {"name": "the user's images", "type": "custom", "split": report["split"]}
        task = {"type": "image-segmentation", "name": "Semantic segmentation"}
        result = {"task": task, "dataset": dataset, "metrics": metrics}
        values["model-index"] = [{"name": _title(info), "results": [result]}]
    return "".join(_yaml(values, ""))


def _yaml(value: Any, indent: str) -> Iterable[str]:
    """Lines of block YAML; scalars are JSON, which YAML reads as it stands."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list):
                yield f"{indent}{key}:\n"
                yield from _yaml(item, indent + "  ")
            else:
                yield f"{indent}{key}: {_scalar(item)}\n"
        return
    for item in value:
        if isinstance(item, dict):
            first, *rest = _yaml(item, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {_scalar(item)}\n"


def _scalar(value: Any) -> str:
    return json.dumps(_printable(value) if isinstance(value, str) else value, ensure_ascii=False)


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table of cells that are escaped already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _printable(text: str) -> str:
    """Text without control characters, line breaks or half surrogates."""
    return "".join(character if character.isprintable() else " " for character in text)


def _code(text: str) -> str:
    """Text that cannot end the code span it stands in."""
    return _printable(text).replace("`", "'")


def _plain(text: str) -> str:
    """Text that Markdown and HTML show as it is, whatever a user named a class."""
    escaped = _printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#~" else c for c in escaped)
