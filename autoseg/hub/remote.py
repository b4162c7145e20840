"""What the Hub says of a repository's files, and whether a file here is the same."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from huggingface_hub.hf_api import RepoFile, RepoFolder

from autoseg.errors import HubError
from autoseg.hub.connection import Connection
from autoseg.hub.waiting import OnWait, patiently

EXAMPLES_FOLDER = "examples"
EXAMPLE_NAME = re.compile(rf"{EXAMPLES_FOLDER}/\w[\w.-]{{0,99}}\.jpg", re.ASCII)
"""Paths of example pictures; the folder may hold other things, which are nobody's business."""

_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

EXAMPLE_LIMIT = 64
"""Example pictures of a model; a folder with more is a data set."""


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository and what it holds."""

    path: str
    """Below the repository's root, with slashes."""
    size_bytes: int
    """Of the content, also where git holds only a pointer to it."""
    digest: str
    """sha256 (64 digits), or git's name for the content of a small file (40 digits)."""


def find_remote_files(
    repo_id: str,
    revision: str,
    names: Sequence[str],
    connection: Connection,
    on_wait: OnWait | None = None,
) -> list[RemoteFile]:
    """Those of the named files that a revision has, and its example pictures.

    The whole tree is never listed, so neither its size nor its odd names matter.

    Raises:
        HubError: The Hub names a file that leads out of the repository's folder.
        Exception: What the Hub's client raises: see `failures.explained`.
    """
    api = connection.api
    asked = [*names, EXAMPLES_FOLDER]
    entries = patiently(
        lambda: api.get_paths_info(repo_id, asked, revision=revision), on_wait=on_wait
    )
    if any(isinstance(entry, RepoFolder) and entry.path == EXAMPLES_FOLDER for entry in entries):
        entries += patiently(lambda: _list_examples(repo_id, revision, connection), on_wait=on_wait)
    files = [remote_file(entry) for entry in entries if isinstance(entry, RepoFile)]
    return [file for file in files if file.path in names or EXAMPLE_NAME.fullmatch(file.path)]


def file_digest(content: Path | bytes, like: str) -> str:
    """Digest of a content: sha256, or git's name for it if `like` has 40 digits."""
    if len(like) == 40:
        data = content if isinstance(content, bytes) else content.read_bytes()
        named = b"blob %d\0" % len(data) + data
        return hashlib.sha1(named, usedforsecurity=False).hexdigest()
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list_examples(
    repo_id: str, revision: str, connection: Connection
) -> list[RepoFile | RepoFolder]:
    """The first entries of the folder of example pictures, however many it has."""
    tree: Iterable[RepoFile | RepoFolder] = connection.api.list_repo_tree(
        repo_id, EXAMPLES_FOLDER, revision=revision
    )
    return list(islice(tree, EXAMPLE_LIMIT))


def remote_file(entry: RepoFile) -> RemoteFile:
    """What the Hub says of a file, if its path can be trusted to stay in the folder."""
    size, digest = (entry.lfs.size, entry.lfs.sha256) if entry.lfs else (entry.size, entry.blob_id)
    if not (isinstance(entry.path, str) and isinstance(size, int) and _is_digest(digest)):
        raise HubError(
            f"What the Hub says of a file of the repository cannot be understood "
            f"({entry.path!r:.100}, {size!r:.20} bytes, {digest!r:.70}); check HF_ENDPOINT."
        )
    parts = set(entry.path.split("/"))
    if "\\" in entry.path or not entry.path.isprintable() or {"", ".", ".."} & parts:
        raise HubError(
            f"The repository has a file whose path leads out of its folder ({entry.path!r:.100}), "
            f"so nothing of it is fetched; do not trust it."
        )
    return RemoteFile(entry.path, size, digest)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))
