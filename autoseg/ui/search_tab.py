"""Search tab: start a search, watch it, stop it. It shows what is on disk and keeps nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.config import SearchConfig, parse_duration
from autoseg.encoders import catalogue, families
from autoseg.errors import AutosegError, RunError
from autoseg.search.run_folder import RunFolder
from autoseg.ui import previews, run_view, views
from autoseg.ui.run_view import Values
from autoseg.ui.style import html
from autoseg.workspace import Workspace

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""

BUDGETS = (
    ("2 minutes", "2m"), ("6 minutes", "6m"), ("15 minutes", "15m"), ("30 minutes", "30m"),
    ("1 hour", "1h"), ("2 hours", "2h"),
)  # fmt: skip

LIVE_S = 1.5
"""A running search is read again this often, in seconds."""

IDLE_S = 10.0
"""While none runs, one started elsewhere shows up after this time, in seconds."""


def opened(workspace: Workspace, chosen: str | None = None) -> Values:
    """The list of runs with `chosen`, or else the newest, selected; and that run's page."""
    choices = run_view.run_choices(workspace)
    names = [name for _, name in choices]
    name = chosen if chosen in names else next(iter(names), None)
    runs = gr.update(choices=choices, value=name, visible=bool(choices))
    return {"runs": runs, **run_view.page(workspace, name)}


def ticked(workspace: Workspace, name: str | None) -> Values:
    """The list of runs and the chosen run's page, the choice left as it is."""
    return {
        "runs": gr.update(choices=run_view.run_choices(workspace)),
        **run_view.page(workspace, name),
    }


@dataclass(frozen=True)
class Form:
    """What the user filled in."""

    dataset: str | None
    budget: str | None
    seed: float | None = 0
    device: str = "auto"
    encoders: Sequence[str] | None = ()
    n_trials: float | None = None
    max_side: float | None = None
    flip: str = "auto"
    allow_noncommercial: bool = False

    def config(self, mapping: previews.Mapping = ()) -> SearchConfig:
        """The same as a configuration, with what the data tab knows of the mask values.

        Raises:
            ConfigError: A field does not hold.
        """
        return SearchConfig(
            budget_s=parse_duration(self.budget or ""),
            seed=int(self.seed or 0),
            device=self.device,
            encoders=tuple(self.encoders or ()),
            n_trials=int(self.n_trials) if self.n_trials else None,
            max_side=int(self.max_side) if self.max_side else None,
            flip=None if self.flip == "auto" else self.flip,  # type: ignore[arg-type]
            allow_noncommercial=self.allow_noncommercial,
            mapping=mapping,
        )


def started(workspace: Workspace, form: Form) -> Values:
    """Start a search and show it; or say why not."""
    try:
        if form.dataset is None:
            raise RunError("No data set is chosen. Add one in the Data tab.")
        _refuse_second(workspace)
        source = workspace.dataset(form.dataset).source
        check = previews.load_check(workspace.check_folder(form.dataset))
        config = form.config(check.mapping if check else ())
        run = workspace.start_search(source, config)
    except AutosegError as error:
        return {"problem": gr.update(value=views.error(error), visible=True)}
    return _started(workspace, run)


def resumed(workspace: Workspace, name: str | None) -> Values:
    """Go on with a run that was interrupted."""
    try:
        _refuse_second(workspace)
        run = workspace.named_run(name or "")
        info = run.info()
        if info is None:
            raise RunError(f"{run.name} did not come far enough to go on. Start a new search.")
        workspace.start_search(Path(info.source), info.config, run.name)
    except AutosegError as error:
        return {"problem": gr.update(value=views.error(error), visible=True)}
    return _started(workspace, run)


def _refuse_second(workspace: Workspace) -> None:
    """Two searches on one device would only slow each other down."""
    if name := run_view.live_run(workspace):
        raise RunError(f"{name} is being searched. Wait for it, or stop it first.")


def _started(workspace: Workspace, run: RunFolder) -> Values:
    return {**opened(workspace, run.name), "problem": gr.update(value="", visible=False)}


def stopped(workspace: Workspace, name: str | None) -> Values:
    """Ask the search to finish with the best so far."""
    try:
        workspace.stop_search(workspace.named_run(name or ""))
    except AutosegError as error:
        return {"problem": gr.update(value=views.error(error), visible=True)}
    return {"stop": run_view.stop_button(live=True, is_stopping=True)}


@dataclass(frozen=True)
class SearchTab:
    """Components and functions that the other tabs and the page's opening use."""

    dataset: gr.Dropdown
    runs: gr.Radio
    try_it: gr.Button
    outputs: list[Any]
    open_page: Callable[[], Placed]


