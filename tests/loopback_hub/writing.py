"""Answers to changes: repositories made, deleted and set, commits, tags, branches."""

import base64
import json
import re
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from loopback_hub.cards import SDKS, mistakes
from loopback_hub.messages import Answer, Refusal, Request, json_answer
from loopback_hub.repositories import (
    Kind,
    LargeFile,
    RegularFile,
    Repository,
    is_large,
    new_repository,
)
from loopback_hub.routing import route
from loopback_hub.state import State

_NAME = re.compile(r"(?!.*(--|\.\.))\w[\w.-]{0,95}")


@route("POST", "/api/repos/create")
def create(state: State, request: Request) -> Answer:
    user, fields = request.user, request.fields
    if user is None:
        raise Refusal(401, "Invalid username or password.")
    kind: Kind = fields.get("type") or "model"
    name, namespace = fields["name"], fields.get("organization") or user.account
    if "/" in name and not fields.get("organization"):
        namespace, _, name = name.partition("/")
    repo_id = f"{namespace}/{name}"
    if not _NAME.fullmatch(name):
        raise Refusal(400, f"Invalid repo name: {name}")
    if not user.may_see(namespace):
        raise Refusal(
            403, f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"'
        )
    if not user.may_write(namespace):
        raise Refusal(
            403, "You have read access but not the required permissions for this operation"
        )
    if (kind, repo_id) in state.repositories:
        url = _url(request, state.repositories[kind, repo_id])
        raise Refusal(409, f"You already created this {kind} repo", url=url)
    if kind == "space" and fields.get("sdk") not in SDKS:
        raise Refusal(400, f"Invalid sdk: expected one of {', '.join(SDKS)}")
    repository = new_repository(
        kind, repo_id, author=user.account, private=_asks_private(fields), sdk=fields.get("sdk")
    )
    state.repositories[kind, repo_id] = repository
    if kind == "space":
        _furnish(state, repo_id, fields)
    return json_answer({"url": _url(request, repository), "name": repo_id, "id": "6" * 24})


def _asks_private(fields: dict[str, Any]) -> bool:
    """huggingface_hub before 2.0 sends `private`, later ones `visibility`."""
    return fields.get("visibility") == "private" or bool(fields.get("private"))


def _furnish(state: State, repo_id: str, fields: dict[str, Any]) -> None:
    """Give a new Space what came with its creation."""
    space = state.space(repo_id)
    space.hardware = fields.get("hardware") or space.hardware
    space.sleep_time_s = fields.get("sleepTimeSeconds")
    space.secrets |= {entry["key"]: entry["value"] for entry in fields.get("secrets") or []}
    space.variables |= {entry["key"]: entry["value"] for entry in fields.get("variables") or []}


def _url(request: Request, repository: Repository) -> str:
    return f"{request.base_url}/{repository.site_path}"


@route("DELETE", "/api/repos/delete")
def delete(state: State, request: Request) -> Answer:
    fields = request.fields
    account = request.user.account if request.user else ""
    repo_id = f"{fields.get('organization') or account}/{fields['name']}"
    kind: Kind = fields.get("type") or "model"
    state.opened(kind, repo_id, request.user, "write")
    del state.repositories[kind, repo_id]
    if kind == "space":
        state.spaces.pop(repo_id, None)
    return Answer(b"OK")


@route("PUT", "/api/{kind}/{repo_id}/settings", "write")
def settings(state: State, request: Request, repository: Repository) -> Answer:
    fields = request.fields
    if "visibility" in fields or "private" in fields:
        repository.private = _asks_private(fields)
    if "gated" in fields:
        repository.gated = fields["gated"]
    return json_answer({"private": repository.private, "gated": repository.gated})


@route("POST", "/api/validate-yaml")
def validate_yaml(state: State, request: Request) -> Answer:
    fields = request.fields
    errors, warnings = mistakes(fields["content"], fields.get("repoType") or "model")
    return json_answer(
        {
            "errors": [{"message": text} for text in errors],
            "warnings": [{"message": text} for text in warnings],
        },
        400 if errors else 200,
    )


@route("POST", "/api/{kind}/{repo_id}/preupload/{revision}", "write")
def preupload(state: State, request: Request, repository: Repository, revision: str) -> Answer:
    """How each file is to be uploaded, and which of them are there already."""
    commit = repository.found_commit(revision)
    lines = (request.fields.get("gitIgnore") or "").splitlines()
    ignored = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    files = []
    for file in request.fields["files"]:
        path, sample = file["path"], base64.b64decode(file.get("sample") or "")
        present = commit.tree.get(path)
        names = (path, PurePosixPath(path).name)
        large = is_large(path, file["size"], sample)
        files.append(
            {
                "path": path,
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": any(fnmatch(name, line) for line in ignored for name in names),
            }
            | ({"oid": present.etag} if present else {})
        )
    return json_answer({"files": files, "commitOid": commit.oid})


