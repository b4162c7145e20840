"""Contents on their way: large files in, all files out, tokens for Xet."""

import hashlib
import itertools
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from loopback_hub.messages import Answer, FilePart, Refusal, Request, json_answer
from loopback_hub.repositories import Kind, LargeFile, Repository
from loopback_hub.routing import route
from loopback_hub.state import State

_LFS_TYPE = "application/vnd.git-lfs+json"
_XET_TOKEN_S = 3600
_partial_numbers = itertools.count()


@route("GET", "/api/{kind}/{repo_id}/xet-write-token/{revision}", "write")
def xet_write_token(
    state: State, request: Request, repository: Repository, revision: str
) -> Answer:
    if state.xet is None:
        raise Refusal(404, "Not Found")
    return _xet_token(state.xet.open_for_writing(repository.xet_store))


@route("GET", "/api/{kind}/{repo_id}/xet-read-token/{revision}", "content")
def xet_read_token(state: State, request: Request, repository: Repository, revision: str) -> Answer:
    if state.xet is None:
        raise Refusal(404, "Not Found")
    return _xet_token(state.xet.open_for_reading(repository.xet_store))


def _xet_token(folder: Path) -> Answer:
    url, token, expires = f"local://{folder}", "loopback", int(time.time()) + _XET_TOKEN_S
    return json_answer(
        {"casUrl": url, "accessToken": token, "exp": expires},
        headers={
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(expires),
        },
    )


@route("POST", "/{site}{repo_id}.git/info/lfs/objects/batch")
def lfs_batch(state: State, request: Request, kind: Kind, repo_id: str) -> Answer:
    """Where to send large files; no place for those that are here.

    huggingface_hub before 2.0 asks here whether it may send them by Xet.
    """
    uploads = request.fields.get("operation", "upload") == "upload"
    repository = state.opened(kind, repo_id, request.user, "write" if uploads else "content")
    by_xet = state.xet is not None and "xet" in request.fields.get("transfers", [])
    objects = []
    for wanted in request.fields["objects"]:
        oid, size = wanted["oid"], wanted["size"]
        answered = {"oid": oid, "size": size}
        here = state.size_of_large(oid) is not None
        if here and not uploads:
            answered["actions"] = {"download": {"href": f"{request.base_url}/_lfs/{oid}"}}
        elif not here and uploads and not by_xet:
            verify = f"{request.base_url}/{repository.site_path}.git/info/lfs/verify"
            upload = _upload_action(request, oid, size, state.lfs_part_bytes)
            answered["actions"] = {"upload": upload, "verify": {"href": verify}}
        elif not here and not uploads:
            answered["error"] = {"code": 404, "message": "Object does not exist"}
        objects.append(answered)
    answer = json_answer({"transfer": "xet" if by_xet else "basic", "objects": objects})
    return replace(answer, content_type=_LFS_TYPE)


