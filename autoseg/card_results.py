"""What a card says of a model's quality: examples, scores, classes, limits."""

from collections.abc import Mapping, Sequence
from typing import Any

from autoseg.bundle import BundleInfo
from autoseg.card_text import bullets, count, duration, listed, percent, plain, swatch, table
from autoseg.evaluation import compared_with, shown_gain

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

_MEANINGS = {
    "macro_imagewise_iou": "overlap of found and true area, per class and image, then the mean; "
    "what the search looks for",
    "macro_iou": "the same with the pixels of all images pooled: the usual mIoU",
    "macro_dice": "twice the overlap over the sum of both areas",
    "macro_imagewise_dice": "the same per class and image, then the mean",
    "macro_precision": "how much of what it finds is right",
    "macro_recall": "how much of what is there it finds",
    "macro_boundary_iou": "overlap along the outlines only",
    "pixel_accuracy": "pixels with the right class; large classes decide",
}

_FEW_IMAGES = 10
"""A class in fewer training or scored images than this is called rare."""

_SMALL_SHARE = 0.005
"""A class with a smaller share of the pixels is called rare."""


def examples(info: BundleInfo, report: Mapping[str, Any], files: Sequence[str] | None) -> str:
    """The example pictures with their scores, and the colours; empty if there are none.

    Args:
        info: What the bundle knows of itself.
        report: Content of `report.json`.
        files: Paths of those to show; None: all.
    """
    rows = [row for row in report.get("examples") or () if files is None or row["file"] in files]
    if not rows:
        return ""
    split, number = plain(str(rows[0]["split"])), rows[0]["n_images"]
    if len(rows) == number:
        chosen = f"All {split} images, from best to worst"
    elif len(rows) == 1:
        chosen = (
            f"One of the {number} {split} images, of middling quality, not picked for its looks"
        )
    else:
        chosen = (
            f"{len(rows)} of the {number} {split} images, spread evenly from best to worst, not "
            f"picked for their looks"
        )
    black = any(not any(color) for color in info.classes.palette)
    bare = " A class whose colour is black leaves the image as it is." if black else ""
    parts = [
        "## Examples",
        f"{chosen}. Left the image, in the middle the ground truth, on the right what the model "
        f"finds.{bare}",
    ]
    for row in rows:
        place = {1: " (the best)", number: " (the worst)"}.get(row["rank"], "")
        caption = f"Rank {row['rank']} of {number}{place}, IoU {percent(row['score'])} %"
        parts.append(f"![{caption}]({row['file']})\n*{caption}*")
    legend = [
        f"{swatch(color)} {plain(name)}"
        for name, color in zip(info.classes.names, info.classes.palette, strict=True)
    ]
    return "\n\n".join([*parts, " &nbsp; ".join(legend)])


def headline(report: Mapping[str, Any] | None) -> str:
    """The score people ask for first, in one sentence; empty if there is none."""
    score = (report or {}).get("model", {}).get("scores", {}).get("macro_iou") or {}
    if report is None or score.get("value") is None:
        return ""
    interval = ""
    if score.get("low") is not None and score.get("high") is not None:
        interval = f" (95 % interval {percent(score['low'])} to {percent(score['high'])})"
    return (
        f"**Mean IoU {percent(score['value'])} %**{interval} on {_scored_images(report)}, "
        f"{_seen(report)}."
    )


def scores(info: BundleInfo, report: Mapping[str, Any] | None) -> str:
    """Scores with intervals and what they mean, beside another model's, and per class."""
    if report is None:
        return "## Scores\n\nThis model was not evaluated.\n\n" + _classes(info, {})
    found = report["model"]["scores"]
    default = (report.get("default_recipe") or {}).get("scores", {})
    rows = []
    for key, name in SCORE_NAMES.items():
        if key in found:
            row = [name, f"**{percent(found[key]['value'])}**", _interval(found[key])]
            row += [percent(default.get(key, {}).get("value"))] if default else []
            rows.append([*row, _MEANINGS[key]])
    header = ["score, in %", "this model", "95 % interval"]
    header += [plain(compared_with(report))] if default else []
    parts = [
        "## Scores",
        f"On {_scored_images(report)}. {plain(report.get('note') or '')}".rstrip(),
        table([*header, "what it says"], rows, range(1, len(header))),
        "Macro: the mean over classes, each counting the same. The intervals come from drawing "
        "the images anew (bootstrap): few images make them wide.",
        _comparison(report),
        _classes(info, {row["name"]: row for row in report["model"]["per_class"]}),
    ]
    return "\n\n".join(filter(None, parts))


