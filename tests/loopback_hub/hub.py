"""The loopback Hub as tests use it."""

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from loopback_hub.accounts import Accounts, User
from loopback_hub.faults import Fault
from loopback_hub.messages import FilePart
from loopback_hub.repositories import (
    Kind,
    LargeFile,
    RegularFile,
    Repository,
    is_large,
    new_repository,
)
from loopback_hub.server import Server
from loopback_hub.space_record import SpaceRecord
from loopback_hub.state import State
from loopback_hub.xet import XetStorage

_GROUPS = ("lab", "club:read")
ALICE = User("alice", "hf_alice", organisations=_GROUPS)
READER = User("reader", "hf_reader", "read", _GROUPS, acts_as="alice")
SCOPED = User("scoped", "hf_scoped", "fineGrained", _GROUPS, acts_as="alice", writable=("lab",))
BOB = User("bob", "hf_bob")
USERS = (ALICE, READER, SCOPED, BOB)
"""Alice with three tokens: of all rights, to read, to write in the organisation "lab"; and Bob."""


class LoopbackHub:
    """A Hub on this machine, in this process, that lives as long as its `with` block."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Sequence[User] = USERS,
        xet: bool = True,
        lfs_part_bytes: int | None = None,
        port: int = 0,
    ) -> None:
        """Start to serve.

        Args:
            folder: Where all large files go; nothing is written elsewhere.
            users: Tokens that are known.
            xet: Whether it offers Xet beside LFS.
            lfs_part_bytes: Size above which an LFS upload is split into parts; None: never.
            port: On 127.0.0.1; 0: any that is free.
        """
        folder = folder.absolute()
        storage = XetStorage(folder / "xet") if xet else None
        self._state = State(folder, Accounts(users), storage, lfs_part_bytes)
        self._server = Server(self._state, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._server.stop()
        self._thread.join()

    @property
    def endpoint(self) -> str:
        """Its address, as `HF_ENDPOINT` wants it."""
        return self._server.url

    @property
    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path and status of every request so far; status 0: no answer was sent."""
        return list(self._server.requests)

    def environment(self, home: Path, token: str | None = None, xet: bool = True) -> dict[str, str]:
        """The variables of a process whose Hub is this one.

        Args:
            home: Where its cache and saved token go.
            token: Signs it in; None: nobody.
            xet: Whether it uses Xet where this Hub offers it.
        """
        environment = {k: value for k, value in os.environ.items() if not k.startswith("HF_")}
        environment |= {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        if token is not None:
            environment["HF_TOKEN"] = token
        if not xet:
            environment["HF_HUB_DISABLE_XET"] = "1"
        return environment

    def fail(self, match: str, times: int = 1, **how: Any) -> None:
        """Let the next requests that fit fail; see `Fault` for how."""
        self._server.faults.add(Fault(match, times, **how))

    def heal(self) -> None:
        """Forget every fault."""
        self._server.faults.replace(())

    def add_repo(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        repo_type: Kind = "model",
        private: bool = False,
        gated: bool | Literal["auto", "manual"] = False,
        sdk: str | None = None,
    ) -> Repository:
        """Have a repository with one commit of these files, or add such a commit to it.

        Large files are served by Xet, if this Hub offers it, and by plain HTTP.
        """
        with self._state.lock:
            repository = self._state.repositories.get((repo_type, repo_id))
            if repository is None:
                author = repo_id.partition("/")[0]
                repository = new_repository(
                    repo_type, repo_id, author=author, private=private, sdk=sdk
                )
                repository.gated = "manual" if gated is True else gated
                self._state.repositories[repo_type, repo_id] = repository
            tree = dict(repository.found_commit("main").tree)
            tree |= {path: self._stored(path, content) for path, content in files.items()}
            self._offer_by_xet(repository, tree)
            repository.commit("main", tree, "Add files", author=repository.namespace)
        return repository

    def _stored(self, path: str, content: bytes) -> RegularFile | LargeFile:
        if not is_large(path, len(content), content[:512]):
            return RegularFile(content)
        file = LargeFile.of(content)
        self._state.lfs_path(file.sha256).write_bytes(content)
        return file

    def _offer_by_xet(
        self, repository: Repository, tree: Mapping[str, RegularFile | LargeFile]
    ) -> None:
        shas = {file.sha256 for file in tree.values() if isinstance(file, LargeFile)}
        if self._state.xet is not None and shas:
            paths = {sha: self._state.lfs_path(sha) for sha in shas}
            repository.xet_store = self._state.xet.add(paths)

    def files(
        self, repo_id: str, repo_type: Kind = "model", revision: str = "main"
    ) -> dict[str, bytes]:
        """The contents of a repository by path, without the Hub's own `.gitattributes`."""
        with self._state.lock:
            repository = self._state.repositories[repo_type, repo_id]
            tree = repository.found_commit(revision).tree
            contents = {path: self._state.content_of(file) for path, file in tree.items()}
        return {
            path: b"".join(content.chunks()) if isinstance(content, FilePart) else content
            for path, content in contents.items()
            if path != ".gitattributes"
        }

    def repository(self, repo_id: str, repo_type: Kind = "model") -> Repository:
        """A repository as it is kept: private or not, commits, tags, branches."""
        return self._state.repositories[repo_type, repo_id]

    def space(self, repo_id: str) -> SpaceRecord:
        """What runs a Space: secrets, variables, hardware, stage."""
        return self._state.space(repo_id)

    def script_space(
        self,
        repo_id: str,
        stages: Sequence[str],
        logs: str = "",
        run_logs: str = "",
        error_message: str = "",
    ) -> None:
        """Say what becomes of a Space, which need not be there yet.

        Args:
            repo_id: The Space.
            stages: One for each look at its state after a start; the last one stays.
            logs: Of the build.
            run_logs: Of the application.
            error_message: Shown in stages that end in "ERROR".
        """
        space = self.space(repo_id)
        space.stages = tuple(stages)
        space.build_log, space.run_log = logs, run_logs
        space.error_message = error_message
        space.start()
