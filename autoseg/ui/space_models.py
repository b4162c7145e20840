"""The models of a Space: loaded once, each with what is known of it or why it is missing."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from autoseg.bundle import EXAMPLES_FOLDER, REPORT_FILE
from autoseg.config import WINDOW_MULTIPLE, Geometry, read_json
from autoseg.data.images import image_size, read_image
from autoseg.errors import (
    AutosegError,
    ConfigError,
    DatasetError,
    HubAccessError,
    HubError,
    HubNotFoundError,
)
from autoseg.examples import image_of
from autoseg.hub.connection import connect, parse_repo
from autoseg.hub.space_files import EXAMPLES_VARIABLE, MODELS_VARIABLE
from autoseg.hub.space_state import is_open
from autoseg.prediction import Prediction
from autoseg.predictor import Predictor
from autoseg.resizing import resize_image
from autoseg.ui import views, zero_gpu

MAX_SCORES = 3
"""Scores shown above the page; the model's card has them all."""

MAX_EXAMPLES = 8
"""Examples shown; autoseg writes fewer, but anybody may push more."""

_MAX_EXAMPLE_PIXELS = 2**23
"""Larger pictures are left out before they are decoded; those that autoseg writes have 0.6 M."""

_EXAMPLE_SIDE_PX = 1024
"""Longest side of an example in memory."""

_ADVICE = (
    "If the model is private, the Space needs a token that may read it, as the secret HF_TOKEN in "
    "its settings."
)

_SECONDS_PER_MODEL, _MAX_SECONDS = 20, 120


@dataclass(frozen=True)
class SpaceModel:
    """One model of the page."""

    name: str
    """Repository "owner/name", or name of the folder."""
    url: str | None
    """Address of its page; None: it came from a folder."""
    predictor: Predictor | None
    """Ready to predict; None: see `problem`."""
    problem: str = ""
    """Why it could not be loaded."""
    shows_examples: bool = False
    """Whether the page may show the pictures that came with it."""


def models_of_environment() -> tuple[SpaceModel, ...]:
    """Load what `AUTOSEG_MODELS` names."""
    names = [name.strip() for name in os.environ.get(MODELS_VARIABLE, "").split(",")]
    return tuple(load_model(name) for name in names if name)


def load_model(name: str) -> SpaceModel:
    """Load one model: a folder, or a repository with "@revision" or without."""
    # On ZeroGPU a model is put on the GPU before there is one; elsewhere the first GPU is taken.
    device = "auto" if zero_gpu.PACKAGE is None else "cuda"
    if Path(name).is_dir():
        model = _loaded(Path(name).resolve().name, None, name, None, device)
        return replace(model, shows_examples=True)
    repository = parse_repo(name)
    if repository is None:
        return SpaceModel(
            name, None, None,
            f"{name!r} is neither a folder nor a repository on the Hub (owner/name). "
            f"Correct the variable {MODELS_VARIABLE}.",
        )  # fmt: skip
    url = connect(saved_login=False).page(repository.repo_id)
    model = _loaded(repository.repo_id, url, repository.repo_id, repository.revision, device)
    return replace(model, shows_examples=_may_show_examples(model))


def _loaded(
    name: str, url: str | None, source: str, revision: str | None, device: str
) -> SpaceModel:
    try:
        predictor = Predictor.from_pretrained(source, revision=revision, device=device)
    except (HubAccessError, HubNotFoundError) as error:
        return SpaceModel(name, url, None, f"{error} {_ADVICE}")
    except AutosegError as error:
        return SpaceModel(name, url, None, str(error))
    return SpaceModel(name, url, predictor)


def _may_show_examples(model: SpaceModel) -> bool:
    """Whether the pictures of a repository are everybody's already, or are meant to be shown.

    They are of the data: a page may be open where the model that it loads is not.
    """
    if os.environ.get(EXAMPLES_VARIABLE, "").strip() == "1":
        return True
    if not _example_files(model):
        return False
    try:
        return is_open(model.name, connect(saved_login=False))
    except HubError:
        return False


class Models:
    """The loaded models behind one call that, on ZeroGPU, has a GPU."""

    def __init__(self, models: Sequence[SpaceModel]) -> None:
        self.all = tuple(models)
        predictors = tuple(model.predictor for model in models)

        def predict(pixels: np.ndarray, flip: bool) -> list[Prediction | str]:
            """A prediction per model that is there, or why there is none."""
            return [
                _predicted(predictor, pixels, flip)
                for predictor in predictors
                if predictor is not None
            ]

        duration_s = min(_MAX_SECONDS, _SECONDS_PER_MODEL * max(1, len(predictors)))
        # Also without a model: ZeroGPU ends a process that asks for no GPU.
        self._predict = zero_gpu.on_gpu(predict, duration_s)

    def predict(self, pixels: np.ndarray, *, flip: bool = False) -> list[Prediction | str]:
        """A prediction per model, in their order, or why there is none.

        Args:
            pixels: (H, W, 3) uint8.
            flip: Average with the mirrored image.
        """
        answers = iter(self._predict(pixels, flip))
        return [model.problem if model.predictor is None else next(answers) for model in self.all]