def limits(info: BundleInfo, report: Mapping[str, Any] | None) -> str:
    """What the model is for, and where it is weak, as far as the data and the scores show."""
    data = (report or {}).get("data") or {}
    sizes = f" ({plain(str(data['sizes']))} pixels)" if data.get("sizes") else ""
    geometry = info.preprocessing.geometry
    if geometry.box is not None:
        working = f"Images are resized to fit into {geometry.box[1]}x{geometry.box[0]} pixels"
    elif geometry.scale is not None and geometry.scale < 1:
        working = f"Images are shrunk to {geometry.scale:g} of their size"
    else:
        working = ""
    lines = [
        f"It is made for images like those it was trained on{sizes}. Another camera, place, season "
        f"or magnification can cost much: try it on some images of your own first.",
        *([f"{working}: what is too small to see then, it cannot find."] if working else []),
        "Every pixel gets one of the classes, also where the image shows something else.",
        *_weak_classes(report),
        *map(plain, info.notes),
    ]
    rare = _rare_classes(report)
    splits = data.get("splits") or {}
    if splits and (splits["train"] < _FEW_IMAGES or len(rare) == len(data.get("classes") or ())):
        lines.append(
            f"It was trained on {count(splits['train'], 'image')} only and scored on "
            f"{report['n_images'] if report else 0}: do not lean on the scores of any class."
        )
    elif rare:
        lines.append(f"It saw little of {listed(rare)}: do not lean on its scores there.")
    calibration = (report or {}).get("calibration_error")
    if calibration is not None:
        lines.append(
            f"Its confidence is off by {percent(calibration)} percentage points on average "
            f"(expected calibration error)."
        )
    lines.append(
        "Where a mistake does harm, in medicine or traffic say, a person must check what it finds."
    )
    return "## Intended use and limits\n\n" + bullets(lines)


def _scored_images(report: Mapping[str, Any]) -> str:
    """The images behind the scores, in words."""
    number, split = int(report["n_images"]), str(report["split"])
    if split == "folds":
        return f"{count(number, 'image')}, each predicted by a network that did not train on it"
    return count(number, f"{plain(split)} image")


def _seen(report: Mapping[str, Any]) -> str:
    """What training and selection knew of the images behind the scores."""
    if report.get("untouched"):
        return "which neither training nor selection saw"
    if report["split"] == "folds":
        compared = int(report.get("trials") or 0) > 1
        return f"{'some' if compared else 'none'} of which helped to choose the recipe"
    is_alone = compared_with(report) == "default recipe" and int(report.get("trials") or 0) == 1
    if report["split"] == "validation" and is_alone:
        return "on which it did not train"
    return "which also helped to choose the model, so the scores are somewhat too high"


def _interval(score: Mapping[str, Any]) -> str:
    return f"{percent(score.get('low'))} to {percent(score.get('high'))}"


def _comparison(report: Mapping[str, Any]) -> str:
    """The model beside another one, in words."""
    sentences = []
    difference = report.get("difference") or {}
    if difference.get("value") is not None:
        gain = f"{shown_gain(report):+.1f} percentage points"
        sentence = f"Against the {plain(compared_with(report))}: {gain} of IoU (macro, image-wise)"
        if difference.get("low") is not None and difference.get("high") is not None:
            low, high = difference["low"], difference["high"]
            sentence += f", 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
        if difference.get("probability_better") is not None:
            share = 100 * difference["probability_better"]
            sentence += f", better with probability {share:.0f} %"
        sentences.append(sentence + ".")
    if report.get("stopped_after_s") is not None:
        after = duration(report["stopped_after_s"])
        sentences.append(f"The run was stopped by request after {after}.")
    if report.get("default_note"):
        sentences.append(plain(report["default_note"]))
    return " ".join(sentences)


def _classes(info: BundleInfo, scored: Mapping[str, Mapping[str, Any]]) -> str:
    """Index, name, colour and scores of each class."""
    columns = ("iou", "dice", "precision", "recall") if scored else ()
    rows = [
        [
            str(index),
            plain(name),
            swatch(color),
            *(percent(scored.get(name, {}).get(column)) for column in columns),
        ]
        for index, (name, color) in enumerate(
            zip(info.classes.names, info.classes.palette, strict=True)
        )
    ]
    titles = {"iou": "IoU", "dice": "Dice"}
    header = ["index", "class", "colour", *(titles.get(name, name) for name in columns)]
    title = "### Per class, in %" if scored else "### Classes"
    return f"{title}\n\n{table(header, rows, (0, *range(3, len(header))))}"


def _weak_classes(report: Mapping[str, Any] | None) -> list[str]:
    """The class with the lowest IoU and what it is taken for."""
    if report is None:
        return []
    rows = report["model"]["per_class"]
    scored = [k for k, row in enumerate(rows) if row.get("iou") is not None]
    if len(scored) < 2:
        return []
    weakest = min(scored, key=lambda k: rows[k]["iou"])
    row = rows[weakest]
    line = f"Its weakest class is {plain(row['name'])}, IoU {percent(row['iou'])} %"
    confusion = report.get("confusion")
    if confusion and sum(confusion[weakest]):
        others = {k: n for k, n in enumerate(confusion[weakest]) if k != weakest}
        taken = max(others, key=lambda k: others[k])
        if others[taken]:
            share = percent(others[taken] / sum(confusion[weakest]))
            line += f"; {share} % of its pixels are taken for {plain(rows[taken]['name'])}"
    return [line + "."]


def _rare_classes(report: Mapping[str, Any] | None) -> list[str]:
    """Classes with little behind their scores, each with its numbers."""
    data = (report or {}).get("data") or {}
    scored = {row["name"]: row for row in (report or {}).get("model", {}).get("per_class", ())}
    rare = []
    for row in data.get("classes", ()):
        images = scored.get(row["name"], {}).get("images")
        few = row["train_images"] < _FEW_IMAGES or (images is not None and images < _FEW_IMAGES)
        if few or row["share"] < _SMALL_SHARE:
            scored_on = "" if images is None else f", scored on {images}"
            rare.append(
                f"{plain(row['name'])} ({100 * row['share']:.2g} % of the pixels, in "
                f"{count(row['train_images'], 'training image')}{scored_on})"
            )
    return rare