@route("POST", "/api/{kind}/{repo_id}/commit/{revision}", "write")
def commit(state: State, request: Request, repository: Repository, revision: str) -> Answer:
    """Change a branch by a list of operations, all or none."""
    if request.flag("create_pr"):
        raise Refusal(501, "The loopback Hub has no pull requests.")
    if revision not in repository.branches:
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    try:
        lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    except ValueError as error:
        raise Refusal(400, f"Invalid ndjson: {error}") from None
    header: dict[str, Any] = {}
    for line in lines:
        header = line["value"] if line["key"] == "header" else header
    if not header.get("summary"):
        raise Refusal(400, "Commit summary is required")
    head = repository.found_commit(revision)
    if header.get("parentCommit") not in (None, head.oid):
        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
    operations = [(line["key"], line["value"]) for line in lines if line["key"] != "header"]
    _take_in_uploads(state, repository, operations)
    tree = dict(head.tree)
    for key, value in operations:
        _apply(state, repository, tree, key, value)
    assert request.user is not None
    made = repository.commit(
        revision,
        tree,
        header["summary"],
        author=request.user.account,
        description=header.get("description", ""),
    )
    if repository.kind == "space":
        state.space(repository.repo_id).start()
    url = f"{_url(request, repository)}/commit/{made.oid}"
    answer = {"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""}
    return json_answer(answer)


def _take_in_uploads(
    state: State, repository: Repository, operations: list[tuple[str, dict[str, Any]]]
) -> None:
    """Make what came through Xet the repository's own."""
    shas = [value["oid"] for key, value in operations if key == "lfsFile"]
    store = state.xet.take_in(shas) if state.xet and shas else None
    repository.xet_store = store or repository.xet_store


def _apply(
    state: State,
    repository: Repository,
    tree: dict[str, RegularFile | LargeFile],
    key: str,
    value: dict[str, Any],
) -> None:
    path = value["path"]
    if key == "file":
        encoded = value.get("encoding") == "base64"
        content = base64.b64decode(value["content"]) if encoded else value["content"].encode()
        _check_regular(repository, path, content)
        tree[path] = RegularFile(content)
    elif key == "lfsFile":
        size = state.size_of_large(value["oid"])
        if size is None:
            raise Refusal(
                400,
                f"Your push was rejected because an LFS pointer pointed to a file that does not "
                f"exist. Offending file: {path}",
            )
        tree[path] = LargeFile(value["oid"], size)
    elif key == "deletedFile":
        if tree.pop(path, None) is None:
            raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    elif key == "deletedFolder":
        for inside in [name for name in tree if name.startswith(f"{path.rstrip('/')}/")]:
            del tree[inside]
    else:
        raise Refusal(400, f"Invalid key: {key}")


def _check_regular(repository: Repository, path: str, content: bytes) -> None:
    if is_large(path, len(content), content[:512]):
        raise Refusal(400, f"Your push was rejected because it contains binary files: {path}")
    if path == "README.md":
        errors, _ = mistakes(content.decode(errors="replace"), repository.kind)
        if errors:
            raise Refusal(400, f"Invalid metadata in README.md: {'; '.join(errors)}")


@route("POST", "/api/{kind}/{repo_id}/tag/{revision}", "write")
def add_tag(state: State, request: Request, repository: Repository, revision: str) -> Answer:
    name = request.fields["tag"]
    if name in repository.tags:
        raise Refusal(409, f"Tag reference exists already: refs/tags/{name}")
    repository.tags[name] = repository.found_commit(revision).oid
    return json_answer({})


@route("DELETE", "/api/{kind}/{repo_id}/tag/{name}", "write")
def delete_tag(state: State, request: Request, repository: Repository, name: str) -> Answer:
    if repository.tags.pop(name, None) is None:
        raise Refusal(404, f"Tag not found: {name}", "RevisionNotFound")
    return json_answer({})


@route("POST", "/api/{kind}/{repo_id}/branch/{name}", "write")
def add_branch(state: State, request: Request, repository: Repository, name: str) -> Answer:
    if name in repository.branches:
        raise Refusal(409, f"Branch reference exists already: refs/heads/{name}")
    start = request.fields.get("startingPoint", "main")
    repository.branches[name] = repository.found_commit(start).oid
    return json_answer({})


@route("DELETE", "/api/{kind}/{repo_id}/branch/{name}", "write")
def delete_branch(state: State, request: Request, repository: Repository, name: str) -> Answer:
    if name == "main":
        raise Refusal(403, "Cannot delete the main branch")
    if repository.branches.pop(name, None) is None:
        raise Refusal(404, f"Branch not found: {name}", "RevisionNotFound")
    return json_answer({})
