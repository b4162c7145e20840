"""The models that the Predict tab can use: of runs, pulled from the Hub, in folders, on the Hub."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from autoseg.continuing import began_with
from autoseg.corrected_data import read_manifest
from autoseg.errors import BundleError, HubError, RunError
from autoseg.hub.connection import RepoRef, connect, parse_repo
from autoseg.hub.pull import pull_model
from autoseg.prediction import Prediction
from autoseg.predictor import ImageLike, Predictor, find_bundle
from autoseg.pulled_models import PulledModel
from autoseg.search.run_folder import RunFolder
from autoseg.ui.access import Access
from autoseg.ui.search_scores import headline_of
from autoseg.ui.texts import tr
from autoseg.workspace import Workspace

_LOADING, _TURN = threading.Lock(), threading.Lock()

Choices = list[tuple[str, str]]
"""What a choice is called on the page, and its value."""


@dataclass(frozen=True)
class ChosenModel:
    """A model that somebody named on the page."""

    name: str
    """As the user calls it."""
    folder: Path
    """Its bundle."""
    run: RunFolder | None = None
    """The run that trained it, where it is one of the workspace."""

    @property
    def key(self) -> tuple[str, int]:
        """Changes when the model's files do."""
        return str(self.folder), max(file.stat().st_mtime_ns for file in self.folder.iterdir())


def model_choices(workspace: Workspace) -> Choices:
    """Finished runs, the newest first, with their scores; then models pulled from the Hub.

    The value of a run is its name, that of a pulled model "owner/name".
    """
    choices = []
    for run in _finished(workspace):
        try:
            score = headline_of(run)
        except RunError:
            continue
        choices.append((f"{run.name} · {score.text}" if score else run.name, run.name))
    return choices + [
        (tr("{model} · from the Hub", model=model.repo_id), model.repo_id)
        for model in workspace.pulled.all()
    ]


def is_of_a_run(name: str) -> bool:
    """Whether a name can be that of a run; others name a folder, or a repository on the Hub."""
    return "/" not in name and "\\" not in name and not name.startswith(("~", "."))


def find_model(workspace: Workspace, access: Access, text: str | None) -> ChosenModel:
    """The model that a text names: a run, a pulled model, a folder, or a repository on the Hub.

    A model of the Hub that is not here yet is fetched, and is among the pulled ones afterwards.

    Raises:
        AutosegError: There is none, it is damaged, or this page may not use it.
    """
    text = (text or "").strip()
    if not text:
        raise BundleError("No model is chosen.")
    if is_of_a_run(text):
        run = workspace.named_run(text)
        return ChosenModel(run.name, find_bundle(run.path), run)
    if text.startswith(("/", "~")) or Path(text).is_absolute():
        if not access.paths:
            raise BundleError("Folders of this computer may not be named on this page.")
        return ChosenModel(text, find_bundle(access.path(text)))
    repo = parse_repo(text)
    if repo is None:
        raise HubError(
            f"{text!r} is no model. Choose a run, or write owner/name for a model on the Hub"
            + (", or the full path of a folder." if access.paths else ".")
        )
    return _on_hub(workspace, access, repo)


def _on_hub(workspace: Workspace, access: Access, repo: RepoRef) -> ChosenModel:
    for model in workspace.pulled.all():
        if model.repo_id == repo.repo_id and model.commit.startswith(repo.revision or ""):
            return ChosenModel(model.repo_id, find_bundle(model.folder))
    if not access.sharing:
        raise HubError(
            f"{repo.repo_id} is not on this computer, and this page may not fetch from the Hub."
        )
    # What only this computer's login may see is for its owner, not for all who open the page.
    pulled = pull_model(
        repo.repo_id,
        connect(saved_login=access.local),
        revision=repo.revision,
        use_cache=access.local,
    )
    folder = find_bundle(pulled.folder)
    workspace.pulled.add(PulledModel(pulled.repo_id, pulled.commit, str(pulled.folder)))
    return ChosenModel(pulled.repo_id, folder)


def load(model: ChosenModel) -> Predictor:
    """The network, kept in memory until its files change or others push it out.

    Raises:
        AutosegError: It is damaged.
    """
    try:
        with _LOADING:  # The cache lets two load the same one.
            return _load(*model.key)
    except FileNotFoundError as error:
        raise BundleError(f"{model.name} is no longer there.") from error


def segment(
    predictor: Predictor, image: ImageLike, *, flip: bool = False, tile_px: int | None = None
) -> Prediction:
    """What a network makes of an image; the page and its API take turns."""
    with _TURN:
        return predictor.predict(image, flip=flip, tile_px=tile_px)


@lru_cache(maxsize=2)  # One to predict and one to compare with.
def _load(folder: str, modified_ns: int) -> Predictor:
    del modified_ns  # Only part of the key.
    return Predictor.from_pretrained(folder)


def former_model(workspace: Workspace, name: str | None) -> str | None:
    """Name of the run or pulled model that a run was trained on from; None: of none here."""
    try:
        run = workspace.named_run(name or "")
        info = run.info()
        if info is None or info.config.start_from is None:
            return None
        models = [(other.name, other.model) for other in _finished(workspace) if other != run]
        models += [(model.repo_id, Path(model.folder)) for model in workspace.pulled.all()]
        return next((known for known, folder in models if began_with(run, folder)), None)
    except RunError:
        return None


def dataset_of(workspace: Workspace, run: RunFolder | None) -> str:
    """Name of the data set that corrections of a run's masks go to; "" where there is none here.

    A run that was trained on with corrections has a data set made from that one.
    """
    source = workspace.source_of(run) if run else None
    if run is None or source is None:
        return ""
    made_of = read_manifest(source)
    if made_of is not None:
        names = {dataset.name for dataset in workspace.datasets()}
        return made_of.base if made_of.base in names else ""
    known = workspace.known_dataset_of(run)
    return known.name if known else ""


def original_of(workspace: Workspace, run: RunFolder, sample_name: str) -> str:
    """Name that a run's sample has in the data set for corrections; "": it is not in there."""
    source = workspace.source_of(run)
    made_of = read_manifest(source) if source else None
    if made_of is None:
        return sample_name
    origin = made_of.samples.get(sample_name)
    return (origin.original if origin else None) or ""


def _finished(workspace: Workspace) -> Iterator[RunFolder]:
    """Runs with a model, the newest first."""
    for run in workspace.runs():
        try:
            find_bundle(run.model)
        except BundleError:
            continue
        yield run
