"""All that one loopback Hub knows."""

import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loopback_hub.accounts import Accounts, User
from loopback_hub.messages import FilePart, Refusal
from loopback_hub.repositories import Kind, LargeFile, RegularFile, Repository
from loopback_hub.space_record import SpaceRecord
from loopback_hub.xet import XetStorage

Access = Literal["read", "content", "write"]
"""Its existence and description; its files too; changes."""


@dataclass
class State:
    """Repositories in memory, large files in a folder."""

    folder: Path
    accounts: Accounts
    xet: XetStorage | None
    """None: a Hub without Xet."""
    lfs_part_bytes: int | None = None
    """Large files above this are uploaded in parts."""
    repositories: dict[tuple[Kind, str], Repository] = field(default_factory=dict)
    spaces: dict[str, SpaceRecord] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        (self.folder / "lfs").mkdir(parents=True, exist_ok=True)

    def opened(
        self, kind: Kind, repo_id: str, user: User | None, access: Access = "read"
    ) -> Repository:
        """A repository, if it is there for this user.

        Raises:
            Refusal: It is not there, or not for this; a private one looks like none at all.
        """
        repository = self.repositories.get((kind, repo_id))
        namespace = repo_id.partition("/")[0]
        member = user is not None and user.may_see(namespace)
        if repository is None or (repository.private and not member):
            # The code is ours where nobody is signed in: huggingface_hub takes a bare 401 for a
            # missing repository over https only.
            if user is None:
                raise Refusal(401, "Invalid username or password.", "RepoNotFound")
            raise Refusal(404, "Repository not found", "RepoNotFound")
        if access == "write":
            self._check_write(repository, user)
        if access == "content" and repository.gated and not member:
            raise Refusal(
                403 if user else 401,
                f"Access to {kind} {repo_id} is restricted and you are not in the authorized list. "
                f"Visit its page to ask for access.",
                "GatedRepo",
            )
        return repository

    def _check_write(self, repository: Repository, user: User | None) -> None:
        if user is None:
            raise Refusal(401, "Invalid username or password.")
        if user.may_write(repository.namespace):
            return
        if user.role == "read" and user.may_see(repository.namespace):
            raise Refusal(
                403,
                "Authorization error: this token has the role 'read' and cannot write to this "
                "repository",
            )
        raise Refusal(403, "Authorization error.")

    def space(self, repo_id: str) -> SpaceRecord:
        """What runs a Space; it can be scripted before the Space is there."""
        return self.spaces.setdefault(repo_id, SpaceRecord())

    def lfs_path(self, sha256: str) -> Path:
        """Where a large file is, or will be.

        Raises:
            Refusal: This is no sha256.
        """
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise Refusal(400, f"Invalid oid: {sha256}")
        return self.folder / "lfs" / sha256

    def size_of_large(self, sha256: str) -> int | None:
        """Bytes of a large file that was uploaded by either way; None: it was not."""
        path = self.lfs_path(sha256)
        if path.is_file():
            return path.stat().st_size
        return self.xet.size_of(sha256) if self.xet else None

    def xet_hash(self, repository: Repository, file: RegularFile | LargeFile) -> str | None:
        """How Xet clients find a file in this repository; None: they take it by plain HTTP."""
        if isinstance(file, RegularFile) or self.xet is None or repository.xet_store is None:
            return None
        found = repository.xet_store.files.get(file.sha256)
        return found.xet_hash if found else None

    def content_of(self, file: RegularFile | LargeFile) -> bytes | FilePart:
        if isinstance(file, RegularFile):
            return file.content
        path = self.lfs_path(file.sha256)
        if not path.is_file():
            assert self.xet is not None
            self.xet.restore(file.sha256, path)
        return FilePart(path, 0, file.size)
