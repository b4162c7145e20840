"""Answers about users, repositories and files that change nothing."""

import hashlib
from typing import Any

from loopback_hub.cards import read_card, tags_of
from loopback_hub.messages import Answer, Refusal, Request, json_answer
from loopback_hub.repositories import Commit, Kind, LargeFile, RegularFile, Repository
from loopback_hub.routing import route
from loopback_hub.state import State


@route("GET", "/")
def home(state: State, request: Request) -> Answer:
    return Answer(b"A loopback Hub.\n")


@route("GET", "/api/whoami-v2")
def whoami(state: State, request: Request) -> Answer:
    if request.user is None:
        raise Refusal(401, "Invalid username or password.")
    return json_answer(request.user.introduce())


@route("GET", "/api/{kind}")
def listing(state: State, request: Request, kind: Kind) -> Answer:
    """Repositories of a kind, newest first: ?author=&search=&filter=&limit=&full=&expand="""
    query = request.query
    author, search = query.get("author", [""])[-1], query.get("search", [""])[-1].lower()
    wanted = {tag for value in query.get("filter", []) for tag in value.split(",")}
    limit = int(query.get("limit", ["1000"])[-1])
    found = []
    for (its_kind, repo_id), repository in reversed(state.repositories.items()):
        if its_kind != kind or (author and repository.namespace != author):
            continue
        visible = not repository.private or (
            request.user is not None and request.user.may_see(repository.namespace)
        )
        if not visible or search not in repo_id.lower():
            continue
        description = describe(state, repository, repository.found_commit("main"))
        if wanted <= set(description["tags"]):
            found.append(_shortened(description, request))
    return json_answer(found[:limit])


def _shortened(description: dict[str, Any], request: Request) -> dict[str, Any]:
    """What a listing shows: some fields, all, or those that were asked for."""
    if "expand" in request.query:
        return _expanded(description, request)
    hidden = () if request.flag("full") else ("siblings", "cardData", "sha", "author")
    return {name: value for name, value in description.items() if name not in hidden}


def _expanded(description: dict[str, Any], request: Request) -> dict[str, Any]:
    names = {"_id", "id", *request.query["expand"]}
    return {name: value for name, value in description.items() if name in names}


@route("GET", "/api/{kind}/{repo_id}", "read")
@route("GET", "/api/{kind}/{repo_id}/revision/{revision}", "read")
def info(state: State, request: Request, repository: Repository, revision: str = "main") -> Answer:
    commit = repository.found_commit(revision)
    description = describe(state, repository, commit, with_blobs=request.flag("blobs"))
    if "expand" in request.query:
        description["xetEnabled"] = state.xet is not None
        description = _expanded(description, request)
    return json_answer(description)


def describe(
    state: State, repository: Repository, commit: Commit, *, with_blobs: bool = False
) -> dict[str, Any]:
    """All that the Hub says about a repository at a commit."""
    tree, card = commit.tree, read_card(commit.tree)
    description = {
        "_id": hashlib.sha1(repository.site_path.encode()).hexdigest()[:24],
        "id": repository.repo_id,
        "author": repository.namespace,
        "sha": commit.oid,
        "lastModified": commit.date,
        "createdAt": repository.created,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags_of(card, tree),
        "cardData": card,
        "siblings": [
            {"rfilename": path} | (_blob(file) if with_blobs else {})
            for path, file in sorted(tree.items())
        ],
        "usedStorage": sum(file.size for file in tree.values()),
    }
    if repository.kind == "model":
        description["modelId"] = repository.repo_id
        for name in ("library_name", "pipeline_tag", "model-index"):
            if name in card:
                description[name] = card[name]
    if repository.kind == "space":
        description["sdk"] = repository.sdk
        description["models"] = card.get("models", [])
        description["runtime"] = state.space(repository.repo_id).runtime(
            repository.repo_id, has_app(repository)
        )
    return description


def has_app(repository: Repository) -> bool:
    """Whether a Space has the file that its README names, or that its kit expects."""
    tree = repository.found_commit("main").tree
    usual = {"static": "index.html", "docker": "Dockerfile"}.get(repository.sdk or "", "app.py")
    return read_card(tree).get("app_file", usual) in tree