def _upload_action(request: Request, oid: str, size: int, part_bytes: int | None) -> dict[str, Any]:
    href = f"{request.base_url}/_lfs/{oid}"
    if part_bytes is None or size <= part_bytes:
        return {"href": href}
    count = -(-size // part_bytes)
    parts = {str(number): f"{href}/part/{number}" for number in range(1, count + 1)}
    return {"href": f"{href}/complete", "header": {"chunk_size": str(part_bytes), **parts}}


@route("POST", "/{site}{repo_id}.git/info/lfs/verify")
def lfs_verify(state: State, request: Request, kind: Kind, repo_id: str) -> Answer:
    state.opened(kind, repo_id, request.user, "write")
    if state.size_of_large(request.fields["oid"]) != request.fields["size"]:
        raise Refusal(404, "object not found")
    return json_answer({})


@route("GET", "/_lfs/{oid}")
def lfs_get(state: State, request: Request, oid: str) -> Answer:
    size = state.size_of_large(oid)
    if size is None:
        raise Refusal(404, "object not found")
    return Answer(state.content_of(LargeFile(oid, size)), content_type="application/octet-stream")


@route("PUT", "/_lfs/{oid}", streams=True)
def lfs_put(state: State, request: Request, oid: str) -> Answer:
    partial = _partial(state.lfs_path(oid))
    _write(request, partial)
    return _finish(partial, state.lfs_path(oid))


@route("PUT", "/_lfs/{oid}/part/{number}", streams=True)
def lfs_put_part(state: State, request: Request, oid: str, number: str) -> Answer:
    part = _part(state, oid, int(number))
    partial = _partial(part)
    digest = _write(request, partial)
    partial.replace(part)
    return Answer(headers={"ETag": f'"{digest}"'})


@route("POST", "/_lfs/{oid}/complete")
def lfs_complete(state: State, request: Request, oid: str) -> Answer:
    numbers = sorted(part["partNumber"] for part in request.fields["parts"])
    partial = _partial(state.lfs_path(oid))
    with partial.open("wb") as whole:
        for number in numbers:
            part = _part(state, oid, number)
            whole.write(part.read_bytes())
            part.unlink()
    return _finish(partial, state.lfs_path(oid))


def _partial(path: Path) -> Path:
    """A name of its own for each upload, so that two of one file cannot mix."""
    return path.with_suffix(f".{next(_partial_numbers)}")


def _part(state: State, oid: str, number: int) -> Path:
    return state.lfs_path(oid).with_suffix(f".part{number}")


def _write(request: Request, path: Path) -> str:
    """Write the body to a file; returns its md5. A body that breaks off leaves no file."""
    digest = hashlib.md5()
    try:
        with path.open("wb") as file:
            for chunk in request.chunks():
                digest.update(chunk)
                file.write(chunk)
    except ConnectionError:
        path.unlink()
        raise
    return digest.hexdigest()


def _finish(partial: Path, path: Path) -> Answer:
    """Keep a file whose content is what its name says."""
    with partial.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != path.name:
            partial.unlink()
            raise Refusal(400, "BadDigest: the content does not match the oid")
    partial.replace(path)
    return Answer()


@route("GET", "/{site}{repo_id}/resolve/{revision}/{path}", "content")
def resolve(
    state: State, request: Request, repository: Repository, revision: str, path: str
) -> Answer:
    """A file, or part of it, with all that clients want to know of it in the headers."""
    commit = repository.found_commit(revision)
    known = {"X-Repo-Commit": commit.oid}
    file = commit.tree.get(path)
    if file is None:
        raise Refusal(404, "Entry not found", "EntryNotFound", headers=known)
    headers = {**known, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
    if isinstance(file, LargeFile):
        headers |= {"X-Linked-Size": str(file.size), "X-Linked-Etag": f'"{file.sha256}"'}
    if xet_hash := state.xet_hash(repository, file):
        api = f"{request.base_url}/api/{repository.kind}s/{repository.repo_id}"
        token = f"{api}/xet-read-token/{commit.oid}"
        headers |= {"X-Xet-Hash": xet_hash, "Link": f'<{token}>; rel="xet-auth"'}
    binary = "application/octet-stream"
    if request.method == "HEAD":
        return Answer(b"", 200, headers, binary, announced_bytes=file.size)
    whole = Answer(state.content_of(file), 200, headers, binary)
    return _ranged(whole, request.headers.get("Range"), file.size)


@route("GET", "/{site}{repo_id}/raw/{revision}/{path}", "content")
def raw(state: State, request: Request, repository: Repository, revision: str, path: str) -> Answer:
    """A file as git holds it: of a large one the pointer."""
    file = repository.found_commit(revision).tree.get(path)
    if file is None:
        raise Refusal(404, "Entry not found", "EntryNotFound")
    return Answer(file.pointer if isinstance(file, LargeFile) else file.content)


def _ranged(whole: Answer, asked: str | None, size: int) -> Answer:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    if match is None:
        return whole
    start, end = int(match[1]), min(int(match[2] or size - 1), size - 1) + 1
    if start >= size:
        raise Refusal(416, "Range Not Satisfiable", headers={"Content-Range": f"bytes */{size}"})
    if isinstance(whole.content, FilePart):
        content: bytes | FilePart = FilePart(whole.content.path, start, end - start)
    else:
        content = whole.content[start:end]
    headers = {**whole.headers, "Content-Range": f"bytes {start}-{end - 1}/{size}"}
    return replace(whole, content=content, status=206, headers=headers)
