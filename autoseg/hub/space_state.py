"""The models and the Space of a deploy, as the Hub has them before it."""

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import RepositoryNotFoundError

from autoseg.errors import HubAccessError, HubError, HubNotFoundError
from autoseg.hub.connection import Connection
from autoseg.hub.failures import explained, patiently
from autoseg.hub.space_files import is_our_app

_FILES_OF_EMPTY = frozenset({".gitattributes", "README.md"})
"""What the Hub itself, or a deploy that broke off, puts into a new Space."""

_MOST_OF_APP_BYTES = 4096
"""Our app.py is a few lines long."""


@dataclass(frozen=True)
class PlannedModel:
    """A model that the Space will show."""

    repo_id: str
    """Name as owner/name."""
    revision: str | None
    """Branch, tag or commit; None: the main branch."""
    private: bool
    """Whether only its owner's accounts see it."""
    gated: bool
    """Whether its files open on request only."""
    licence: str
    """Of its card; "" where it names none."""

    @property
    def reference(self) -> str:
        """As the Space's variable names it."""
        return f"{self.repo_id}@{self.revision}" if self.revision else self.repo_id

    @property
    def closed(self) -> bool:
        """Whether not everybody can load it."""
        return self.private or self.gated


@dataclass(frozen=True)
class SpaceState:
    """A Space as it was found."""

    exists: bool = False
    """Whether there is one; else all the rest is empty."""
    public: bool = False
    """Whether everybody may open it."""
    commit: str | None = None
    """The newest of its main branch."""
    hardware: str = ""
    """As requested last."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Values by name."""
    secret_names: frozenset[str] = frozenset()
    """The Hub never gives their values."""
    blobs: Mapping[str, str] = field(default_factory=dict)
    """git's identifier of each file, by its name; folders are left out."""


def find_model(repo_id: str, revision: str | None, connection: Connection) -> PlannedModel:
    """A model that the user can read and autoseg can load.

    Raises:
        HubAccessError: The token may not read it.
        HubNotFoundError: There is no such model or revision.
        HubError: It is no model of autoseg's, or the Hub gives no answer.
    """
    doing = f"Reading {repo_id}"
    api = connection.api
    with explained(connection, doing, repo_id, revision=revision):
        info = patiently(lambda: api.model_info(repo_id, revision=revision))
        if info.gated:
            patiently(lambda: api.auth_check(repo_id))
    names = {sibling.rfilename for sibling in info.siblings or ()}
    if missing := [name for name in ("config.json", "model.safetensors") if name not in names]:
        raise HubError(
            f"{repo_id} has no {' and no '.join(missing)}, so it is no model that autoseg can "
            f"load. Push one with `autoseg push`."
        )
    licence = getattr(info.card_data, "license", None)
    return PlannedModel(
        repo_id=repo_id,
        revision=revision,
        private=bool(info.private),
        gated=bool(info.gated),
        licence=licence if isinstance(licence, str) else "",
    )


def is_open(repo_id: str, connection: Connection) -> bool:
    """Whether everybody can load a model, asked without a token; no where it is not there.

    Raises:
        HubUnreachableError: The Hub gives no answer.
    """
    anybody = replace(connection, token=None)
    try:
        with explained(anybody, f"Looking whether {repo_id} is open", repo_id):
            info = patiently(lambda: anybody.api.model_info(repo_id))
    except (HubAccessError, HubNotFoundError):
        return False
    return not (info.private or info.gated)


def find_space(space: str, connection: Connection) -> SpaceState:
    """The Space as it is.

    Raises:
        HubError: There is a Space of that name that autoseg did not make, or whose app.py
            somebody has changed since.
    """
    api = connection.api
    with explained(connection, f"Looking for {space}", space, repo_type="space"):
        try:
            info = patiently(lambda: api.space_info(space))
        except RepositoryNotFoundError:
            return SpaceState()
    page = connection.page(space, "space")
    with explained(connection, f"Looking at {space}", space, repo_type="space"):
        listed = patiently(lambda: list(api.list_repo_tree(space, repo_type="space")))
        ours = _is_empty(info) or _has_our_app(space, listed, connection)
    if not ours:
        raise HubError(
            f"{page} is a Space that autoseg did not make, or whose app.py was changed since, so "
            f"it is not replaced. Choose another name, or delete that Space."
        )
    with explained(connection, f"Looking at {space}", space, repo_type="space"):
        patiently(lambda: api.auth_check(space, repo_type="space", write=True))
        runtime = patiently(lambda: api.get_space_runtime(space))
        variables = patiently(lambda: api.get_space_variables(space))
        secrets = patiently(lambda: api.get_space_secrets(space))
    return SpaceState(
        exists=True,
        public=not info.private,
        commit=info.sha,
        hardware=str(runtime.requested_hardware or runtime.hardware or ""),
        variables={name: variable.value for name, variable in variables.items()},
        secret_names=frozenset(secrets),
        blobs={entry.path: entry.blob_id for entry in listed if hasattr(entry, "blob_id")},
    )


def _is_empty(info: Any) -> bool:
    """Whether a Space holds nothing of anybody's."""
    names = {sibling.rfilename for sibling in info.siblings or ()}
    return names <= _FILES_OF_EMPTY and info.sdk == "gradio"


def _has_our_app(space: str, listed: Iterable[Any], connection: Connection) -> bool:
    """Whether a Space's app.py is as autoseg writes it. A tag is no sign: anybody may set one."""
    api = connection.api
    sizes = {entry.path: entry.size for entry in listed if hasattr(entry, "size")}
    if sizes.get("app.py", _MOST_OF_APP_BYTES + 1) > _MOST_OF_APP_BYTES:
        return False
    with tempfile.TemporaryDirectory(prefix="autoseg-") as folder:
        file = patiently(
            lambda: api.hf_hub_download(space, "app.py", repo_type="space", local_dir=folder)
        )
        return is_our_app(Path(file).read_text(encoding="utf-8", errors="replace"))


def git_blob(text: str) -> str:
    """git's identifier of a file with that text."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
