"""What a search would do with its time, shown before it starts."""

from html import escape

from autoseg import estimate
from autoseg.dataset_facts import Facts
from autoseg.errors import AutosegError, DatasetError
from autoseg.estimate import Estimate
from autoseg.machine_load import Load, current_load
from autoseg.ui import run_view, views
from autoseg.ui.search_form import Form
from autoseg.ui.search_views import clock_in
from autoseg.ui.texts import tr
from autoseg.workspace import Workspace


def reason(workspace: Workspace, form: Form) -> str:
    """Another text whenever the estimate may be another one."""
    folder = workspace.check_folder(form.dataset) if form.dataset else None
    file = folder / "facts.npz" if folder else None
    known = file.stat().st_mtime_ns if file and file.is_file() else None
    return repr((form, known, run_view.live_runs(workspace), current_load().is_busy))


def expected(workspace: Workspace, form: Form) -> str:
    """The estimate for a form, or why there is none; nothing while an option does not hold."""
    problems = form.problems()
    if "budget" in problems:
        return views.error(problems["budget"])
    if problems.keys() == {"dataset"}:
        return views.note(tr("Choose a data set: what to expect of a search stands here then."))
    if problems:
        return ""
    try:
        facts = Facts.load(workspace.check_folder(form.chosen_dataset()) / "facts.npz")
    except DatasetError:
        return views.note(tr("Check this data set in the Data tab to see what to expect."))
    try:
        return card(estimate.estimate_search(facts, form.config(workspace), workspace.folder))
    except AutosegError as error:
        return views.error(error)


def card(found: Estimate) -> str:
    """An estimate in plain words."""
    height, width = found.working_size
    facts = {
        tr("Trials"): _trials(found.trials_low, found.trials_high),
        tr("Image size in pixels"): f"{width} × {height}",
        tr("Memory"): tr("about {memory} GB", memory=f"{found.memory_bytes / 1e9:.1f}"),
        tr("Done at about"): clock_in(found.ends_after_s),
    }
    cells = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in facts.items())
    texts = [*map(_note, found.notes), *([busy_text(found.load)] if found.load else [])]
    notes = "".join(f"<li>{escape(text)}</li>" for text in texts)
    below = f'<ul class="as-hints">{notes}</ul>' if notes else ""
    return (
        f'<section class="as-card as-flat" role="status"><b>{tr("What to expect")}</b>'
        f'<dl class="as-facts">{cells}</dl>{below}</section>'
    )


def busy_text(load: Load) -> str:
    """What other work on this machine does to an estimate."""
    return tr(
        "This computer is busy with other work (load {load} on {cores} cores): everything may take "
        "longer than told here, and a small budget may not be enough.",
        load=f"{load.waiting:.1f}", cores=load.cores,
    )  # fmt: skip


def _trials(low: int, high: int) -> str:
    return str(low) if low == high else tr("{low} to {high}", low=low, high=high)


def _note(text: str) -> str:
    """A sentence of the estimate in the reader's language."""
    return {
        estimate.ONE_RECIPE: tr(
            "There is only time for one recipe. With more time several are compared."
        ),
        estimate.FROZEN_ONLY: tr(
            "There is only time to train a decoder on the pretrained encoder as it is."
        ),
        estimate.FEW_IMAGES: tr(
            "There are few images to learn from, so DINOv2, which learnt without labels, is tried "
            "too: only a decoder is trained on it."
        ),
        estimate.GOES_ON: tr("The chosen model is trained on. No recipes are compared."),
        estimate.WAITS: tr("Another search has the device. This one begins after it."),
        estimate.FETCHES: tr("Weights that are not on this computer yet are fetched first."),
        estimate.NO_ROOM: tr("This may need more memory than is free now."),
    }.get(text, text)
