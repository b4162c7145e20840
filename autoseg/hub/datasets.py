"""Data sets of the Hub as local folders: only the files that segmentation needs, each checked.

Files lie in the Hub's own cache. Zips and parquet files are unpacked below `AUTOSEG_HOME/hub`, in
folders named by commit, so that the same revision is always found at the same path.
"""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from filelock import FileLock
from huggingface_hub.hf_api import RepoFile

from autoseg.config import FORMAT_VERSION, from_dict, read_json, to_dict
from autoseg.data.archives import MAX_TOTAL_BYTES, extract_zips, is_junk, only_folder
from autoseg.data.class_files import CLASS_FILES
from autoseg.data.images import IMAGE_SUFFIXES
from autoseg.data.parquet import PARQUET_SUFFIX, unpack_parquet
from autoseg.errors import (
    ConfigError,
    DatasetError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
)
from autoseg.files import autoseg_home, write_json
from autoseg.hub.connection import Connection, is_revision
from autoseg.hub.failures import OnWait, explained, patiently
from autoseg.hub.fetching import (
    COMMIT,
    Repo,
    check_room,
    fetch_files,
    remember,
    resolve,
    tell_of_copy,
)
from autoseg.hub.origins import (
    CARD_FILE,
    DatasetName,
    DatasetOrigin,
    class_names_of,
    is_hub_dataset,
    origin_of,
    parse_dataset,
    read_card,
)
from autoseg.hub.progress import OnProgress
from autoseg.hub.remote import RemoteFile, remote_file

__all__ = ["DatasetOrigin", "fetch_dataset", "is_hub_dataset", "origin_of"]

MAX_FILES = 200_000
"""Most files of a repository that are listed."""

Kind = Literal["images", "zip", "parquet"]

_TEXT_SUFFIXES = frozenset((".txt", ".csv", ".json", ".yaml", ".yml"))
_MAX_TEXT_BYTES = 100_000_000
_GIGABYTE = 1e9


@dataclass(frozen=True)
class Fetched:
    """What is whole on this machine of a data set, at one commit."""

    kind: Kind
    """How the data is packed."""
    files: tuple[tuple[str, int], ...]
    """Paths in the repository, and bytes."""
    format_version: int = FORMAT_VERSION


def fetch_dataset(
    text: str,
    connection: Connection,
    on_progress: OnProgress | None = None,
    *,
    revision: str | None = None,
    use_cache: bool = True,
    on_wait: OnWait | None = None,
) -> Path:
    """Fetch a data set, or find it in the cache if the Hub gives no answer.

    The same commit has the same path, whenever it is asked for; `origin_of` knows it again.

    Args:
        text: "hf://owner/name" with "@revision", "/folder" or "?image=COLUMN&mask=COLUMN" behind
            it, or the address of its page.
        connection: The Hub.
        on_progress: Told the bytes done and all bytes; those of parquet files count twice, for
            fetching and unpacking. None: the Hub's own bars show.
        revision: Branch, tag or commit; None: as the text says, else the main branch.
        use_cache: Whether a copy in the cache will do where the Hub gives no answer. False for
            users who are not those of this machine: the Hub must say that they may read it.
        on_wait: Told the seconds of each wait that the Hub asks for.

    Returns:
        A folder of images and masks.

    Raises:
        ConfigError: The text names no data set.
        HubAccessError: The repository is not open to this token.
        HubNotFoundError: There is no such repository, revision or folder.
        HubUnreachableError: The Hub gives no answer, and the data set is not in the cache.
        HubError: It is too large, or a file arrived damaged twice.
        DatasetError: It holds nothing that can be read, or cannot be unpacked.
    """
    name = parse_dataset(text, connection.endpoint)
    if revision is not None:
        name = replace(name, revision=revision)
    if name.revision is not None and not is_revision(name.revision):
        raise ConfigError(f"{name.revision!r} is no name of a branch, tag or commit.")
    copy = _Copy(name, connection)
    cached = copy.known_commit() if use_cache else None
    if cached is not None and cached == name.revision:
        return copy.folder(cached, on_progress)  # A commit never changes: nothing to ask.
    doing = f"Fetching the data set {name.repo_id}"
    try:
        with explained(
            connection, doing, name.repo_id, revision=name.revision, repo_type="dataset"
        ):
            commit = resolve(copy.repo, name.revision, connection, on_wait, patient=cached is None)
            if copy.fetched(commit) is None:
                copy.fetch(commit, on_progress, on_wait)
            remember(copy.repo, copy.revision, commit, connection)
    except HubUnreachableError as error:
        if cached is None:
            raise
        commit = cached
        tell_of_copy(copy.repo, error)
    return copy.folder(commit, on_progress)


