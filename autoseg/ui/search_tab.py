"""Search tab: start a search, watch it, stop it. It shows what is on disk and keeps nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gradio as gr

from autoseg.ui import (
    run_view,
    search_actions,
    search_charts,
    search_compare,
    search_estimate,
    search_form,
    search_take,
)
from autoseg.ui.run_view import Values
from autoseg.ui.search_form import Form
from autoseg.ui.search_views import CLOCK_JS
from autoseg.ui.style import html
from autoseg.ui.texts import label
from autoseg.workspace import Workspace

Placed = dict[Any, Any]
"""Values by component, as Gradio takes them."""

LIVE_S = 2.0
"""A running search is read again this often, in seconds: as often as it writes."""

IDLE_S = 10.0
"""While none runs, one started elsewhere shows up after this time, in seconds."""

_PROGRESS = gr.Progress()


@dataclass(frozen=True)
class SearchTab:
    """Components and functions that the other tabs and the page's opening use."""

    dataset: gr.Dropdown
    budget: gr.HTML
    runs: gr.Radio
    try_it: gr.Button
    share: gr.Button
    outputs: list[Any]
    open_page: Callable[..., Placed]
    """Values of `outputs` that show the run of a name, or the newest."""


def build(workspace: Workspace) -> SearchTab:
    """Lay out the tab and connect it."""
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            fields = search_form.fields()
            estimate = html(elem_id="estimate", js_on_load=CLOCK_JS)
            start = gr.Button(label("Start"), variant="primary", elem_id="start")
            problem = html(visible=False, elem_id="problem")
            runs = gr.Radio(
                label=label("Runs"), elem_classes="as-list", elem_id="runs", visible=False
            )
        with gr.Column(scale=3, min_width=320), gr.Tabs(elem_id="search-views"):
            with gr.Tab(label("One run"), id="one"):
                parts = _run_panel()
            with gr.Tab(label("Compare runs"), id="compare") as compare_page:
                comparison = search_compare.build()
    parts |= {"problem": problem, "runs": runs, "start": start, "estimate": estimate}
    wiring = _Wiring(workspace, fields, parts, comparison)
    wiring.connect_form()
    wiring.connect_buttons()
    wiring.connect_manage()
    wiring.connect_taking()
    wiring.connect_comparison(compare_page)
    wiring.connect_timer()
    return SearchTab(
        fields["dataset"], fields["budget"], runs, parts["try_it"], parts["share"],
        wiring.outputs, wiring.open_page,
    )  # fmt: skip


