"""The sentences of a report, which the search wrote in English, in the reader's language."""

import re

from autoseg.ui.texts import dictionary, language, tr

_EPOCHS = re.compile(
    r"The default recipe as the search trained it, for ([\d.]+) epochs(, without the final "
    r"training)?\."
)
_COMPARED = re.compile(
    r"An estimate without an untouched test: there are too few images for one, and (\d+) trials "
    r"were compared by these same images\. Expect somewhat less on new ones\."
)

FIXED = (
    "Measured once, on images that neither training nor the search has seen; the interval is what "
    "other images of the same kind would do to it in 95 of 100 cases.",
    "Measured on the given test images; read the notes on the splits.",
    "An estimate without an untouched test, for which there are too few images: every image was "
    "predicted by a model of the same recipe, trained for a shorter time and without it. The "
    "recipe was chosen with the help of some of the images.",
    "An estimate without an untouched test: there are too few images for one, and weights were "
    "chosen by these same images. Expect somewhat less on new ones.",
    "There was no time, or no untouched image, to score the default recipe beside it.",
    "There was no time to compare recipes: the model is the default recipe, trained for all the "
    "time there was.",
    "No recipes were compared until then: the model is the default recipe.",
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
            "An estimate without an untouched test: there are too few images for one, and {count} "
            "trials were compared by these same images. Expect somewhat less on new ones.",
            count=found[1],
        )
    return dictionary(language()).get(text, text) if text in FIXED else text
