"""The sentences of a report, which the search wrote in English, in the reader's language."""

import re
from collections.abc import Mapping
from typing import Any

from autoseg import report_facts
from autoseg.ui.texts import dictionary, language, tr

_EPOCHS = re.compile(
    r"The default recipe as the search trained it, for ([\d.]+) epochs(, without the final "
    r"training)?\."
)
_COMPARED = re.compile(
    r"An estimate without an untouched test: there is no test split, and (\d+) trials "
    r"were compared by these same images\. Expect somewhat less on new ones\."
)

_TAKEN = re.compile(
    r"Measured on (images that neither training nor the search has seen|the given test images "
    r"\(read the notes on the splits\))\. (\d+) models of this run have been scored on them by "
    r"now: who chooses among these by their scores must expect somewhat less on new images\."
)
_TRIAL = re.compile(
    r"This is trial (\d+) as the search trained it, for ([\d.]+) epochs, without final training\."
    r"( The winner, trial (\d+), had its final training and takes ([\d.]+) ms for an image where "
    r"this one takes ([\d.]+) ms\.)?"
)

_MISSING = re.compile(r"(\d+) of the (\d+) trials that were asked for came to their end\.")

FIXED = (
    "Measured once, on images that neither training nor the search has seen; the interval is what "
    "other images of the same kind would do to it in 95 of 100 cases.",
    "Measured on the given test images; read the notes on the splits.",
    "An estimate without an untouched test, for which there are too few images: each of these was "
    "predicted by the model or by one of the same recipe, trained about as long, that had not "
    "learnt from it. The recipe was chosen with the help of some of the images.",
    "An estimate without an untouched test, for which there are too few images: each of these was "
    "predicted by the model or by one of the same recipe, trained about as long, that had not "
    "learnt from it.",
    "An estimate without an untouched test: there is no test split. The model has not learnt from "
    "these images; only how long to train it may have been decided by them.",
    "An estimate without an untouched test: there is no test split, and weights were "
    "chosen by these same images. Expect somewhat less on new ones.",
    # As runs from before have it:
    "An estimate without an untouched test, for which there are too few images: every image was "
    "predicted by a model of the same recipe, trained for a shorter time and without it. The "
    "recipe was chosen with the help of some of the images.",
    "An estimate without an untouched test, for which there are too few images: every image was "
    "predicted by a model of the same recipe, trained for a shorter time and without it.",
    "There was no time, or no untouched image, to score the default recipe beside it.",
    "There was no time to compare recipes: the model is the default recipe, trained for all the "
    "time there was.",
    "No recipes were compared until then: the model is the default recipe.",
    "One trial was asked for: the model is the default recipe.",
    "No recipe was clearly better than the default: the model is that one.",
)
"""Sentences without numbers."""


def note(text: str) -> str:
    """One sentence or two; what is not known stays as it stands."""
    if found := _EPOCHS.fullmatch(text):
        if not found[2]:
            return tr(
                "The default recipe as the search trained it, for {epochs} epochs.",
                epochs=found[1],
            )
        return tr(
            "The default recipe as the search trained it, for {epochs} epochs, without the final "
            "training.",
            epochs=found[1],
        )
    if found := _COMPARED.fullmatch(text):
        return tr(
            "An estimate without an untouched test: there is no test split, and {count} "
            "trials were compared by these same images. Expect somewhat less on new ones.",
            count=found[1],
        )
    if found := _TAKEN.fullmatch(text):
        return _taken(found)
    if found := _TRIAL.fullmatch(text):
        return _trial(found)
    return dictionary(language()).get(text, text) if text in FIXED else text


def missing_trials(report: Mapping[str, Any]) -> str:
    """What `report_facts.missing_trials` says."""
    found = _MISSING.fullmatch(report_facts.missing_trials(report))
    if found is None:
        return ""
    return tr(
        "{made} of the {asked} trials that were asked for came to their end.",
        made=found[1],
        asked=found[2],
    )


def _taken(found: re.Match[str]) -> str:
    """What the scores of a trial are worth that a person took."""
    if found[1].startswith("images"):
        return tr(
            "Measured on images that neither training nor the search has seen. {count} models of "
            "this run have been scored on them by now: who chooses among these by their scores "
            "must expect somewhat less on new images.",
            count=found[2],
        )
    return tr(
        "Measured on the given test images (read the notes on the splits). {count} models of this "
        "run have been scored on them by now: who chooses among these by their scores must expect "
        "somewhat less on new images.",
        count=found[2],
    )


def _trial(found: re.Match[str]) -> str:
    """What a trial is that a person took, and how it relates to the winner."""
    said = tr(
        "This is trial {number} as the search trained it, for {epochs} epochs, without final "
        "training.",
        number=found[1],
        epochs=found[2],
    )
    if not found[3]:
        return said
    winner = tr(
        "The winner, trial {number}, had its final training and takes {theirs} ms for an image "
        "where this one takes {ours} ms.",
        number=found[4],
        theirs=found[5],
        ours=found[6],
    )
    return f"{said} {winner}"
