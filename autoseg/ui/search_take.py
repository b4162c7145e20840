"""Making a model of another trial of a finished run, as functions of plain values."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from autoseg.errors import AutosegError, RunError
from autoseg.search.run_folder import Phase
from autoseg.ui import search_actions, views
from autoseg.ui.run_view import Values
from autoseg.ui.style import html
from autoseg.ui.texts import label
from autoseg.ui.words import phase_name
from autoseg.workspace import Workspace

OnStep = Callable[[tuple[int, int], str], None]
"""Told how much of a step is done and how much there is, and what the step is called."""


def build() -> dict[str, Any]:
    """Lay out the choice of a trial, hidden while there is none."""
    with gr.Column(visible=False, elem_id="take-box") as box:
        with gr.Row(elem_classes="as-signing"):
            trial = gr.Dropdown(
                label=label("Other trials that none beats in both score and speed"),
                info=label(
                    "The model is the trial as the search trained it, without final training, "
                    "scored beside the winner on images that were held back."
                ),
                scale=3,
                min_width=260,
                elem_id="take-trial",
            )
            take = gr.Button(label("Make a model of this trial"), min_width=180, elem_id="take")
        problem = html(visible=False, elem_id="take-problem")
    return {"take_box": box, "take_trial": trial, "take": take, "take_problem": problem}


def taken(
    workspace: Workspace,
    name: str | None,
    number: float | None,
    on_step: OnStep = lambda done, step: None,
) -> Values:
    """Make a model of a trial and show its run; or say why not.

    Args:
        workspace: Where the runs are.
        name: The run.
        number: The trial.
        on_step: Told how far it is.
    """

    def on_progress(phase: Phase, done: int, total: int) -> None:
        on_step((done, total), phase_name(phase))

    try:
        run = workspace.named_run(name or "")
        if number is None:
            raise RunError("No trial is chosen.")
        made = workspace.take_trial(run, int(number), on_progress=on_progress).run
    except AutosegError as error:
        return {"take_problem": gr.update(value=views.error(error), visible=True)}
    return search_actions.shown_anew(workspace, made.name)