class _Wiring:
    """The tab's components and what they call."""

    private: ClassVar[dict[str, Any]] = {"api_visibility": "private", "show_progress": "hidden"}

    def __init__(
        self, workspace: Workspace, fields: dict[str, Any], parts: dict[str, Any],
        comparison: dict[str, Any],
    ) -> None:  # fmt: skip
        self.workspace = workspace
        self.fields = fields
        self.parts = parts
        self.comparison = comparison
        self.seen = gr.State({})
        self.timer = gr.Timer(LIVE_S)
        self.outputs: list[Any] = [*parts.values(), self.seen, self.timer]

    def placed(self, values: Values, shown: dict[str, str] | None = None) -> Placed:
        """Only what is new to the page, and how soon to look again."""
        live = bool(run_view.live_runs(self.workspace))
        rhythm = gr.update(value=LIVE_S if live else IDLE_S)
        changed, now_shown = run_view.news({**values, "timer": rhythm}, shown or {})
        parts = {**self.parts, "timer": self.timer}
        return {**{parts[name]: value for name, value in changed.items()}, self.seen: now_shown}

    def open_page(self, name: str | None = None) -> Placed:
        """Everything, for a page just opened."""
        return self.placed(search_actions.opened(self.workspace, name))

    def form_of(self, given: Sequence[Any]) -> Form:
        """The fields' values as they come from the page."""
        return Form(**dict(zip(self.fields, given, strict=True)))

    def connect_form(self) -> None:
        """Starting, and what is wrong with the fields."""

        def validated(*given: Any) -> list[dict[str, Any]]:
            problems = self.form_of(given).problems()
            return [
                gr.validate(name not in problems, problems.get(name, "")) for name in self.fields
            ]

        def holds(*given: Any) -> list[dict[str, Any]]:
            # Nobody has to be told that a field is empty before having come to it.
            problems = {k: v for k, v in self.form_of(given).problems().items() if k != "dataset"}
            return [
                gr.validate(name not in problems, problems.get(name, "")) for name in self.fields
            ]

        def on_change(*given: Any) -> str:
            return search_estimate.expected(self.workspace, self.form_of(given))

        def on_start(*given: Any) -> Placed:
            return self.placed(search_actions.started(self.workspace, self.form_of(given)))

        # What is wrong with a field stops its event, and the old estimate would stay: so two. The
        # validation comes last: any other event of these fields takes away what it found.
        changes = [field.change for field in self.fields.values()]
        for function, outputs, validator in (
            (on_change, self.parts["estimate"], None), (lambda *given: None, None, holds),
        ):  # fmt: skip
            gr.on(
                changes, function, list(self.fields.values()), outputs, validator=validator,
                trigger_mode="always_last", **self.private,
            )  # fmt: skip
        self.parts["start"].click(
            on_start, list(self.fields.values()), self.outputs, validator=validated, **self.private
        )

    def connect_buttons(self) -> None:
        """Pause, go on, stop; and another run of the list."""
        for name, action in (
            ("pause", search_actions.paused),
            ("resume", search_actions.resumed),
            ("stop", search_actions.stopped),
        ):
            self._on_click(name, action)
        self.parts["runs"].input(
            lambda name: self.placed(search_actions.shown(self.workspace, name)),
            self.parts["runs"], self.outputs, queue=False, **self.private,
        )  # fmt: skip

    def connect_manage(self) -> None:
        """Rename and delete."""

        def on_rename(name: str | None, new_name: str | None) -> Placed:
            return self.placed(search_actions.renamed(self.workspace, name, new_name))

        parts = self.parts
        for event in (parts["rename"].click, parts["new_name"].submit):
            event(on_rename, [parts["runs"], parts["new_name"]], self.outputs, **self.private)
        self._on_click("delete", search_actions.asked_to_delete)
        self._on_click("really", search_actions.deleted)
        self._on_click("keep", lambda workspace, name: search_actions.kept())

    def connect_taking(self) -> None:
        """Make a model of another trial."""

        def on_take(name: str | None, number: float | None, progress: Any = _PROGRESS) -> Placed:
            def on_step(done: tuple[int, int], step: str) -> None:
                progress(done, desc=step)

            return self.placed(search_take.taken(self.workspace, name, number, on_step))

        self.parts["take"].click(
            on_take, [self.parts["runs"], self.parts["take_trial"]], self.outputs,
            show_progress_on=self.parts["take_trial"], api_visibility="private",
        )  # fmt: skip

    def _on_click(self, button: str, action: Callable[[Workspace, str | None], Values]) -> None:
        def on_click(name: str | None) -> Placed:
            return self.placed(action(self.workspace, name))

        self.parts[button].click(on_click, self.parts["runs"], self.outputs, **self.private)

    def connect_comparison(self, page: gr.Tab) -> None:
        """The runs beside each other."""

        def on_open(chosen: list[str] | None) -> Placed:
            return self.of_comparison(search_compare.opened(self.workspace, chosen))

        def on_choice(chosen: list[str] | None) -> Placed:
            return self.of_comparison(search_compare.compared(self.workspace, chosen))

        chosen, outputs = self.comparison["compared"], list(self.comparison.values())
        page.select(on_open, chosen, outputs, queue=False, **self.private)
        chosen.input(on_choice, chosen, outputs, queue=False, **self.private)

    def of_comparison(self, values: Values) -> Placed:
        """Values of the runs beside each other by their components."""
        return {self.comparison[name]: value for name, value in values.items()}

    def connect_timer(self) -> None:
        """Look again, and send only what is new."""

        def on_tick(
            name: str | None, seen: dict[str, str], chosen: list[str] | None, *given: Any
        ) -> Placed:
            beside, seen = search_compare.ticked(self.workspace, chosen, seen)
            placed = on_tick_of_run(name, seen, *given)
            return {**placed, **self.of_comparison(beside)}

        def on_tick_of_run(name: str | None, seen: dict[str, str], *given: Any) -> Placed:
            form = self.form_of(given)
            reason = search_estimate.reason(self.workspace, form)
            stamp = run_view.stamp(self.workspace, name) + reason
            live = bool(run_view.live_runs(self.workspace))
            if not live and name and seen.get("stamp") == stamp:
                return {self.seen: seen}
            values = search_actions.ticked(self.workspace, name)
            if seen.get("reason") != reason:
                values["estimate"] = search_estimate.expected(self.workspace, form)
            return self.placed(values, {**seen, "stamp": stamp, "reason": reason})

        inputs = [
            self.parts["runs"], self.seen, self.comparison["compared"], *self.fields.values()
        ]  # fmt: skip
        outputs = [*self.outputs, *self.comparison.values()]
        self.timer.tick(on_tick, inputs, outputs, queue=False, **self.private)