def build(workspace: Workspace) -> SearchTab:
    """Lay out the tab and connect it."""
    with gr.Row():
        with gr.Column(scale=1, min_width=290):
            fields = _form()
            start = gr.Button("Start", variant="primary", elem_id="start")
            problem = html(visible=False, elem_id="problem")
            runs = gr.Radio(label="Runs", elem_classes="as-list", elem_id="runs", visible=False)
        with gr.Column(scale=3, min_width=320):
            parts: dict[str, Any] = _run_panel()
    parts |= {"problem": problem, "runs": runs}
    seen = gr.State({})
    timer = gr.Timer(LIVE_S)
    outputs = [*parts.values(), seen, timer]

    def placed(values: Values, shown: dict[str, str] | None = None) -> Placed:
        """Only what is new to the page, and how soon to look again."""
        live = run_view.live_run(workspace) is not None
        changed, now_shown = run_view.news(values, shown or {})
        rhythm = gr.Timer(LIVE_S if live else IDLE_S)
        return {**{parts[k]: v for k, v in changed.items()}, seen: now_shown, timer: rhythm}

    def on_start(*given: Any) -> Placed:
        return placed(started(workspace, Form(**dict(zip(fields, given, strict=True)))))

    def on_tick(name: str | None, shown: dict[str, str]) -> Placed:
        values = ticked(workspace, name) if name else opened(workspace)
        return placed(values, shown)

    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    start.click(on_start, list(fields.values()), outputs, **private)
    parts["resume"].click(lambda name: placed(resumed(workspace, name)), runs, outputs, **private)
    parts["stop"].click(lambda name: placed(stopped(workspace, name)), runs, outputs, **private)
    runs.input(
        lambda name: placed(run_view.page(workspace, name)), runs, outputs, queue=False, **private
    )
    timer.tick(on_tick, [runs, seen], outputs, queue=False, **private)
    return SearchTab(
        fields["dataset"], runs, parts["try_it"], outputs, lambda: placed(opened(workspace))
    )


def _form() -> dict[str, Any]:
    """Fields by the names of `Form`."""
    dataset = gr.Dropdown(label="Data set", choices=[], elem_id="dataset")
    budget = gr.Dropdown(
        label="Time budget", choices=list(BUDGETS), value="6m", allow_custom_value=True,
        info="From the start to the finished model. Choose, or type one like 45m or 1h30m.",
        elem_id="budget",
    )  # fmt: skip
    with gr.Accordion("More options", open=False):
        encoders = gr.Dropdown(
            label="Encoders", multiselect=True, value=[], choices=_encoder_choices(),
            info="Families or single encoders. Empty: all that this computer has weights for.",
        )  # fmt: skip
        noncommercial = gr.Checkbox(label="Allow weights with non-commercial licences", value=False)
        flip = gr.Radio(
            label="Mirror images in training", value="auto",
            choices=[("Decide from the class names", "auto"), ("Never", "none"),
                     ("Left and right", "horizontal"), ("All directions", "both")],
        )  # fmt: skip
        max_side = gr.Number(
            label="Most pixels of the longer side", precision=0, value=None,
            info="Empty: from the data.",
        )  # fmt: skip
        n_trials = gr.Number(
            label="Most trials", precision=0, value=None, info="Empty: as many as fit."
        )
        device = gr.Dropdown(
            label="Device", choices=[("Automatic", "auto"), ("CPU", "cpu"), ("GPU", "cuda")],
            value="auto",
        )  # fmt: skip
        seed = gr.Number(label="Seed", precision=0, value=0)
    return {
        "dataset": dataset, "budget": budget, "seed": seed, "device": device,
        "encoders": encoders, "n_trials": n_trials, "max_side": max_side, "flip": flip,
        "allow_noncommercial": noncommercial,
    }  # fmt: skip


def _encoder_choices() -> list[tuple[str, str]]:
    """Families first, then every encoder."""
    named = [(f"{family} (all sizes)", family) for family in families()]
    return named + [(encoder.name, encoder.name) for encoder in catalogue()]


def _run_panel() -> dict[str, Any]:
    """What is shown of a run, by the names of `run_view.page`."""
    card = html(run_view.NO_RUN, elem_id="card")
    with gr.Row():
        stop = gr.Button(
            visible=False, variant="stop", scale=0, min_width=240, size="md", elem_id="stop"
        )
        resume = gr.Button(
            "Go on with it", visible=False, variant="primary", scale=0, min_width=200, size="md",
            elem_id="resume",
        )  # fmt: skip
        try_it = gr.Button(
            "Try this model", visible=False, variant="primary", scale=0, min_width=200, size="md",
            elem_id="try",
        )  # fmt: skip
    report = html(visible=False, elem_id="report")
    curves = gr.LinePlot(
        x="Epochs", y="Score (%)", color="Trial", height=300, visible=False,
        title="Learning curves, validation split", y_title="IoU per image (%)", elem_id="curves",
    )  # fmt: skip
    trials = html(visible=False, elem_id="trials")
    with gr.Accordion("Log of the search", open=False):
        log = gr.Textbox(show_label=False, lines=12, max_lines=12, interactive=False)
    return {
        "card": card, "stop": stop, "resume": resume, "try_it": try_it, "report": report,
        "curves": curves, "trials": trials, "log": log,
    }  # fmt: skip
