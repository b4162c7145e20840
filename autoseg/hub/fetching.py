"""Files of a repository into the Hub's own cache, each checked against what the Hub says it is."""

import logging
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from dataclasses import dataclass
from pathlib import Path

import huggingface_hub

from autoseg.errors import HubError, HubUnreachableError
from autoseg.files import write_text
from autoseg.hub.connection import Connection
from autoseg.hub.failures import OnWait, patiently
from autoseg.hub.progress import OnProgress, download_bars
from autoseg.hub.remote import RemoteFile, file_digest

COMMIT = re.compile(r"[0-9a-f]{40}")
"""Full names of commits."""

ANSWER_TIMEOUT_S = 10.0
"""How long the Hub may take to say what a name stands for."""

_MEGABYTE = 1_000_000
_THREADS = 8

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repo:
    """A repository of some kind."""

    repo_id: str
    """As "owner/name"."""
    repo_type: str
    """"model", "dataset" or "space"."""

    def storage(self, connection: Connection) -> Path:
        """Its folder in the Hub's cache."""
        return connection.cache_dir / f"{self.repo_type}s--{self.repo_id.replace('/', '--')}"

    def snapshot(self, commit: str, connection: Connection) -> Path:
        """The folder of one commit in the Hub's cache."""
        return self.storage(connection) / "snapshots" / commit


def resolve(
    repo: Repo,
    revision: str | None,
    connection: Connection,
    on_wait: OnWait | None = None,
    *,
    patient: bool = True,
) -> str:
    """The commit that a revision stands for now, if its files are open to the token.

    Of a gated repository the Hub describes to everybody what it gives only to some, so it is
    asked for the files too: they may lie in the cache already, fetched by somebody else.

    Args:
        repo: The repository.
        revision: Branch, tag or commit; None: the main branch.
        connection: The Hub.
        on_wait: Told the seconds of each wait that the Hub asks for.
        patient: Whether to ask again. Whoever has a copy should not wait for a Hub that is away.

    Raises:
        HubError: The Hub names no commit.
        Exception: What the client raised, as it is: see `failures.explained`.
    """

    def ask() -> object:
        info = connection.api.repo_info(
            repo.repo_id, repo_type=repo.repo_type, revision=revision, timeout=ANSWER_TIMEOUT_S
        )
        if getattr(info, "gated", False):
            connection.api.auth_check(repo.repo_id, repo_type=repo.repo_type)
        return info.sha

    commit = patiently(ask, on_wait=on_wait) if patient else ask()
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
        raise HubError(f"The Hub names no commit for {repo.repo_id} at {revision or 'main'!r}.")
    return commit


def tell_of_copy(repo: Repo, error: HubUnreachableError) -> None:
    """Log that the copy in the cache is used for want of an answer; offline that is no news."""
    if huggingface_hub.is_offline_mode():
        _logger.info("Offline: %s is taken from the cache.", repo.repo_id)
    else:
        _logger.warning("%s The copy of %s in the cache is used.", error, repo.repo_id)


def check_room(
    repo: Repo, wanted: Sequence[RemoteFile], connection: Connection, more_bytes: int = 0
) -> None:
    """Refuse what does not fit on the disk, before it is full.

    Args:
        repo: The repository.
        wanted: What will be fetched; files in the cache are not counted.
        connection: The Hub and its cache.
        more_bytes: What else will be written to the same disk.

    Raises:
        HubError: It does not fit.
    """
    blobs = repo.storage(connection) / "blobs"
    needed = more_bytes + sum(
        file.size_bytes for file in wanted if not (blobs / file.digest).exists()
    )
    place = connection.cache_dir
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise HubError(
            f"{repo.repo_id} takes {needed / _MEGABYTE:,.0f} MB, but the disk of "
            f"{connection.cache_dir} has {free / _MEGABYTE:,.0f} MB left; free some space, or set "
            f"HF_HOME to a larger disk."
        )


def fetch_files(
    repo: Repo,
    commit: str,
    wanted: Sequence[RemoteFile],
    connection: Connection,
    on_progress: OnProgress | None = None,
    on_wait: OnWait | None = None,
) -> Path:
    """Fetch and check every file; those that are there already are only checked.

    Returns:
        The folder of the commit in the Hub's cache.

    Raises:
        HubError: A file arrived damaged twice.
        Exception: What the client raised, as it is: see `failures.explained`.
    """
    wanted = sorted(wanted, key=lambda file: -file.size_bytes)  # They go in parallel.
    total = sum(file.size_bytes for file in wanted)
    bars = download_bars(on_progress, total)

    def download(path: str, force: bool) -> Path:
        return Path(
            huggingface_hub.hf_hub_download(
                repo.repo_id,
                path,
                repo_type=repo.repo_type,
                revision=commit,
                cache_dir=connection.cache_dir,
                endpoint=connection.endpoint,
                token=connection.token or False,
                force_download=force,
                tqdm_class=bars,
                library_name="autoseg",
            )
        )

    def fetch(context: Context, file: RemoteFile) -> Path:
        return context.run(_fetch_one, repo.repo_id, file, download)

    def fetch_all() -> None:
        contexts = [copy_context() for _ in wanted]  # By which `patiently` knows its threads.
        with ThreadPoolExecutor(_THREADS) as pool:
            for _ in pool.map(fetch, contexts, wanted):
                pass

    patiently(fetch_all, on_wait=on_wait)
    if on_progress is not None:  # What was in the cache told no bar.
        on_progress(total, total)
    return repo.snapshot(commit, connection)


def remember(repo: Repo, revision: str, commit: str, connection: Connection) -> None:
    """Note what a name stood for, last of all: a half-fetched revision is never found offline."""
    if revision == commit:
        return
    ref = repo.storage(connection) / "refs" / revision
    try:
        if not ref.is_file() or ref.read_text(encoding="utf-8") != commit:
            write_text(ref, commit)
    except OSError as error:
        _logger.warning("%s will not be found offline as %r: %s", repo.repo_id, revision, error)


def _fetch_one(repo_id: str, file: RemoteFile, download: Callable[[str, bool], Path]) -> Path:
    """Fetch a file that is what the repository says; a damaged one is fetched once more."""
    for force in (False, True):
        place = download(file.path, force)
        if file_digest(place, file.digest) == file.digest:
            return place
        _logger.info("%s of %s is damaged.", file.path, repo_id)
    place.resolve().unlink(missing_ok=True)  # Nobody else should find it in the cache.
    place.unlink(missing_ok=True)
    raise HubError(
        f"{file.path} of {repo_id} arrived damaged twice: its content is not what the Hub says it "
        f"is. Try another network, and tell the owner if that does not help."
    )