def _run_panel() -> dict[str, Any]:
    """What is shown of a run, by the names of `run_view.page`."""
    card = html(run_view.no_run(), elem_id="card", js_on_load=CLOCK_JS)
    return {
        "card": card,
        **_run_buttons(),
        "report": html(visible=False, elem_id="report"),
        "pictures": html(visible=False, elem_id="pictures"),
        **_charts(),
        **search_take.build(),
        "trials": html(visible=False, elem_id="trials"),
        **_log_and_manage(),
    }


def _run_buttons() -> dict[str, Any]:
    shape: dict[str, Any] = {"visible": False, "scale": 0, "min_width": 160, "size": "md"}
    with gr.Row(elem_classes="as-buttons"):
        return {
            "pause": gr.Button(label("Pause"), elem_id="pause", **shape),
            "resume": gr.Button(label("Go on"), variant="primary", elem_id="resume", **shape),
            "stop": gr.Button(
                label("Stop and keep the best"),
                variant="stop",
                elem_id="stop",
                **{**shape, "min_width": 240},
            ),
            "try_it": gr.Button(label("Try this model"), variant="primary", elem_id="try", **shape),
            "share": gr.Button(label("Share"), elem_id="share-run", **shape),
        }


def _charts() -> dict[str, Any]:
    shape: dict[str, Any] = {
        "x": "x", "y": "y", "color": "series", "height": search_charts.HEIGHT_PX,
        "min_width": 320, "buttons": ["fullscreen", "export"],
    }  # fmt: skip
    with gr.Column(visible=False, elem_id="charts") as charts:
        soon = html(visible=False, elem_id="charts-soon")
        with gr.Row():
            progress = gr.LinePlot(elem_id="progress", **shape)
            curves = gr.LinePlot(elem_id="curves", **shape)
        with gr.Row():
            depth = gr.ScatterPlot(elem_id="depth", tooltip="all", **shape)
            speed = gr.ScatterPlot(elem_id="speed", tooltip="all", **shape)
        with gr.Row():
            importances = html(elem_id="importances", min_width=320, scale=1)
            front = html(elem_id="front", min_width=320, visible=False, scale=1)
    return {
        "charts": charts, "soon": soon, "progress": progress, "curves": curves, "depth": depth,
        "speed": speed, "importances": importances, "front": front,
    }  # fmt: skip


def _log_and_manage() -> dict[str, Any]:
    with gr.Accordion(label("Log of the search"), open=False):
        log = gr.Textbox(
            label=label("Log of the search"), show_label=False, lines=12, max_lines=12,
            interactive=False,
        )  # fmt: skip
    with gr.Accordion(
        label("Rename or delete this run"), open=False, visible=False, elem_id="search-manage"
    ) as manage:
        with gr.Row(elem_classes="as-signing"):
            new_name = gr.Textbox(
                label=label("New name"), scale=3, min_width=220, elem_id="search-new-name",
                placeholder=label("Letters, digits, dots, dashes, underscores"),
            )  # fmt: skip
            rename = gr.Button(label("Rename"), min_width=120, elem_id="search-rename")
            delete = gr.Button(
                label("Delete"), variant="stop", min_width=120, elem_id="search-delete"
            )
        with gr.Group(visible=False, elem_id="search-question") as question:
            question_text = html()
            with gr.Row():
                really = gr.Button(
                    label("Delete for good"), variant="stop", elem_id="search-really"
                )
                keep = gr.Button(label("Keep it"), elem_id="search-keep")
        manage_problem = html(visible=False, elem_id="search-manage-problem")
    return {
        "log": log, "manage": manage, "new_name": new_name, "rename": rename, "delete": delete,
        "question": question, "question_text": question_text, "really": really, "keep": keep,
        "manage_problem": manage_problem,
    }  # fmt: skip
