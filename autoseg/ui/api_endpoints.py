"""The page's API: six named endpoints of plain values, for `gradio_client` and for assistants."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from autoseg.config import SearchConfig, parse_duration, parse_latency
from autoseg.data.dataset import CheckedDataset
from autoseg.data.images import read_image, write_jpeg
from autoseg.data.palette import with_colors
from autoseg.data.splits import make_splits
from autoseg.errors import AutosegError, ConfigError, DatasetError, PredictionError, RunError
from autoseg.hub.origins import is_hub_dataset
from autoseg.search.run_folder import RunFolder
from autoseg.sources import check as check_source
from autoseg.training.hardware import choose_device
from autoseg.ui import previews
from autoseg.ui.access import Access
from autoseg.ui.bases import JSON
from autoseg.ui.predict_models import find_model, load, segment
from autoseg.ui.results import class_rows, new_folder
from autoseg.workspace import SAMPLE_NAME, StoredDataset, Workspace

_QUEUED = ("check", "search")
"""Endpoints that wait for their turn in Gradio's queue; the others read, or take turns here."""

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")

P = ParamSpec("P")
R = TypeVar("R")


def told(function: Callable[P, R]) -> Callable[P, R]:
    """The function, with our errors as those whose text Gradio passes on."""

    @wraps(function)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except AutosegError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return inner


class Record(JSON):
    """JSON as assistants can use it: of Gradio's own the schema is none that they accept, and the
    answer reads "root={...}".
    """

    def __init__(self, schema: dict[str, Any], label: str, visible: bool = False) -> None:
        # The page is told of what stands in this signature, and of nothing else.
        self.schema = schema
        super().__init__(label=label, visible=visible)

    def get_block_name(self) -> str:
        """What the page draws it as."""
        return "json"

    def api_info(self) -> dict[str, Any]:
        """What programs are told of it."""
        return self.schema

    def postprocess(self, value: Any) -> Any:
        """The value, which is JSON already."""
        return value


