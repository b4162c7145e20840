"""Repositories as the Hub keeps them: commits of whole trees, branches, tags."""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from loopback_hub.messages import Refusal
from loopback_hub.xet import XetStore

Kind = Literal["model", "dataset", "space"]

LARGE_SUFFIXES = (
    ".safetensors .bin .pt .pth .ckpt .onnx .h5 .zip .tar .gz .7z .parquet .arrow .npy .npz .gguf "
    ".tflite .mlmodel .pkl .msgpack"
).split()
"""Files that the Hub's own `.gitattributes` sends to large-file storage."""

LARGE_BYTES = 10_000_000
"""Files above this are large whatever their name."""

_serial = itertools.count()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def git_oid(content: bytes) -> str:
    """The sha1 that git gives a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_large(path: str, size: int, sample: bytes) -> bool:
    """Whether the Hub wants a file in large-file storage.

    Args:
        path: In the repository.
        size: In bytes.
        sample: The first bytes; a zero among them means binary.
    """
    return path.endswith(tuple(LARGE_SUFFIXES)) or size > LARGE_BYTES or b"\0" in sample


@dataclass(frozen=True)
class RegularFile:
    """A file that git itself holds."""

    content: bytes

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def oid(self) -> str:
        return git_oid(self.content)

    @property
    def etag(self) -> str:
        return self.oid


@dataclass(frozen=True)
class LargeFile:
    """A file of which git holds a pointer only."""

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> "LargeFile":
        return cls(hashlib.sha256(content).hexdigest(), len(content))

    @property
    def pointer(self) -> bytes:
        version = "https://git-lfs.github.com/spec/v1"
        return f"version {version}\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def oid(self) -> str:
        return git_oid(self.pointer)

    @property
    def etag(self) -> str:
        return self.sha256


Tree = Mapping[str, RegularFile | LargeFile]
"""Files by path."""


@dataclass(frozen=True)
class Commit:
    """The state of a branch at one time."""

    tree: Tree
    title: str
    description: str
    author: str
    parent: str | None
    date: str = field(default_factory=now)
    serial: int = field(default_factory=lambda: next(_serial))

    @property
    def oid(self) -> str:
        files = [(path, file.oid) for path, file in sorted(self.tree.items())]
        text = repr((self.parent, self.title, self.date, self.serial, files))
        return hashlib.sha1(text.encode()).hexdigest()


@dataclass
class Repository:
    """One model, data set or Space."""

    kind: Kind
    repo_id: str
    private: bool = False
    gated: Literal[False, "auto", "manual"] = False
    sdk: str | None = None
    created: str = field(default_factory=now)
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    """Newest commit of each."""
    tags: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)
    """Newest commit of each by its number, as tests put them there."""
    xet_store: XetStore | None = None
    """Where Xet clients find this repository's files."""

    @property
    def namespace(self) -> str:
        return self.repo_id.partition("/")[0]

    @property
    def site_path(self) -> str:
        """Where its page would be, and its files are: models have no prefix."""
        return self.repo_id if self.kind == "model" else f"{self.kind}s/{self.repo_id}"

    def commit(
        self, branch: str, tree: Tree, title: str, *, author: str, description: str = ""
    ) -> Commit:
        commit = Commit(dict(tree), title, description, author, self.branches.get(branch))
        oid = commit.oid
        self.commits[oid] = commit
        self.branches[branch] = oid
        return commit

    def found_commit(self, revision: str) -> Commit:
        """The commit of a branch, a tag, or a commit id that may be shortened.

        Raises:
            Refusal: There is no such revision.
        """
        revision = "main" if revision == "HEAD" else revision.removeprefix("refs/heads/")
        named = self.branches.get(revision) or self.tags.get(revision)
        named = named or self.pull_requests.get(revision.removeprefix("refs/pr/"))
        if named is None and len(revision) >= 5:
            named = next((oid for oid in self.commits if oid.startswith(revision)), None)
        if named is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[named]

    def history(self, commit: Commit) -> Iterator[Commit]:
        """A commit and those before it, newest first."""
        yield commit
        while commit.parent is not None:
            commit = self.commits[commit.parent]
            yield commit

    def last_change(self, commit: Commit, path: str) -> Commit:
        """The commit that gave a file the content it has."""
        file = commit.tree[path]
        changed = commit
        for earlier in self.history(commit):
            if earlier.tree.get(path) != file:
                break
            changed = earlier
        return changed


def new_repository(
    kind: Kind, repo_id: str, *, author: str, private: bool, sdk: str | None = None
) -> Repository:
    """A repository with the first commit that the Hub makes."""
    repository = Repository(kind, repo_id, private, sdk=sdk)
    lines = [f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_SUFFIXES]
    attributes = RegularFile("".join(lines).encode())
    repository.commit("main", {".gitattributes": attributes}, "initial commit", author=author)
    return repository