class _Copy:
    """A data set's copy on this machine: files in the Hub's cache, the rest below our home."""

    def __init__(self, name: DatasetName, connection: Connection) -> None:
        self.name = name
        self.revision = name.revision or "main"
        self.repo = Repo(name.repo_id, "dataset")
        self._connection = connection
        self._home = autoseg_home() / "hub" / self.repo.storage(connection).name / "snapshots"
        self._key = f"part-{_short(name.folder)}" if name.folder else "all"

    def known_commit(self) -> str | None:
        """The commit that is whole here, of what the revision stood for when last asked."""
        ref = self.repo.storage(self._connection) / "refs" / self.revision
        try:
            commit = ref.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            commit = self.revision
        whole = COMMIT.fullmatch(commit) and self.fetched(commit) is not None
        return commit if whole else None

    def fetched(self, commit: str) -> Fetched | None:
        """What is here of a commit; None unless all of it is."""
        try:
            found = from_dict(Fetched, read_json(self._record(commit)), self._key)
        except ConfigError:
            return None
        snapshot = self.repo.snapshot(commit, self._connection)
        try:
            whole = all(os.stat(snapshot / path).st_size == size for path, size in found.files)
        except OSError:
            return None
        return found if whole else None

    def fetch(self, commit: str, on_progress: OnProgress | None, on_wait: OnWait | None) -> None:
        """Fetch what segmentation needs of a commit, and note it once it is whole."""
        files = _list_files(self.name, commit, self._connection, on_wait)
        kind, wanted = _choose(files, self.name)
        _refuse_too_much(wanted, self.name)
        unpacked = sum(file.size_bytes for file in wanted if _suffix(file.path) == PARQUET_SUFFIX)
        check_room(self.repo, wanted, self._connection, more_bytes=unpacked)
        told = on_progress and (lambda done, total: on_progress(done, total + unpacked))
        fetch_files(self.repo, commit, wanted, self._connection, told, on_wait)
        paths = tuple((file.path, file.size_bytes) for file in wanted)
        write_json(self._record(commit), to_dict(Fetched(kind, paths)))

    def folder(self, commit: str, on_progress: OnProgress | None) -> Path:
        """The folder of images and masks, unpacked if it is not yet."""
        fetched = self.fetched(commit)
        assert fetched is not None
        snapshot = self.repo.snapshot(commit, self._connection)
        if fetched.kind == "images":
            return snapshot / self.name.folder
        columns = self.name.columns
        choice = f"-{_short(f'{columns.image}/{columns.mask}')}" if columns else ""
        target = self._home / commit / f"{self._key}{choice}"
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.is_dir():
                self._unpack(fetched, snapshot, target, on_progress)
        return only_folder(target) if fetched.kind == "zip" else target

    def _unpack(
        self, fetched: Fetched, snapshot: Path, target: Path, on_progress: OnProgress | None
    ) -> None:
        card = snapshot / CARD_FILE
        if card.is_file():  # Where `origin_of` looks for the licence.
            shutil.copyfile(card, target.parent / CARD_FILE)
        paths = [snapshot / path for path, _ in fetched.files]
        packed = [path for path in paths if _suffix(path.name) == f".{fetched.kind}"]
        root = snapshot / self.name.folder
        root = root if root.is_dir() else root.parent
        if fetched.kind == "zip":
            extract_zips(packed, root, target)
            return
        done_before = sum(size for _, size in fetched.files)
        tell = on_progress or (lambda done, total: None)
        unpack_parquet(
            packed,
            root,
            target,
            name=self.name.repo_id,
            columns=self.name.columns,
            class_names=class_names_of(read_card(card)),
            on_progress=lambda done, total: tell(done_before + done, done_before + total),
        )

    def _record(self, commit: str) -> Path:
        return self._home / commit / f"{self._key}.json"


