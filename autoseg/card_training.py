"""What a card says of how a model came about: search, recipe, data, licences."""

import json
from collections.abc import Mapping
from typing import Any

from autoseg.bundle import BundleInfo
from autoseg.card_text import bullets, code, count, duration, listed, percent, plain, table
from autoseg.config import Recipe, to_dict
from autoseg.data.verdict import TABLE_HEADER, format_share
from autoseg.energy import UNCOUNTED
from autoseg.licences import find_licence
from autoseg.report_facts import missing_trials

_ENDINGS = {
    "complete": "seen through",
    "pruned": "stopped early",
    "failed": "failed",
    "running": "broken off",
}

_ORIGINS = {
    "default": "the default recipe",
    "earlier run": "the recipe that won an earlier search on similar data",
    "portfolio": "one of the recipes that every search tries first",
    "sampler": "a suggestion of the search's sampler",
    "former model": "a former model, trained on",
}

_FROZEN = {
    0: "0 of 4: the whole encoder is fine-tuned",
    4: "4 of 4: the whole encoder stays as it was pretrained",
}

_LAMP_W = 10
"""A lamp that everybody can picture, in watts."""


def search(report: Mapping[str, Any] | None) -> str:
    """How the search went, and what it cost in time and energy; empty if nothing is known."""
    facts = (report or {}).get("search")
    if not facts:
        return ""
    trials = facts.get("trials") or {}
    total = sum(trials.values())
    ended = listed([f"{trials[key]} {words}" for key, words in _ENDINGS.items() if key in trials])
    winner = facts.get("winner") or {}
    origin = _ORIGINS.get(str(winner.get("origin")), "a recipe of its own")
    parts = [
        "## How it was found",
        f"autoseg searches encoders, frozen depths and "
        f"learning rates within a time budget. Here it compared {count(total, 'trial')} ({ended}). "
        if total > 1
        else "autoseg trains the best model it can within a time budget. ",
    ]
    if missing := missing_trials(report or {}):
        parts[-1] += f"{missing} "
    parts[-1] += _won(winner, origin, total, report or {})
    if total > 1:
        parts += [_tried(facts)]
    return "\n\n".join([*parts, _cost(facts)])


def recipe(info: BundleInfo, report: Mapping[str, Any] | None) -> str:
    """The recipe as a table for people and as JSON for autoseg; empty if it is not known."""
    if info.recipe is None:
        return ""
    one, facts = info.recipe, (report or {}).get("search") or {}
    rows = [
        ("encoder", f"`{code(one.encoder_name)}`, pretrained"),
        ("decoder", one.decoder_name),
        *([("parameters", f"{facts['parameters']:,}")] if facts.get("parameters") else []),
        ("frozen depth", _frozen(one.frozen_depth)),
        ("working size", _working_size(one)),
        ("training window", f"{one.geometry.window[1]}x{one.geometry.window[0]} pixels"),
        ("learning rate of the decoder", f"{one.decoder_lr:.2g}"),
        *_encoder_rates(one),
        ("augmentation", f"{one.augmentation}, flips: {one.flip}"),
        ("batch", count(one.batch_size, "window")),
        ("length", f"{one.epochs:.1f} epochs (windows seen per training image)"),
    ]
    values = json.dumps(to_dict(one), indent=2, ensure_ascii=True)
    versions = ", ".join(f"{plain(n)} {plain(v)}" for n, v in info.versions.items())
    parts = [
        "## Recipe",
        table(("setting", "value"), rows),
        f"<details><summary>As JSON</summary>\n\n```json\n{values}\n```\n\n</details>",
        f"Trained with {versions}." if versions else "",
    ]
    return "\n\n".join(filter(None, parts))


def data(info: BundleInfo, report: Mapping[str, Any] | None) -> str:
    """What it was trained on, as the check of the data found it; empty if nothing is known."""
    facts = (report or {}).get("data") or {}
    lines = []
    source = facts.get("source")
    if source:
        name, revision = code(str(source["repo_id"])), code(str(source.get("revision") or ""))
        at = f", revision `{revision}`" if revision else ""
        lines.append(f"The data set `{name}` of the Hugging Face Hub{at}.")
    if facts.get("pairs"):
        uses = {"train": "to train", "val": "to validate", "test": "to test"}
        splits = facts.get("splits") or {}
        parts = [f"{splits[name]:,} {use}" for name, use in uses.items() if splits.get(name)]
        lines.append(
            f"{count(facts['pairs'], 'pair')} of image and mask, {plain(str(facts['sizes']))} "
            f"pixels; {listed(parts)}."
        )
    lines += [plain(text) for text in (*facts.get("mended", ()), *facts.get("ambiguous", ()))]
    if facts.get("left_out"):
        lines.append(f"{count(facts['left_out'], 'file')} could not be used and stayed out.")
    lines += [plain(text) for text in facts.get("notes", ())]
    if info.data_fingerprint:
        lines.append(f"Fingerprint: `{code(info.data_fingerprint)}`.")
    if not lines:
        return ""
    return "\n\n".join(filter(None, ("## Data", bullets(lines), _values(facts))))


