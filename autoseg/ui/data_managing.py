"""Data sets removed and renamed on the Data tab: functions of plain values over the workspace."""

import gradio as gr

from autoseg.errors import AutosegError
from autoseg.search.run_folder import RunFolder
from autoseg.ui import views
from autoseg.ui.data_actions import Values, listed, refused, shown
from autoseg.ui.texts import tr
from autoseg.workspace import StoredDataset, Workspace


def asked_to_remove(workspace: Workspace, name: str | None) -> Values:
    """Ask before anything is deleted, saying what would be; "asked" is the one asked about."""
    try:
        dataset = workspace.dataset(name or "")
        text = _removal(workspace, dataset)
    except AutosegError as error:
        return {**listed(workspace), **refused(error)}
    question = gr.update(value=views.note(text), visible=True)
    return {"sure": gr.update(visible=True), "question": question, "asked": dataset.name}


def _removal(workspace: Workspace, dataset: StoredDataset) -> str:
    """The question whether to remove a data set, with all that goes and what cannot go on."""
    name, number = dataset.name, workspace.count_corrections(dataset.name)
    if dataset.owned and number:
        text = tr(
            "Delete {name}, its images and its corrected masks ({number}) from this computer?",
            name=name, number=number,
        )  # fmt: skip
    elif dataset.owned:
        text = tr("Delete {name} and its images from this computer?", name=name)
    elif number:
        text = tr(
            "Forget {name} and delete its corrected masks ({number})? Its own files stay where "
            "they are.",
            name=name, number=number,
        )  # fmt: skip
    else:
        text = tr("Forget {name}? Its files stay where they are.", name=name)
    waiting = [run.name for run in _unfinished(workspace, dataset)]
    if waiting:
        text += " " + tr("These searches cannot go on without it: {runs}.", runs=", ".join(waiting))
    return text


def _unfinished(workspace: Workspace, dataset: StoredDataset) -> list[RunFolder]:
    """Runs that read a data set and could still go on."""
    found = []
    for run in workspace.runs():
        if workspace.source_of(run) == dataset.source:
            state = run.state()
            if state is not None and state.status in ("paused", "interrupted"):
                found.append(run)
    return found


def removed(workspace: Workspace, name: str | None) -> Values:
    """Remove a data set: uploaded files are deleted, a folder elsewhere is only forgotten."""
    try:
        workspace.delete_dataset(name or "")
    except AutosegError as error:
        return {"sure": gr.update(visible=False), **refused(error)}
    values = listed(workspace)
    return {**values, **shown(workspace, values["datasets"]["value"])}


def renamed(workspace: Workspace, name: str | None, new_name: str | None) -> Values:
    """Give a data set another name."""
    try:
        dataset = workspace.rename_dataset(name or "", new_name or "")
    except AutosegError as error:
        return refused(error)
    return {**listed(workspace, dataset.name), **shown(workspace, dataset.name)}
