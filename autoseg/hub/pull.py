"""A model from the Hub as a folder: only the files a model needs, each checked against the Hub.

The files lie in the Hub's own cache, so whatever else on this machine uses the Hub shares them,
and a model that was pulled once can be had without a network.
"""

import re
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import get_session

from autoseg.bundle import CARD_FILE, CONFIG_FILE, REPORT_FILE, WEIGHTS_FILE
from autoseg.errors import HubError, HubNotFoundError, HubUnreachableError
from autoseg.hub.connection import Connection, check_repo_id, is_revision
from autoseg.hub.failures import OnWait, explained, patiently
from autoseg.hub.fetching import (
    ANSWER_TIMEOUT_S,
    COMMIT,
    Repo,
    check_room,
    fetch_files,
    remember,
    resolve,
    tell_of_copy,
)
from autoseg.hub.progress import OnProgress
from autoseg.hub.remote import RemoteFile, file_digest, find_remote_files

_MEGABYTE = 1_000_000
_SIZE_LIMITS = {
    CONFIG_FILE: _MEGABYTE,
    WEIGHTS_FILE: 20_000 * _MEGABYTE,
    REPORT_FILE: 50 * _MEGABYTE,
    CARD_FILE: 5 * _MEGABYTE,
    "albumentations_config_eval.json": _MEGABYTE,
}
"""All that is ever fetched beside example pictures, and how many bytes each may have."""

_EXAMPLE_LIMIT_BYTES = 20 * _MEGABYTE
_OTHER_WEIGHTS = {
    f"{WEIGHTS_FILE}.index.json": "its weights are split over several files",
    "pytorch_model.bin": "its weights are a pickle, which can run any code as it is read",
    "model.pth": "its weights are a pickle, which can run any code as it is read",
}
"""Looked for, never fetched: why a repository without our weights cannot be used."""

_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")


@dataclass(frozen=True)
class Pulled:
    """A model that was fetched."""

    folder: Path
    """Its folder in the Hub's cache."""
    repo_id: str
    """Where it came from."""
    commit: str
    """The full name of the revision."""
    from_cache: bool
    """Whether the Hub was not reached, so that this may not be the newest."""


@dataclass(frozen=True)
class ModelEntry:
    """A model on the Hub that autoseg made."""

    repo_id: str
    """As "owner/name"."""
    private: bool
    """Whether only its owner sees it."""
    downloads: int
    """In the last 30 days."""
    updated_at: str
    """Time of the last change as ISO 8601 in UTC; "" if the Hub does not say."""
    tags: tuple[str, ...]
    """What its card is tagged with."""


def pull_model(
    repo_id: str,
    connection: Connection,
    *,
    revision: str | None = None,
    use_cache: bool = True,
    on_progress: OnProgress | None = None,
    on_wait: OnWait | None = None,
) -> Pulled:
    """Fetch a model, or find it in the cache if the Hub gives no answer.

    Args:
        repo_id: "owner/name".
        connection: The Hub.
        revision: Branch, tag or commit, which may be shortened to 7 digits; None: the main branch.
        use_cache: Whether a copy in the cache will do where the Hub gives no answer. False for
            users who are not those of this machine: the Hub must say that they may read it.
        on_progress: Told the bytes that are there and all of them; None: the Hub's own bars show.
        on_wait: Told the seconds of each wait that the Hub asks for.

    Raises:
        HubAccessError: The repository is not open to this token.
        HubNotFoundError: There is no such repository or revision, or it holds no model.
        HubUnreachableError: The Hub gives no answer, and the model is not in the cache.
        HubError: A file is too large, arrived damaged twice, or does not fit on the disk.
    """
    check_repo_id(repo_id)
    revision = revision or "main"
    if not is_revision(revision):
        raise HubError(f"{revision!r} is no name of a branch, tag or commit.")
    repo = Repo(repo_id, "model")
    cached = _cached_commit(repo, revision, connection) if use_cache else None
    doing = f"Pulling {repo_id}"
    try:
        with explained(connection, doing, repo_id, revision=revision):
            commit = resolve(repo, revision, connection, on_wait, patient=cached is None)
            names = [*_SIZE_LIMITS, *_OTHER_WEIGHTS]
            files = find_remote_files(repo_id, commit, names, connection, on_wait)
            _check_files(repo_id, files, connection)
            folder = fetch_files(repo, commit, _wanted(files), connection, on_progress, on_wait)
            remember(repo, revision, commit, connection)
            return Pulled(folder, repo_id, commit, from_cache=False)
    except HubUnreachableError as error:
        if cached is None:
            raise
        tell_of_copy(repo, error)
    return Pulled(_check_cached(repo_id, cached, connection), repo_id, cached, from_cache=True)