def licences(info: BundleInfo, licence: str, data_licence: str | None) -> str:
    """The licence of the model and of what it was made from."""
    weights = find_licence(info.weights_licence)
    encoder = f" (`{code(info.recipe.encoder_name)}`)" if info.recipe else ""
    lines = [f"This model: **{_named(licence)}**."]
    if " AND " not in licence:
        lines[0] += f" It {find_licence(licence).in_words()}."
    lines.append(
        f"The encoder's pretrained weights{encoder}: {_named(weights.identifier)}, which "
        f"{weights.in_words()}."
    )
    if data_licence is None:
        lines.append("The training data: nobody said under which licence they are.")
    else:
        terms = find_licence(data_licence)
        lines.append(f"The training data: {_named(terms.identifier)}, which {terms.in_words()}.")
    return "## Licence\n\n" + bullets(lines)


def _won(winner: Mapping[str, Any], origin: str, total: int, report: Mapping[str, Any]) -> str:
    """Which recipe became the model."""
    sentences = []
    if report.get("taken"):
        sentences.append(
            f"Its winner is another one: a person took trial {winner['number']} of it, {origin}, "
            f"as the search had trained it."
        )
    elif total > 1 and "number" in winner:
        sentences.append(f"Trial {winner['number']} won: {origin}.")
    if winner.get("origin") == "former model":
        sentences.append("It began with the recipe and the weights of a former model.")
    if "epochs" in winner:
        sentences.append(f"The model saw {winner['epochs']:.1f} epochs in all.")
    if report.get("validation_score") is not None:
        score = f"{percent(report['validation_score'])} %"
        sentences.append(f"It scored {score} on the validation images (IoU, macro, image-wise).")
    latency_ms = (report.get("taken") or {}).get("latency_ms")
    if latency_ms is not None:
        sentences.append(f"An image took {latency_ms:.1f} ms on the computer of the search.")
    corrected = report.get("validation_score_corrected")
    if corrected is not None and total > 1:
        sentences.append(
            f"Before its final training, and with the optimism of choosing among trials taken off, "
            f"that was {percent(corrected)} %."
        )
    return " ".join(sentences)


def _tried(facts: Mapping[str, Any]) -> str:
    """Encoders and frozen depths with their trials and best scores."""
    rows = [
        (kind, f"`{code(str(row['value']))}`", str(row["trials"]), percent(row["best_score"]))
        for kind, key in (("encoder", "encoders"), ("frozen depth", "frozen_depths"))
        for row in facts.get(key) or ()
    ]
    return table(("tried", "", "trials", "best validation IoU, in %"), rows, (2, 3))


def _cost(facts: Mapping[str, Any]) -> str:
    """Time, machine and energy, with how far the number can be trusted."""
    attempts = facts.get("attempts", 1)
    parts = [
        f"It took {duration(facts['seconds'])}"
        + (f" in {attempts} attempts" if attempts > 1 else "")
        + f" on {plain(str(facts.get('device') or 'an unknown device'))}"
        + (f" ({count(facts['cores'], 'CPU core')})" if facts.get("cores") else "")
        + "."
    ]
    energy, how = facts.get("energy_wh"), str(facts.get("energy_how") or "")
    # Earlier reports have a number even where the GPU was left out.
    if how.startswith(UNCOUNTED):
        parts.append(
            "Energy: not measured: the GPU's was not counted. `pip install autoseg-search[energy]` "
            "lets autoseg count it where the GPU has a counter."
        )
    elif energy:
        lamp = duration(3600 * energy / _LAMP_W)
        parts.append(
            f"Energy: {energy:.2g} Wh, what a lamp of {_LAMP_W} W uses in {lamp}; {plain(how)}."
        )
        parts.append(
            "The estimate can be wrong by a factor of two."
            if "estimated" in how
            else "The counters know the whole chip, whoever used it."
        )
        parts.append("Memory, disks and cooling are not in it.")
    return " ".join(parts)


def _frozen(depth: int) -> str:
    return _FROZEN.get(
        depth, f"{depth} of 4: the stages up to stride {2 ** (depth + 1)} stay as pretrained"
    )


def _working_size(one: Recipe) -> str:
    if one.geometry.box is not None:
        return f"fits into {one.geometry.box[1]}x{one.geometry.box[0]} pixels"
    return "as it is" if one.geometry.scale == 1 else f"{one.geometry.scale:g} of the image's own"


def _encoder_rates(one: Recipe) -> list[tuple[str, str]]:
    """Rows on how the encoder learns; none where it is frozen as a whole."""
    if one.frozen_depth == 4:
        return []
    rows = [
        ("learning rate of the encoder", f"{one.decoder_lr * one.encoder_lr_ratio:.2g}"),
        ("batch normalisation", "learns" if one.train_norm else "as pretrained"),
    ]
    if one.layer_decay != 1:
        rows.append(("each shallower stage learns at", f"{one.layer_decay:g} of the next"))
    if one.drop_path:
        rows.append(("stochastic depth", f"{one.drop_path:g}"))
    return rows


def _values(facts: Mapping[str, Any]) -> str:
    """What the mask values were taken to mean."""
    values = facts.get("values") or ()
    if not values:
        return ""
    rows = [
        (
            f"`{code(str(row['raw']))}`",
            format_share(row["share"]),
            f"{row['images']:,}",
            plain(str(row["class_name"])),
            plain(str(row["why"])),
        )
        for row in values
    ]
    more = facts.get("n_values", len(rows)) - len(rows)
    rest = f"\n\nAnd {more:,} more values." if more > 0 else ""
    return f"What the values of the masks mean:\n\n{table(TABLE_HEADER, rows, (1, 2))}{rest}"


def _named(licence: str) -> str:
    """A licence, with a link to its text where the Hub has none."""
    link = "" if " AND " in licence else find_licence(licence).link
    return f"[{plain(licence)}]({link})" if link else plain(licence)
