"""The form of a new search: its fields, what is wrong with them, and what to expect."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from autoseg.config import WINDOW_MULTIPLE, SearchConfig, parse_duration, parse_latency
from autoseg.encoders import catalogue, families
from autoseg.errors import ConfigError, RunError
from autoseg.ui import previews
from autoseg.ui.budget_slider import DEFAULT, LEAST_S, budget_slider
from autoseg.ui.texts import label, tr
from autoseg.workspace import Workspace


@dataclass(frozen=True)
class Form:
    """What the user filled in."""

    dataset: str | None
    budget: str | None
    seed: float | None = 0
    device: str = "auto"
    encoders: Sequence[str] | None = ()
    n_trials: str | None = None
    max_side: str | None = None
    max_latency: str | None = None
    flip: str = "auto"
    allow_noncommercial: bool = False

    def chosen_dataset(self) -> str:
        """Name of the data set.

        Raises:
            RunError: None is chosen.
        """
        if not self.dataset:
            raise RunError(tr("No data set is chosen. Add one in the Data tab."))
        return self.dataset

    def config(self, workspace: Workspace) -> SearchConfig:
        """The same as a configuration, with what the data tab knows of the data set.

        Raises:
            ConfigError: A field does not hold.
        """
        folder = workspace.check_folder(self.dataset) if self.dataset else None
        check = previews.load_check(folder) if folder else None
        return SearchConfig(
            budget_s=_budget(self.budget),
            seed=int(self.seed or 0),
            device=self.device,
            encoders=tuple(self.encoders or ()),
            n_trials=_whole(self.n_trials, 1),
            max_side=_whole(self.max_side, WINDOW_MULTIPLE),
            max_latency_ms=_latency(self.max_latency),
            flip=None if self.flip == "auto" else self.flip,  # type: ignore[arg-type]
            allow_noncommercial=self.allow_noncommercial,
            mapping=check.mapping if check else (),
            colors=check.colors if check else (),
        )

    def problems(self) -> dict[str, str]:
        """What is wrong, by the name of the field; empty where all of it holds."""
        checks: dict[str, Callable[[], object]] = {
            "dataset": self.chosen_dataset,
            "budget": lambda: _budget(self.budget),
            "n_trials": lambda: _whole(self.n_trials, 1),
            "max_side": lambda: _whole(self.max_side, WINDOW_MULTIPLE),
            "max_latency": lambda: _latency(self.max_latency),
        }
        found = {}
        for name, check in checks.items():
            try:
                check()
            except (ConfigError, RunError) as error:
                found[name] = str(error)
        return found


def _budget(text: str | None) -> float:
    """The seconds in the budget's field.

    Raises:
        ConfigError: The text is no duration, or so short that it must be a slip.
    """
    text = (text or "").strip()
    seconds = parse_duration(text)
    if seconds >= LEAST_S:
        return seconds
    if text.replace(".", "", 1).isdecimal():
        raise ConfigError(
            tr("{number} means {number} seconds. Write {number}m for minutes.", number=text)
        )
    raise ConfigError(
        tr("{time} is too short for a search. Give it {least} s or more.", time=text, least=LEAST_S)
    )


def _whole(text: str | None, least: int) -> int | None:
    """The whole number in a field; None where it is empty.

    Raises:
        ConfigError: The text is no whole number, or a smaller one.
    """
    text = (text or "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(
            tr("Write a whole number from {least} on, or leave it empty.", least=least)
        )
    return int(text)


def _latency(text: str | None) -> float | None:
    """The milliseconds in a field; None where it is empty.

    Raises:
        ConfigError: The text is no time.
    """
    text = (text or "").strip()
    return parse_latency(text) if text else None


def fields() -> dict[str, Any]:
    """Fields by the names of `Form`."""
    dataset = gr.Dropdown(label=label("Data set"), choices=[], elem_id="dataset")
    budget = budget_slider(DEFAULT, elem_id="budget")
    with gr.Accordion(label("More options"), open=False, elem_id="more-options"):
        options = {**_model_options(), **_limits()}
    return {"dataset": dataset, "budget": budget, **options}


def _model_options() -> dict[str, Any]:
    encoders = gr.Dropdown(
        label=label("Encoders"), multiselect=True, value=[], choices=_encoder_choices(),
        info=label("A family (marked *) or one of its networks. Empty: a few fast ones."),
        elem_id="encoders",
    )  # fmt: skip
    noncommercial = gr.Checkbox(
        label=label("Allow weights with non-commercial licences"), value=False
    )
    flip = gr.Radio(
        label=label("Mirror images in training"), value="auto",
        choices=[(label("Decide from class names and masks"), "auto"), (label("Never"), "none"),
                 (label("Left and right"), "horizontal"), (label("All directions"), "both")],
    )  # fmt: skip
    return {"encoders": encoders, "allow_noncommercial": noncommercial, "flip": flip}


def _limits() -> dict[str, Any]:
    # An empty `gr.Number` in a closed accordion turns into 0 when it is opened.
    max_side = gr.Textbox(
        label=label("Most pixels of the longer side"), max_lines=1, elem_id="max-side",
        placeholder=label("Empty: from the data"),
    )  # fmt: skip
    max_latency = gr.Textbox(
        label=label("Longest time per image"), max_lines=1, elem_id="max-latency",
        placeholder=label("Empty: any"),
        info=label("On this device, such as 20ms. Slower encoders are left out."),
    )  # fmt: skip
    n_trials = gr.Textbox(
        label=label("Most trials"), max_lines=1, elem_id="n-trials",
        placeholder=label("Empty: as many as fit"),
        info=label("In a short time one recipe has it all; ask for more to compare several."),
    )  # fmt: skip
    device = gr.Dropdown(
        label=label("Device"), value="auto",
        choices=[(label("Automatic"), "auto"), (label("CPU"), "cpu"), (label("GPU"), "cuda")],
    )  # fmt: skip
    seed = gr.Number(
        label=label("Seed"), precision=0, value=0,
        info=label("The same number splits and draws the same way."),
    )  # fmt: skip
    return {
        "max_side": max_side, "max_latency": max_latency, "n_trials": n_trials, "device": device,
        "seed": seed,
    }  # fmt: skip


def _encoder_choices() -> list[tuple[str, str]]:
    """Families first, then every encoder."""
    named = [(f"{family} *", family) for family in families()]
    return named + [(encoder.name, encoder.name) for encoder in catalogue()]