def list_models(
    connection: Connection,
    *,
    author: str | None = None,
    query: str = "",
    limit: int = 50,
    on_wait: OnWait | None = None,
) -> tuple[ModelEntry, ...]:
    """Models on the Hub that carry the tag "autoseg", the last changed first.

    Args:
        connection: The Hub; private models are found if the token may see them.
        author: Whose models; None: anybody's.
        query: Part of the name; "": any.
        limit: The most that are listed.
        on_wait: Told the seconds of each wait that the Hub asks for.

    Raises:
        HubError: The Hub refuses or gives no answer.
    """
    with explained(connection, "Listing models on the Hub"):
        patiently(lambda: _reach(connection), on_wait=on_wait)
        found = patiently(
            lambda: list(
                connection.api.list_models(
                    author=author,
                    search=query or None,
                    filter="autoseg",
                    sort="last_modified",
                    limit=limit,
                    full=True,
                )
            ),
            on_wait=on_wait,
        )
    # A stand-in of the Hub may not filter.
    return tuple(_entry(model) for model in found if "autoseg" in (model.tags or ()))


def _reach(connection: Connection) -> None:
    """Fail at once where there is no Hub: the client's lists try for half a minute."""
    get_session().head(f"{connection.endpoint}/api/models", timeout=ANSWER_TIMEOUT_S)


def _entry(model: ModelInfo) -> ModelEntry:
    changed = model.last_modified
    return ModelEntry(
        repo_id=model.id,
        private=bool(model.private),
        downloads=model.downloads or 0,
        updated_at=changed.astimezone(UTC).isoformat(timespec="seconds") if changed else "",
        tags=tuple(model.tags or ()),
    )


def _check_files(repo_id: str, files: list[RemoteFile], connection: Connection) -> None:
    """Refuse a repository without a model, or with files no model has."""
    found = {file.path for file in files}
    if WEIGHTS_FILE not in found:
        why = next((why for name, why in _OTHER_WEIGHTS.items() if name in found), "")
        raise HubNotFoundError(
            f"{repo_id} has no {WEIGHTS_FILE}, the only file of weights that autoseg reads"
            + (f": {why}. Ask its author to save it with `save_pretrained`." if why else ".")
            + f" See {connection.page(repo_id)}."
        )
    if CONFIG_FILE not in found:
        raise HubNotFoundError(
            f"{repo_id} has no {CONFIG_FILE}, so nobody can tell what its weights are for. "
            f"See {connection.page(repo_id)}."
        )
    wanted = _wanted(files)
    for file in wanted:
        limit = _SIZE_LIMITS.get(file.path, _EXAMPLE_LIMIT_BYTES)
        if file.size_bytes > limit:
            raise HubError(
                f"{file.path} of {repo_id} has {file.size_bytes / _MEGABYTE:.0f} MB, but such a "
                f"file has at most {limit / _MEGABYTE:.0f} MB; nothing was fetched."
            )
    check_room(Repo(repo_id, "model"), wanted, connection)


def _wanted(files: list[RemoteFile]) -> list[RemoteFile]:
    """What is fetched."""
    return [file for file in files if file.path not in _OTHER_WEIGHTS]


def _cached_commit(repo: Repo, revision: str, connection: Connection) -> str | None:
    """The commit in the cache that a revision stood for when the Hub was last reached."""
    storage = repo.storage(connection)
    ref = storage / "refs" / revision
    commits = [revision]
    if ref.is_file():
        commits = [ref.read_text(encoding="utf-8").strip()]
    elif _SHORT_COMMIT.fullmatch(revision):
        commits = [folder.name for folder in storage.glob(f"snapshots/{revision}*")]
    if len(commits) != 1 or not COMMIT.fullmatch(commits[0]):
        return None
    snapshot = storage / "snapshots" / commits[0]
    whole = all((snapshot / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE))
    return commits[0] if whole else None


def _check_cached(repo_id: str, commit: str, connection: Connection) -> Path:
    """The folder of a cached commit after checking its files by the names of their contents."""
    folder = Repo(repo_id, "model").snapshot(commit, connection)
    for name in _SIZE_LIMITS:
        file = folder / name
        if not file.is_symlink():  # Systems without links keep no digest.
            continue
        digest = file.readlink().name
        if file_digest(file, digest) != digest:
            raise HubError(
                f"{name} of {repo_id} is damaged in the cache, and the Hub cannot be reached to "
                f"fetch it again; try again with a network."
            )
    return folder
