"""What the Data tab's buttons do: functions of plain values over the workspace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from autoseg.errors import AutosegError, DatasetError
from autoseg.files import telling_full_disk
from autoseg.hub.connection import connect
from autoseg.sources import check as check_source
from autoseg.ui import data_pictures, data_view, previews, views
from autoseg.ui.access import Access
from autoseg.ui.served import uploaded_path
from autoseg.ui.texts import tr
from autoseg.workspace import StoredDataset, Workspace

Values = dict[str, Any]
"""What a callback changes, by the name of the component."""


@dataclass(frozen=True)
class Finished:
    """What came of work during which another data set may have been chosen."""

    dataset: str | None
    """The data set that was worked on, or chosen when the work on a new one began."""
    values: Values
    """What to show."""


OnProgress = Callable[[int, int], None]
"""Called with the number of images done and of all."""


def no_data() -> str:
    """What stands there while there is no data set."""
    return views.empty(
        tr("No data set chosen"),
        tr("Choose one in the list, drop a folder or zip, or create the sample data set."),
    )


def listed(workspace: Workspace, chosen: str | None = None) -> Values:
    """The list of data sets with `chosen`, or else the one last looked at, selected."""
    names = [dataset.name for dataset in workspace.datasets()]
    value = chosen
    if chosen not in names:
        folders = {name: workspace.check_folder(name) for name in names}
        value = max(names, key=lambda name: previews.seen_at(folders[name]), default=None)
    return {
        "datasets": gr.update(choices=names, value=value, visible=bool(names)),
        **{part: gr.update(visible=bool(names)) for part in ("check", "use", "manage")},
        "sure": gr.update(visible=False),
    }


def listed_again(workspace: Workspace, chosen: str | None) -> Values:
    """The list as it is by now; what stands beside it is left alone, edits and all, unless that
    data set is gone.
    """
    values = listed(workspace, chosen)
    name = values["datasets"]["value"]
    if name != chosen:
        return {**values, **shown(workspace, name)}
    del values["datasets"]["value"]  # Another may be chosen by the time this arrives.
    return values


def settled(workspace: Workspace, chosen: str | None, finished: Finished) -> Values:
    """What to show of finished work on a page where `chosen` is chosen by now.

    Of another data set nothing but that it is there, or why something was refused.
    """
    values = finished.values
    if chosen == finished.dataset:
        return values
    names = [dataset.name for dataset in workspace.datasets()]
    of_list: Values = {"datasets": gr.update(choices=names)}
    return of_list | ({"status": values["status"]} if _is_refusal(values) else {})


def _is_refusal(values: Values) -> bool:
    """Whether all there is to show is why; what shows a data set fills in its name."""
    return "status" in values and "new_name" not in values


def shown(workspace: Workspace, name: str | None) -> Values:
    """What the last check of a data set found, without checking again."""
    nothing = {
        "table": None, "notes": _html(""), **_no_pictures(), "new_name": name or "",
        "sure": gr.update(visible=False),
    }  # fmt: skip
    if name is None:
        return {**nothing, "status": _html(no_data())}
    folder = workspace.check_folder(name)
    check = previews.load_check(folder)
    if check is None:
        advice = tr("Press Check to see what its masks mean and whether it can be used.")
        title = tr("{name} is not checked yet", name=name)
        return {**nothing, "status": _html(views.empty(title, advice))}
    table = {"table": data_view.table(name, check, folder)}
    if check.verdict is None:
        return {**nothing, **table, "status": _html(data_view.problem(check))}
    notes = _html(data_view.sentences(check.verdict, folder))
    pictures = _pictures(workspace, name, check)
    problem = data_view.problem(check)
    return {**nothing, **table, "status": _html(problem), "notes": notes, **pictures}


def chosen(workspace: Workspace, name: str | None) -> Values:
    """A data set of the list, which a reload then shows again."""
    if name is not None:
        previews.mark_seen(workspace.check_folder(name))
    return shown(workspace, name)


def _html(text: str) -> dict[str, Any]:
    """A text that takes no room where it is empty."""
    return dict(gr.update(value=text, visible=bool(text)))


def _no_pictures() -> Values:
    return {"pictures": gr.update(visible=False), "canvas": None, "gallery": None}


def _pictures(workspace: Workspace, name: str, check: previews.Check) -> Values:
    """The first page of images, and the first of them large."""
    folder, index = _index(workspace, name)
    if index is None:
        return _no_pictures()
    return {
        "pictures": gr.update(visible=True),
        "canvas": data_pictures.canvas_value(check, index, 0),
        "gallery": _page(name, data_pictures.page_of(folder, check, index)),
    }


def _page(name: str, page: Values) -> Values:
    """A page of images that says whose they are."""
    return {"dataset": name, **page}


def _index(workspace: Workspace, name: str) -> tuple[Path, previews.ImageIndex | None]:
    folder = workspace.check_folder(name)
    return folder, previews.load_index(folder, workspace.dataset(name).source)


def browsed(workspace: Workspace, name: str, page: int, sort: str) -> Values:
    """Another page or order of the images."""
    found = _seen(workspace, name)
    if found is None:
        return {"gallery": None}
    folder, check, index = found
    return {"gallery": _page(name, data_pictures.page_of(folder, check, index, page, sort))}


def enlarged(workspace: Workspace, name: str, position: int) -> Values:
    """One image large in the canvas."""
    found = _seen(workspace, name)
    if found is None:
        return {"canvas": None}
    _, check, index = found
    return {"canvas": data_pictures.canvas_value(check, index, position)}


def _seen(
    workspace: Workspace, name: str
) -> tuple[Path, previews.Check, previews.ImageIndex] | None:
    """What is known of a data set that can be looked at; None where it is gone meanwhile."""
    if name not in [dataset.name for dataset in workspace.datasets()]:
        return None
    folder, index = _index(workspace, name)
    check = previews.load_check(folder)
    if index is None or check is None or check.verdict is None:
        return None
    return folder, check, index


def checked(
    workspace: Workspace, name: str | None, on_progress: OnProgress | None = None
) -> Values:
    """Check a data set with what the user said of it before; show the verdict or the error."""
    if name is None:
        return shown(workspace, None)
    before = previews.load_check(workspace.check_folder(name)) or previews.Check()
    return _check(workspace, name, before.mapping, before.colors, on_progress)


def _check(
    workspace: Workspace,
    name: str,
    mapping: previews.Mapping,
    colors: previews.Colors,
    on_progress: OnProgress | None,
) -> Values:
    try:
        source = workspace.dataset(name).source
        folder = workspace.check_folder(name)
    except AutosegError as error:  # Removed in another window.
        return {**listed(workspace), **refused(error)}
    try:
        with telling_full_disk(workspace.folder):
            _look(source, folder, mapping, colors, on_progress)
    except AutosegError as error:
        return refused(error)
    return shown(workspace, name)


def _look(
    source: Path,
    folder: Path,
    mapping: previews.Mapping,
    colors: previews.Colors,
    on_progress: OnProgress | None,
) -> None:
    """Check a data set and keep what was found, or why it cannot be used."""
    try:
        dataset = check_source(
            source, mapping=dict(mapping) or None, colors=dict(colors), on_progress=on_progress
        )
        previews.save_check(dataset, folder, mapping, colors)
    except DatasetError as error:
        previews.save_problem(error, source, folder, mapping, colors)


def refused(error: AutosegError) -> Values:
    """Why something could not be done."""
    return {"status": _html(views.error(error))}


def applied(
    workspace: Workspace,
    name: str,
    rows: Sequence[data_view.Row],
    on_progress: OnProgress | None = None,
) -> Values:
    """Take what the user said in the table; where it cannot be, say so and change nothing.

    Other colours alone need no second look at the files.
    """
    try:
        source = workspace.dataset(name).source
        folder = workspace.check_folder(name)
        before = previews.load_check(folder) or previews.Check()
        mapping, colors = data_view.answer(rows, before)
        with telling_full_disk(workspace.folder):
            if before.classes is not None and mapping == before.mapping:
                previews.recolor(folder, before, colors)
            else:
                dataset = check_source(
                    source, mapping=dict(mapping), colors=dict(colors), on_progress=on_progress
                )
                previews.save_check(dataset, folder, mapping, colors)
    except AutosegError as error:
        return refused(error)
    return shown(workspace, name)


def forgotten(workspace: Workspace, name: str, on_progress: OnProgress | None = None) -> Values:
    """Read the masks as they were found, without what the user said of them."""
    return _check(workspace, name, (), (), on_progress)


def uploaded(
    workspace: Workspace,
    file: object,
    name: str | None = None,
    called: str | None = None,
    on_progress: OnProgress | None = None,
) -> Values:
    """Take in an upload, as an event of the browser names it; select and check it."""

    def add() -> StoredDataset:
        return workspace.add_dataset(uploaded_path(file), name, called)

    return _taken(workspace, add, on_progress)


def added(
    workspace: Workspace, source: Path | str, on_progress: OnProgress | None = None
) -> Values:
    """Take in a folder or zip of this computer; select and check it."""
    return _taken(workspace, lambda: workspace.add_dataset(Path(source)), on_progress)


def added_path(
    workspace: Workspace,
    access: Access,
    text: str | None,
    on_progress: OnProgress | None = None,
) -> Values:
    """Take in a folder or zip by its path on this computer."""
    return _taken(workspace, lambda: workspace.add_dataset(access.path(text)), on_progress)


def added_hub(
    workspace: Workspace,
    access: Access,
    text: str | None,
    revision: str | None = "",
    on_download: OnProgress | None = None,
    on_progress: OnProgress | None = None,
) -> Values:
    """Fetch a data set of the Hub, select and check it.

    Args:
        workspace: Where it is listed.
        access: Whether this computer's login may be used; else only what everybody may read.
        text: "owner/name", or its other forms.
        revision: Branch, tag or commit; "": as `text` says, else the main branch.
        on_download: Called with the bytes done and all bytes.
        on_progress: Called with the images checked and all images.
    """

    def fetch() -> StoredDataset:
        return workspace.add_hub_dataset(
            text or "",
            revision=(revision or "").strip() or None,
            connection=connect(saved_login=access.local),
            on_download=on_download or (lambda done, total: None),
            use_cache=access.local,
        )

    return _taken(workspace, fetch, on_progress)


def sampled(workspace: Workspace, on_progress: OnProgress | None = None) -> Values:
    """Create the sample data set, or select the one that is there, and check it."""
    return _taken(workspace, workspace.add_sample, on_progress)


def _taken(
    workspace: Workspace, add: Callable[[], StoredDataset], on_progress: OnProgress | None
) -> Values:
    """Add a data set, select and check it; or say why not."""
    try:
        dataset = add()
    except AutosegError as error:
        return {**refused(error), "table": None, "notes": _html(""), **_no_pictures()}
    return {**listed(workspace, dataset.name), **checked(workspace, dataset.name, on_progress)}