class Api:
    """What the endpoints do; their docstrings are what programs and assistants are told."""

    def __init__(self, workspace: Workspace, access: Access, results: Path) -> None:
        self.workspace = workspace
        self.access = access
        self.results = results

    def check(
        self, file: str | None = None, dataset: str = "", mapping: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Say how a data set of images and masks is read: classes, splits, what was mended.

        Args:
            file: Zip to add, with images/ beside masks/; none for a data set that is there.
            dataset: Name of a data set here, such as "sample", or a name for the file.
            mapping: What ambiguous mask values mean, such as {"0": "soil", "1": "leaf"}. None:
                as was said before, here or on the page.

        Returns:
            The data set's name, which `search` takes, its classes, images in each split, and notes.
        """
        said = _meanings(mapping)
        stored = self._dataset(file, dataset.strip())
        folder = self.workspace.check_folder(stored.name)
        before = previews.load_check(folder) or previews.Check()
        meanings = said or before.mapping
        checked = check_source(stored.source, mapping=dict(meanings) or None)
        names = checked.classes.names
        colors = tuple((name, color) for name, color in before.colors if name in names)
        checked = replace(checked, classes=with_colors(checked.classes, dict(colors)))
        previews.save_check(checked, folder, meanings, colors)
        return _described(stored.name, checked)

    def search(
        self, dataset: str, budget: str = "6m", encoders: str = "", n_trials: float | None = None,
        max_side: float | None = None, seed: float = 0, device: str = "auto",
        max_latency: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        """Start to search and train the best model for a data set in the time given.

        It goes on by itself; `status` tells how.

        Args:
            dataset: Name of a data set here, as `check` gives it.
            budget: Time from now to the finished model, such as 90s, 6m or 1h30m.
            encoders: Encoders or families, with commas. Empty: the defaults there are weights for.
            n_trials: Most trials. None: as many as the time holds, in a short time one.
            max_side: Most pixels of an image's longer side while it trains. None: from the data.
            seed: Seed of splits, search and training.
            device: auto, cpu, mps, cuda or cuda:1.
            max_latency: Longest time of one image there, such as 20ms; slower encoders and
                decoders are left out. Empty: any.

        Returns:
            The name of the run and where it stands.
        """
        stored = self.workspace.dataset(dataset.strip())
        check = previews.load_check(self.workspace.check_folder(stored.name))
        config = SearchConfig(
            budget_s=parse_duration(budget),
            seed=int(seed),
            device=_known_device(device),
            encoders=tuple(name.strip() for name in encoders.split(",") if name.strip()),
            n_trials=int(n_trials) if n_trials else None,
            max_side=int(max_side) if max_side else None,
            max_latency_ms=parse_latency(max_latency) if max_latency.strip() else None,
            mapping=check.mapping if check else (),
            colors=check.colors if check else (),
        )
        return self._stand(self.workspace.start_search(stored.source, config))

    def status(self, run: str = "") -> dict[str, Any]:
        """Say how a search goes: phase, time, best score, its trials, and test scores when done.

        Args:
            run: Name of the run, as `search` or `runs` gives it. Empty: the newest.

        Returns:
            Where the run stands; scores are IoU per image on the validation split, in [0, 1].
        """
        found = self._run(run)
        report = found.json("report/report.json")
        trials = [
            {
                "number": trial.number,
                "status": trial.status,
                "encoder": trial.recipe.encoder_name,
                "frozen_depth": trial.recipe.frozen_depth,
                "score": trial.score,
                "seconds": trial.seconds,
                "reason": trial.reason,
            }
            for trial in found.trials()
        ]
        return {
            **self._stand(found),
            "trials": trials,
            "test_scores": (report or {}).get("model", {}).get("scores"),
        }

    def runs(self) -> list[dict[str, Any]]:
        """List all searches of this app, the newest first, each with where it stands.

        Returns:
            One record for each run; the name in it is what `status`, `stop` and `predict` take.
        """
        listed = []
        for run in self.workspace.runs():
            try:
                listed.append(self._stand(run))
            except RunError as error:
                listed.append({"run": run.name, "status": "failed", "error": str(error)})
        return listed

    def stop(self, run: str) -> dict[str, Any]:
        """Let a search finish now with the best model so far.

        Args:
            run: Name of the run.

        Returns:
            Where the run stands; it is done some moments later.
        """
        found = self.workspace.named_run(run.strip())
        self.workspace.stop_search(found)
        return self._stand(found)

    def predict(
        self, image: str | None, model: str = "", flip: bool = False
    ) -> tuple[str, str, dict[str, Any]]:
        """Segment an image: the class of every pixel by a model that was found here.

        Args:
            image: The image: PNG, JPEG, TIFF, WebP or BMP.
            model: Name of a run, or owner/name of a pulled model. Empty: the newest finished run.
            flip: Whether to average with the mirrored image: twice the time, a little better.

        Returns:
            The mask as a grey PNG of class indices.
            The image with the mask drawn over it.
            The classes found: name, index, colour, pixels, share and mean confidence.
        """
        if not image:
            raise PredictionError("There is no image. Give one as `image`.")
        name = model.strip() or self._newest_model()
        predictor = load(find_model(self.workspace, Access(), name))
        pixels = read_image(Path(image))
        prediction = segment(predictor, pixels, flip=bool(flip))
        folder = new_folder(self.results)
        mask, overlay = folder / "mask.png", folder / "overlay.jpg"
        prediction.save_index_png(mask)
        write_jpeg(prediction.overlay_image(pixels), overlay)
        height, width = prediction.mask.shape
        return (
            str(mask),
            str(overlay),
            {
                "model": name,
                "width": width,
                "height": height,
                "seconds": round(prediction.seconds, 4),
                "engine": prediction.engine,
                "classes": class_rows(prediction),
            },
        )

    def _dataset(self, file: str | None, text: str) -> StoredDataset:
        """The data set that is meant; added where it is new."""
        if file:
            return self.workspace.add_dataset(Path(file), text or None)
        known = {dataset.name: dataset for dataset in self.workspace.datasets()}
        if text in known:
            return known[text]
        if text in ("", SAMPLE_NAME):
            return self.workspace.add_sample()
        if is_hub_dataset(text):
            if not self.access.sharing:
                raise ConfigError("The Hub may not be used from this page. Upload a zip instead.")
            return self.workspace.add_hub_dataset(
                text, connection=self.access.connection(), use_cache=self.access.local
            )
        if "/" in text and self.access.paths:
            return self.workspace.add_dataset(self.access.path(text))
        raise DatasetError(
            f"There is no data set {text!r}. There are: {', '.join(known) or 'none yet'}. "
            f"Upload a zip, or take {SAMPLE_NAME!r}."
        )

    def _run(self, text: str) -> RunFolder:
        if text.strip():
            return self.workspace.named_run(text.strip())
        for run in self.workspace.runs():
            return run
        raise RunError("There is no run yet. Start one with `search`.")

    def _newest_model(self) -> str:
        for run in self.workspace.runs():
            if run.model.is_dir():
                return run.name
        raise RunError("There is no finished run yet. Start a search, or name a pulled model.")

    def _stand(self, run: RunFolder) -> dict[str, Any]:
        """Where a run stands."""
        state = run.state()
        if state is None:
            raise RunError(f"{run.name} has no state.json; the run's folder is damaged.")
        return {
            "run": run.name,
            "status": state.status,
            "phase": state.phase,
            "progress": state.progress,
            "elapsed_s": state.elapsed_s,
            "budget_s": state.budget_s,
            "best_score": state.best_score,
            "best_trial": state.best_trial,
            "stopping": run.stop_requested(),
            "message": state.message,
            "error": state.error,
        }


def _meanings(mapping: object) -> previews.Mapping:
    """What a program says of mask values.

    Raises:
        ConfigError: It is no mapping of texts.
    """
    if mapping is None:
        return ()
    if not isinstance(mapping, dict) or not all(
        isinstance(meant, str | int) for meant in mapping.values()
    ):
        raise ConfigError(
            f"`mapping` wants an object of mask values and what they mean, such as "
            f'{{"0": "soil", "1": "leaf"}}, but got {str(mapping)[:80]}.'
        )
    return tuple((str(value), str(meant)) for value, meant in mapping.items())


def _known_device(text: str) -> str:
    """A device that a program names, if this machine has it.

    Raises:
        ConfigError: It has none of that name.
    """
    name = text.strip()
    if not _DEVICE.fullmatch(name):
        raise ConfigError(f"`device` wants auto, cpu, mps, cuda or cuda:1, but got {name[:40]!r}.")
    choose_device(name)
    return name


def _described(name: str, dataset: CheckedDataset) -> dict[str, Any]:
    """What a check found."""
    splits, verdict, classes = make_splits(dataset, 0), dataset.verdict, dataset.classes
    return {
        "dataset": name,
        "images": verdict.pairs,
        "sizes": verdict.sizes,
        "classes": [
            {"index": index, "name": label, "color": "#{:02x}{:02x}{:02x}".format(*color)}
            for index, (label, color) in enumerate(zip(classes.names, classes.palette, strict=True))
        ],
        "splits": {part: len(getattr(splits, part)) for part in ("train", "val", "test")},
        "mended": list(verdict.mended),
        "ambiguous": list(verdict.ambiguous),
        "left_out": verdict.skipped_count,
        "notes": [*verdict.notes, *splits.notes],
    }


def build(workspace: Workspace, access: Access) -> None:
    """Put the endpoints on the page; nothing of them is seen there."""
    scratch = tempfile.TemporaryDirectory(prefix="autoseg-api-")
    api = Api(workspace, access, Path(scratch.name))
    api.scratch = scratch  # type: ignore[attr-defined]  # It lives as long as the endpoints.

    def text(name: str, value: str = "") -> gr.Textbox:
        return gr.Textbox(value, label=name, visible=False)

    def number(name: str, value: float | None = None) -> gr.Number:
        return gr.Number(value, label=name, visible=False)

    def record(name: str) -> Record:
        return Record({"type": "object", "additionalProperties": {}}, name)

    def file(name: str) -> gr.File:
        # A file, not an image: what is no image gets our words, not Gradio's.
        return gr.File(label=name, visible=False)

    mapping = Record({"type": "object", "additionalProperties": {"type": "string"}}, "mapping")
    runs = Record({"type": "array", "items": {"type": "object"}}, "runs")
    endpoints: tuple[tuple[Callable[..., Any], list[Any], list[Any]], ...] = (
        (api.check, [file("file"), text("dataset"), mapping], [record("found")]),
        (
            api.search,
            [
                text("dataset"),
                text("budget", "6m"),
                text("encoders"),
                number("n_trials"),
                number("max_side"),
                number("seed", 0),
                text("device", "auto"),
                text("max_latency"),
            ],
            [record("run")],
        ),
        (api.status, [text("run")], [record("run")]),
        (api.runs, [], [runs]),
        (api.stop, [text("run")], [record("run")]),
        (
            api.predict,
            [file("image"), text("model"), gr.Checkbox(label="flip", visible=False)],
            [file("mask"), gr.Image(label="overlay", visible=False), record("classes")],
        ),
    )
    for function, inputs, outputs in endpoints:
        never = gr.Button(visible=False)  # Programs call it; nothing on the page does.
        # Of a queued event with several values, assistants would get one text.
        queue = function.__name__ in _QUEUED
        never.click(told(function), inputs, outputs, api_name=function.__name__, queue=queue)