def _blob(file: RegularFile | LargeFile) -> dict[str, Any]:
    blob: dict[str, Any] = {"size": file.size, "blobId": file.oid}
    if isinstance(file, LargeFile):
        sizes = {"size": file.size, "pointerSize": len(file.pointer)}
        blob["lfs"] = {"sha256": file.sha256, **sizes}
    return blob


@route("GET", "/api/{kind}/{repo_id}/auth-check", "content")
def may_read(state: State, request: Request, repository: Repository) -> Answer:
    return json_answer({})


@route("GET", "/api/{kind}/{repo_id}/auth-check/write", "write")
def may_write(state: State, request: Request, repository: Repository) -> Answer:
    return json_answer({})


@route("GET", "/api/{kind}/{repo_id}/refs", "read")
def refs(state: State, request: Request, repository: Repository) -> Answer:
    def listed(names: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": oid}
            for name, oid in names.items()
        ]

    branches, tags = listed(repository.branches, "heads"), listed(repository.tags, "tags")
    answer = {"branches": branches, "tags": tags, "converts": []}
    if request.flag("include_prs"):
        answer["pullRequests"] = listed(repository.pull_requests, "pr")
    return json_answer(answer)


@route("GET", "/api/{kind}/{repo_id}/commits/{revision}", "read")
def commits(state: State, request: Request, repository: Repository, revision: str) -> Answer:
    history = repository.history(repository.found_commit(revision))
    return json_answer(
        [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": commit.description,
                "date": commit.date,
                "authors": [{"user": commit.author}],
            }
            for commit in history
        ]
    )


@route("GET", "/api/{kind}/{repo_id}/tree/{revision}", "read")
@route("GET", "/api/{kind}/{repo_id}/tree/{revision}/{path}", "read")
def tree(
    state: State, request: Request, repository: Repository, revision: str, path: str = ""
) -> Answer:
    """Files and folders below a folder, or directly in it."""
    commit = repository.found_commit(revision)
    start = f"{path.strip('/')}/" if path else ""
    entries = {
        name: entry
        for name, entry in _entries(state, request, repository, commit).items()
        if name.startswith(start)
    }
    if path and not entries:
        raise Refusal(404, f'{path} does not exist on "{revision}"', "EntryNotFound")
    if not request.flag("recursive"):
        entries = {k: entry for k, entry in entries.items() if "/" not in k[len(start) :]}
    return json_answer(list(entries.values()))


@route("POST", "/api/{kind}/{repo_id}/paths-info/{revision}", "read")
def paths_info(state: State, request: Request, repository: Repository, revision: str) -> Answer:
    """Files and folders of some names; names that are not there are left out."""
    entries = _entries(state, request, repository, repository.found_commit(revision))
    wanted = request.fields.get("paths", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    return json_answer([entries[path] for path in wanted if path in entries])


def _entries(
    state: State, request: Request, repository: Repository, commit: Commit
) -> dict[str, dict[str, Any]]:
    """Every folder and file of a commit, by path."""
    asked = request.fields.get("expand") if request.method == "POST" else None
    expand = request.flag("expand") or str(asked).strip("[]'").lower() == "true"
    entries: dict[str, dict[str, Any]] = {}
    for path, file in sorted(commit.tree.items()):
        steps = path.split("/")
        for depth in range(1, len(steps)):
            folder = "/".join(steps[:depth])
            oid = hashlib.sha1(f"{commit.oid} {folder}".encode()).hexdigest()
            entries.setdefault(folder, {"type": "directory", "oid": oid, "size": 0, "path": folder})
        entry: dict[str, Any] = {
            "type": "file",
            "oid": file.oid,
            "size": file.size,
            "path": path,
        }
        if isinstance(file, LargeFile):
            sizes = {"size": file.size, "pointerSize": len(file.pointer)}
            entry["lfs"] = {"oid": file.sha256, **sizes}
        if xet_hash := state.xet_hash(repository, file):
            entry["xetHash"] = xet_hash
        if expand:
            change = repository.last_change(commit, path)
            entry["lastCommit"] = {"id": change.oid, "title": change.title, "date": change.date}
        entries[path] = entry
    return entries