def _list_files(
    name: DatasetName, commit: str, connection: Connection, on_wait: OnWait | None
) -> list[RemoteFile]:
    """The card, and the files of the folder that is asked for, or that one file.

    Raises:
        HubNotFoundError: There is no such folder or file.
        HubError: There are too many files, or one whose path leads elsewhere.
    """
    api = connection.api

    def list_all() -> list[RepoFile]:
        asked = [path for path in (CARD_FILE, name.folder) if path]
        found = api.get_paths_info(name.repo_id, asked, repo_type="dataset", revision=commit)
        files = [entry for entry in found if isinstance(entry, RepoFile)]
        if name.folder and not any(entry.path == name.folder for entry in found):
            raise HubNotFoundError(
                f"{name.repo_id} has no folder or file {name.folder!r} at {commit[:7]}; "
                f"{connection.page(name.repo_id, 'dataset')} shows what it has."
            )
        if not any(entry.path == name.folder for entry in files):
            tree = api.list_repo_tree(
                name.repo_id, name.folder or None, recursive=True, repo_type="dataset",
                revision=commit,
            )  # fmt: skip
            files += islice((entry for entry in tree if isinstance(entry, RepoFile)), MAX_FILES + 1)
        return files

    files = patiently(list_all, on_wait=on_wait)
    if len(files) > MAX_FILES:
        raise HubError(
            f"{name.repo_id} has more than {MAX_FILES:,} files. Name one folder of it: "
            f"hf://{name.repo_id}/FOLDER."
        )
    return list({file.path: file for file in map(remote_file, files)}.values())


def _choose(files: Sequence[RemoteFile], name: DatasetName) -> tuple[Kind, list[RemoteFile]]:
    """How the data is packed, and the files that are fetched.

    What most bytes are is taken for the data: a few pictures beside parquet files illustrate.

    Raises:
        DatasetError: There is nothing to segment.
    """
    data = [file for file in files if not _is_hidden(file.path)]
    groups: dict[Kind, list[RemoteFile]] = {
        "images": [file for file in data if _suffix(file.path) in IMAGE_SUFFIXES],
        "zip": [file for file in data if _suffix(file.path) == ".zip"],
        "parquet": [file for file in data if _suffix(file.path) == PARQUET_SUFFIX],
    }
    kind = max(groups, key=lambda kind: sum(file.size_bytes for file in groups[kind]))
    if not groups[kind]:
        raise DatasetError(_nothing_in(data, name))
    return kind, groups[kind] + [file for file in data if _is_text(file, kind)]


def _is_text(file: RemoteFile, kind: Kind) -> bool:
    """Whether a file tells of the data: the card, class lists, tables beside images."""
    path = Path(file.path)
    if file.size_bytes > _MAX_TEXT_BYTES:
        return False
    if file.path == CARD_FILE or path.name.lower() in CLASS_FILES:
        return True
    return kind == "images" and _suffix(file.path) in _TEXT_SUFFIXES


def _nothing_in(files: Sequence[RemoteFile], name: DatasetName) -> str:
    suffixes = Counter(_suffix(file.path) or "no suffix" for file in files)
    found = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
    where = f"{name.repo_id}/{name.folder}" if name.folder else name.repo_id
    return (
        f"{where} has no images, zips or parquet files (found: {found or 'nothing'}). If the Hub "
        f"made a parquet copy of it, that is hf://{name.repo_id}@refs/convert/parquet."
    )


def _refuse_too_much(wanted: Sequence[RemoteFile], name: DatasetName) -> None:
    total = sum(file.size_bytes for file in wanted)
    if total > MAX_TOTAL_BYTES:
        raise HubError(
            f"{name.repo_id} takes {total / _GIGABYTE:,.0f} GB; at most "
            f"{MAX_TOTAL_BYTES / _GIGABYTE:,.0f} GB are fetched. Name one folder of it: "
            f"hf://{name.repo_id}/FOLDER."
        )


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _is_hidden(path: str) -> bool:
    return any(is_junk(part) for part in path.split("/"))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