def _predicted(predictor: Predictor, pixels: np.ndarray, flip: bool) -> Prediction | str:
    # Between ZeroGPU's processes only a text arrives whole.
    try:
        return predictor.predict(pixels, flip=flip)
    except AutosegError as error:
        return str(error)


def card(model: SpaceModel, *, with_classes: bool = True) -> str:
    """A model's name with the link to its page, its scores, and its classes if wanted."""
    title = f"<b>{escape(model.name)}</b>"
    if model.url:
        link = f'<a href="{escape(model.url)}" target="_blank" rel="noopener">Model card</a>'
        title += f'<span class="as-dim">{link}</span>'
    parts = [f'<div class="top">{title}</div>']
    if model.predictor is None:
        return f'<div class="as-card">{parts[0]}{views.error(model.problem)}</div>'
    if facts := _facts(model.predictor):
        parts.append(f'<dl class="as-facts">{facts}</dl>')
        if told := _scored_on(_report(model.predictor.bundle.path)):
            parts.append(f'<span class="as-dim">{escape(told)}</span>')
    parts += [views.note(text) for text in model.predictor.notes]
    if with_classes:
        classes = model.predictor.bundle.info.classes
        labels = "".join(
            f"<span>{views.class_label(name, color)}</span>"
            for name, color in zip(classes.names, classes.palette, strict=True)
        )
        parts.append(f'<div class="as-classes">{labels}</div>')
    return f'<div class="as-card">{"".join(parts)}</div>'


def _facts(predictor: Predictor) -> str:
    """The first scores, with their intervals where the report has them."""
    scores = predictor.bundle.info.scores
    report = _report(predictor.bundle.path)
    titles = views.score_names()
    shown = [name for name in titles if name in scores][:MAX_SCORES]
    cells = []
    for name in shown:
        low, high = _interval(report, name)
        interval = (
            f" <small>{100 * low:.1f} to {100 * high:.1f}</small>"
            if low is not None and high is not None
            else ""
        )
        title = escape(titles[name])
        cells.append(f"<div><dt>{title}</dt><dd>{views.percent(scores[name])}{interval}</dd></div>")
    return "".join(cells)


def _scored_on(report: dict[str, Any]) -> str:
    """What the scores are worth, in one sentence; "" where no report says."""
    number, split = report.get("n_images"), report.get("split")
    if not isinstance(number, int) or not 0 < number < 10**9:
        return ""
    if split == "test" and report.get("untouched"):
        return f"Scores on {number:,} test images that neither training nor selection saw."
    if split == "folds":
        return f"Scores on {number:,} images, each predicted by a model that had not seen it."
    return (
        f"Scores on {number:,} images that may also have served to choose the model: expect "
        f"somewhat less on new ones."
    )


def _report(folder: Path) -> dict[str, Any]:
    """`report.json`, which whoever pushed the model may have left out."""
    try:
        report = read_json(folder / REPORT_FILE)
    except (ConfigError, OSError, RecursionError, ValueError):  # Such as an endless number.
        return {}
    return report if isinstance(report, dict) else {}


def _interval(report: dict[str, Any], name: str) -> tuple[float | None, float | None]:
    """Bounds of a score's interval, of a report that anybody may have written."""
    value: Any = report
    for key in ("model", "scores", name):
        value = value.get(key) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        return None, None
    return _share(value.get("low")), _share(value.get("high"))


def _share(value: Any) -> float | None:
    """A number in [0, 1], which any other of a report is not; an integer may be no float."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def examples(models: Sequence[SpaceModel]) -> list[tuple[str, np.ndarray]]:
    """Name and pixels (H, W, 3) of the images that came with the first model that may show any."""
    for model in models:
        if not model.shows_examples:
            continue
        if found := list(islice(_read_images(_example_files(model)), MAX_EXAMPLES)):
            return found
    return []


def _example_files(model: SpaceModel) -> list[Path]:
    if model.predictor is None:
        return []
    return sorted((model.predictor.bundle.path / EXAMPLES_FOLDER).glob("*.jpg"))


def _read_images(files: Sequence[Path]) -> Iterator[tuple[str, np.ndarray]]:
    for file in files:
        try:
            height, width = image_size(file)
            if height * width <= _MAX_EXAMPLE_PIXELS:
                yield file.stem, _shrunk(image_of(read_image(file)))
        except DatasetError:
            continue  # One that does not decode is no reason to show no model.


def _shrunk(image: np.ndarray) -> np.ndarray:
    factor = min(1.0, _EXAMPLE_SIDE_PX / max(image.shape))
    return resize_image(image, Geometry((WINDOW_MULTIPLE, WINDOW_MULTIPLE), scale=factor))
