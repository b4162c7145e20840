"""One commit to a repository on the Hub: whole or not at all, and done once even if asked twice."""

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, constants
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from autoseg.errors import HubError
from autoseg.hub.connection import Connection
from autoseg.hub.failures import OnWait, patiently
from autoseg.hub.progress import CountedAddition, Counter, OnProgress, told_by_xet
from autoseg.hub.push_files import PlannedFile
from autoseg.hub.remote import file_digest, find_remote_files


@dataclass(frozen=True)
class Base:
    """Where a commit goes."""

    branch: str = "main"
    """Its branch."""
    head: str | None = None
    """The commit it follows; None: the repository is not there yet."""
    new_branch: bool = False
    """Whether the branch must be made, from `head`."""


@dataclass(frozen=True)
class Change:
    """What a commit changes."""

    repo_id: str
    """As "owner/name"."""
    files: tuple[PlannedFile, ...]
    """New or other contents."""
    deletions: tuple[str, ...]
    """Paths that go."""
    message: str
    """First line of its description."""


def upload(
    change: Change,
    base: Base,
    connection: Connection,
    *,
    on_progress: OnProgress | None = None,
    on_wait: OnWait | None = None,
) -> str:
    """Upload the contents, then make the commit.

    Returns:
        The full name of the commit that holds the change; the head if there is nothing to change.

    Raises:
        HubError: The branch was changed meanwhile.
        Exception: What the Hub's client raises: see `failures.explained`.
    """
    assert base.head is not None
    api = connection.api
    if base.new_branch:
        patiently(
            lambda: api.create_branch(
                change.repo_id, branch=base.branch, revision=base.head, exist_ok=True
            ),
            on_wait=on_wait,
        )
    if not change.files and not change.deletions:
        return base.head
    counter = Counter(on_progress, sum(file.size_bytes for file in change.files))
    with ExitStack() as stack:
        by_xet = patiently(lambda: _xet_offered(change, base, connection), on_wait=on_wait)
        if by_xet:
            stack.enter_context(told_by_xet(counter))
        else:
            stack.enter_context(_quiet_about_lfs())
        commit = _commit(change, base, connection, counter, on_wait, stack, by_xet=by_xet)
    counter.finish()
    return commit


def _commit(
    change: Change,
    base: Base,
    connection: Connection,
    counter: Counter,
    on_wait: OnWait | None,
    stack: ExitStack,
    *,
    by_xet: bool,
) -> str:
    operations = list(_operations(change, counter, stack, by_xet=by_xet))
    try:
        made = patiently(
            lambda: connection.api.create_commit(
                change.repo_id,
                operations,
                commit_message=change.message,
                revision=base.branch,
                parent_commit=base.head,
            ),
            on_wait=on_wait,
        )
    except HfHubHTTPError as error:
        if error.response.status_code != 412:
            raise
    else:
        return made.oid
    # Outside of the handler, so that no error of the client hangs on to ours.
    return _landed(change, base, connection, on_wait)


def _landed(change: Change, base: Base, connection: Connection, on_wait: OnWait | None) -> str:
    """The head of the branch if it holds the change: then only the Hub's answer was lost."""
    api = connection.api
    info = patiently(lambda: api.model_info(change.repo_id, revision=base.branch), on_wait=on_wait)
    head = info.sha or base.branch
    names = [*(file.path for file in change.files), *change.deletions]
    present = {
        file.path: file
        for file in find_remote_files(change.repo_id, head, names, connection, on_wait)
    }
    for file in change.files:
        found = present.get(file.path)
        content = file.source if file.content is None else file.content
        if found is None or file_digest(content, found.digest) != found.digest:
            raise _overtaken(change, base)
    if present.keys() & set(change.deletions):
        raise _overtaken(change, base)
    return head


def _overtaken(change: Change, base: Base) -> HubError:
    return HubError(
        f"Pushing to {change.repo_id} failed: somebody else changed its branch {base.branch} "
        f"meanwhile; look at what is there, then push again."
    )


def _operations(
    change: Change, counter: Counter, stack: ExitStack, *, by_xet: bool
) -> Iterator[CommitOperationAdd | CommitOperationDelete]:
    """The change as the Hub's client wants it."""
    for file in change.files:
        if file.content is not None:
            yield CommitOperationAdd(file.path, file.content)
        elif by_xet or not _xet_here():
            yield CountedAddition(file.path, file.source, counter)
        else:
            # The client sends an open file by LFS, also where it would choose Xet.
            opened = stack.enter_context(counter.opened(file.source))
            opened.counting = False
            addition = CommitOperationAdd(file.path, opened)  # This hashes the file.
            opened.counting = True
            yield addition
    for path in change.deletions:
        yield CommitOperationDelete(path, is_folder=False)


@contextmanager
def _quiet_about_lfs() -> Iterator[None]:
    """Let the client not warn of the open files that it sends by LFS, for so it is meant."""

    def is_news(record: logging.LogRecord) -> bool:
        return "binary IO buffer" not in record.getMessage()

    logger = logging.getLogger("huggingface_hub._commit_api")
    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


def _xet_here() -> bool:
    """Whether the client would use Xet."""
    return importlib.util.find_spec("hf_xet") is not None and not constants.HF_HUB_DISABLE_XET


def _xet_offered(change: Change, base: Base, connection: Connection) -> bool:
    """Whether client and Hub both have Xet.

    Asked before hf_xet asks the same, for that gives no reason when it is refused and repeats a
    fault of the Hub for minutes.
    """
    if not _xet_here() or all(file.content is not None for file in change.files):
        return False
    response = get_session().get(
        f"{connection.endpoint}/api/models/{change.repo_id}/xet-write-token/"
        f"{quote(base.branch, safe='')}",
        headers=build_hf_headers(token=connection.token or False),
    )
    if response.status_code == 404 and "X-Error-Code" not in response.headers:
        return False
    hf_raise_for_status(response)
    return True
