"""What the buttons of the search tab do, as functions of plain values."""

from collections.abc import Callable
from pathlib import Path

import gradio as gr

from autoseg.errors import AutosegError, RunError
from autoseg.search.run_folder import RunFolder
from autoseg.ui import run_view, views
from autoseg.ui.run_view import Values
from autoseg.ui.search_form import Form
from autoseg.ui.texts import tr
from autoseg.workspace import Workspace

_TOO_LITTLE = "Give it at least"
"""In the error of a run whose budget was too small."""


def opened(workspace: Workspace, chosen: str | None = None) -> Values:
    """The list of runs with `chosen`, or else the newest, selected; and that run's page."""
    choices = run_view.run_choices(workspace)
    names = [name for _, name in choices]
    name = chosen if chosen in names else next(iter(names), None)
    runs = gr.update(choices=choices, value=name, visible=bool(choices))
    return {"runs": runs, **_no_question(), **run_view.page(workspace, name)}


def ticked(workspace: Workspace, name: str | None) -> Values:
    """The list of runs and the chosen run's page, the choice left as it is."""
    choices = run_view.run_choices(workspace)
    if name not in [run for _, run in choices]:
        return opened(workspace)  # Deleted or renamed elsewhere, or none was chosen yet.
    return {"runs": gr.update(choices=choices), **run_view.page(workspace, name)}


def shown(workspace: Workspace, name: str | None) -> Values:
    """Another run's page."""
    return {**_no_question(), **_no_problem(), **run_view.page(workspace, name)}


def shown_anew(workspace: Workspace, name: str) -> Values:
    """The list of runs with that one chosen, and its page; what was wrong before is no longer."""
    return {**opened(workspace, name), **_no_problem()}


def started(workspace: Workspace, form: Form) -> Values:
    """Start a search and show it; or say why not."""

    def start() -> RunFolder:
        source = workspace.dataset(form.chosen_dataset()).source
        return workspace.start_search(source, form.config(workspace))

    return _attempted(workspace, start)


def resumed(workspace: Workspace, name: str | None) -> Values:
    """Go on with a run that was paused or interrupted."""

    def go_on() -> RunFolder:
        run = workspace.named_run(name or "")
        info = run.info()
        if info is None:
            raise RunError(f"{run.name} did not come far enough to go on. Start a new search.")
        state = run.state()
        if state is not None and state.status == "failed" and _TOO_LITTLE in state.error:
            raise RunError(
                f"{run.name} would fail again with the same time: {state.error} Start it anew "
                f"with more."
            )
        return workspace.start_search(Path(info.source), info.config, run.name)

    return _attempted(workspace, go_on)


def paused(workspace: Workspace, name: str | None) -> Values:
    """Ask the search to leave and keep everything."""
    return _asked(workspace, name, workspace.pause_search)


def stopped(workspace: Workspace, name: str | None) -> Values:
    """Ask the search to finish with the best so far."""
    return _asked(workspace, name, workspace.stop_search)


def renamed(workspace: Workspace, name: str | None, new_name: str | None) -> Values:
    """Give a run another name."""

    def rename() -> RunFolder:
        run = workspace.named_run(name or "")
        return workspace.rename_run(run, (new_name or "").strip())

    return _attempted(workspace, rename, "manage_problem")


def asked_to_delete(workspace: Workspace, name: str | None) -> Values:
    """Ask whether a run shall really go."""
    try:
        run = workspace.named_run(name or "")
    except RunError as error:
        return {"manage_problem": gr.update(value=views.error(error), visible=True)}
    question = tr(
        "Delete {name} with its model and its report? This cannot be undone.", name=run.name
    )
    return {
        "question": gr.update(visible=True),
        "question_text": views.note(question),
        "delete": gr.update(visible=False),
    }


def deleted(workspace: Workspace, name: str | None) -> Values:
    """Delete a run and show the newest of those that are left."""
    try:
        workspace.delete_run(workspace.named_run(name or ""))
    except (AutosegError, OSError) as error:
        return {
            **_no_question(), "manage_problem": gr.update(value=views.error(error), visible=True)
        }  # fmt: skip
    return {**opened(workspace), **_no_problem()}


def kept() -> Values:
    """The answer to the question is no."""
    return _no_question()


def _no_question() -> Values:
    return {"question": gr.update(visible=False), "delete": gr.update(visible=True)}


def _no_problem() -> Values:
    hidden = gr.update(value="", visible=False)
    return {"problem": hidden, "manage_problem": hidden, "take_problem": hidden}


def _asked(workspace: Workspace, name: str | None, request: Callable[[RunFolder], None]) -> Values:
    """Ask something of the search of a run."""

    def ask() -> RunFolder:
        run = workspace.named_run(name or "")
        request(run)
        return run

    return _attempted(workspace, ask)


def _attempted(
    workspace: Workspace, attempt: Callable[[], RunFolder], where: str = "problem"
) -> Values:
    """Show the run that an attempt touched, or why it did not work."""
    try:
        run = attempt()
    except AutosegError as error:
        return {where: gr.update(value=views.error(error), visible=True)}
    return shown_anew(workspace, run.name)
