"""What a public repository must not show: private data sets by name, pictures in old commits."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from autoseg.bundle import CARD_FILE, REPORT_FILE
from autoseg.errors import HubError
from autoseg.hub.connection import Connection
from autoseg.hub.failures import OnWait, explained, patiently
from autoseg.hub.fetching import Repo, fetch_files
from autoseg.hub.push_files import source_of
from autoseg.hub.remote import RemoteFile, find_remote_files
from autoseg.hub.waiting import status_of

_TEXTS = (CARD_FILE, REPORT_FILE)


@dataclass(frozen=True)
class _Version:
    """A content that some file had at some time."""

    commit: str
    """One of those that hold it."""
    file: RemoteFile


def is_hidden(source: str, connection: Connection, on_wait: OnWait | None) -> bool:
    """Whether a data set of the Hub is one that not everybody may see.

    Raises:
        HubError: The Hub gives no answer.
    """
    anybody = replace(connection, token=None).api
    with explained(connection, f"Looking at {source}", source, repo_type="dataset"):
        try:
            patiently(lambda: anybody.dataset_info(source), on_wait=on_wait)
        except (RepositoryNotFoundError, HFValidationError):
            return True
        except HfHubHTTPError as error:
            if status_of(error) not in (401, 403, 404):
                raise
            return True
    return False


def check_secret(repo_id: str, secret: str, texts: dict[str, str]) -> None:
    """Refuse texts that name a data set which nobody is to hear of.

    Args:
        repo_id: The repository; one of the same name gives nothing away.
        secret: The data set, as "owner/name".
        texts: What everybody will read, by file.

    Raises:
        HubError: One names it.
    """
    for path, text in texts.items():
        if _names(text, secret, repo_id):
            raise HubError(
                f"Pushing to {repo_id} failed: {path} names the data set {secret}, which not "
                f"everybody may see; take the name out of it, or keep the repository private."
            )


def check_history(
    repo_id: str,
    connection: Connection,
    on_wait: OnWait | None,
    *,
    secret: str | None,
    with_examples: bool,
) -> None:
    """Refuse to open a repository to everybody whose history shows what they are not to see.

    The history is that of all branches, tags and pull requests, which open with the repository.

    Args:
        repo_id: The repository.
        connection: The Hub.
        on_wait: Told the seconds of each wait that the Hub asks for.
        secret: A data set that nobody is to hear of, as "owner/name", beside those of the reports
            in the history.
        with_examples: Whether everybody may see example pictures.

    Raises:
        HubError: It does.
    """
    doing = f"Making {repo_id} public"
    with explained(connection, doing, repo_id):
        versions = _versions(repo_id, connection, on_wait)
    if not with_examples and any(version.file.path not in _TEXTS for version in versions):
        raise HubError(
            f"{doing} failed: its history holds example pictures of your data, which everybody "
            f"could then see; push to a new repository, or allow it with --examples."
        )
    with explained(connection, doing, repo_id):
        texts = list(_texts(repo_id, versions, connection, on_wait))
    sources = {source for path, text in texts if path == REPORT_FILE and (source := _source(text))}
    secrets = {source for source in sources if is_hidden(source, connection, on_wait)}
    for hidden in sorted(secrets | ({secret} if secret else set())):
        if any(_names(text, hidden, repo_id) for _, text in texts):
            raise HubError(
                f"{doing} failed: its history names the data set {hidden}, which not everybody may "
                f"see; push to a new repository."
            )


def _versions(repo_id: str, connection: Connection, on_wait: OnWait | None) -> list[_Version]:
    """All that cards, reports and example pictures ever were."""
    api = connection.api
    refs = patiently(
        lambda: api.list_repo_refs(repo_id, include_pull_requests=True), on_wait=on_wait
    )
    # By commit, for a tag may be called as a branch is; a pull request's is known by its own name.
    starts = {ref.target_commit for ref in (*refs.branches, *refs.tags)}
    starts |= {ref.ref for ref in refs.pull_requests or ()}
    commits: set[str] = set()
    for start in sorted(starts):

        def ask(revision: str = start) -> list[Any]:
            return api.list_repo_commits(repo_id, revision=revision)

        if start not in commits:
            commits |= {commit.commit_id for commit in patiently(ask, on_wait=on_wait)}
    versions = {}
    for commit in sorted(commits):
        for file in find_remote_files(repo_id, commit, _TEXTS, connection, on_wait):
            versions[file.path, file.digest] = _Version(commit, file)
    return list(versions.values())


def _texts(
    repo_id: str, versions: list[_Version], connection: Connection, on_wait: OnWait | None
) -> Iterator[tuple[str, str]]:
    """Path and content of cards and reports."""
    for version in versions:
        path = version.file.path
        if path in _TEXTS:
            repo = Repo(repo_id, "model")
            folder = fetch_files(
                repo, version.commit, [version.file], connection, lambda done, total: None, on_wait
            )
            yield path, (folder / path).read_text(encoding="utf-8", errors="replace")


def _source(report: str) -> str | None:
    try:
        return source_of(json.loads(report))
    except (ValueError, RecursionError):
        return None


def _names(text: str, secret: str, repo_id: str) -> bool:
    """Whether a text names a data set, and not the repository of the same name."""
    if secret.casefold() == repo_id.casefold():
        return False
    name = rf"(?<![\w.-]){re.escape(secret)}(?![\w-])"
    return re.search(name, text, re.IGNORECASE) is not None
