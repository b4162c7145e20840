"""Answers about what runs a Space: its state, hardware, settings and logs."""

import json
from typing import Any, Literal

from loopback_hub.messages import Answer, Refusal, Request, json_answer
from loopback_hub.reading import has_app
from loopback_hub.repositories import Repository, now
from loopback_hub.routing import route
from loopback_hub.state import State

_SPACE = "/api/spaces/{repo_id}"


@route("GET", f"{_SPACE}/runtime", "read")
def runtime(state: State, request: Request, repository: Repository) -> Answer:
    """The state, which moves on with each look."""
    answer = _runtime(state, repository)
    state.space(repository.repo_id).looks += 1
    return answer


def _runtime(state: State, repository: Repository) -> Answer:
    space = state.space(repository.repo_id)
    return json_answer(space.runtime(repository.repo_id, has_app(repository)))


@route("POST", f"{_SPACE}/pause", "write")
def pause(state: State, request: Request, repository: Repository) -> Answer:
    state.space(repository.repo_id).paused = True
    return _runtime(state, repository)


@route("POST", f"{_SPACE}/restart", "write")
def restart(state: State, request: Request, repository: Repository) -> Answer:
    space = state.space(repository.repo_id)
    space.start()
    space.restarts += 1
    return _runtime(state, repository)


@route("POST", f"{_SPACE}/hardware", "write")
def hardware(state: State, request: Request, repository: Repository) -> Answer:
    space = state.space(repository.repo_id)
    space.hardware = request.fields["flavor"]
    space.sleep_time_s = request.fields.get("sleepTimeSeconds", space.sleep_time_s)
    space.start()
    return _runtime(state, repository)


@route("POST", f"{_SPACE}/sleeptime", "write")
def sleep_time(state: State, request: Request, repository: Repository) -> Answer:
    state.space(repository.repo_id).sleep_time_s = request.fields["seconds"]
    return _runtime(state, repository)


@route("GET POST DELETE", f"{_SPACE}/secrets", "write")
def secrets(state: State, request: Request, repository: Repository) -> Answer:
    """Secrets without their values, which the Hub never gives back."""
    _change(state, request, repository, "secrets")
    return json_answer(_settings(state, repository, "secrets"))


@route("GET POST DELETE", f"{_SPACE}/variables", "write")
def variables(state: State, request: Request, repository: Repository) -> Answer:
    _change(state, request, repository, "variables")
    return json_answer(_settings(state, repository, "variables"))


def _change(
    state: State,
    request: Request,
    repository: Repository,
    which: Literal["secrets", "variables"],
) -> None:
    space = state.space(repository.repo_id)
    values: dict[str, str] = getattr(space, which)
    fields = request.fields
    if request.method == "POST":
        values[fields["key"]] = fields["value"]
        note = {"updatedAt": now()}
        if fields.get("description"):
            note["description"] = fields["description"]
        space.notes[which, fields["key"]] = note
    elif request.method == "DELETE":
        values.pop(fields["key"], None)


def _settings(
    state: State, repository: Repository, which: Literal["secrets", "variables"]
) -> dict[str, Any]:
    space = state.space(repository.repo_id)
    values: dict[str, str] = getattr(space, which)
    described = {}
    for name, value in values.items():
        described[name] = {"key": name, **space.notes.get((which, name), {})}
        if which == "variables":
            described[name]["value"] = value
    return described


@route("GET", f"{_SPACE}/logs/{{which}}", "write")
def logs(state: State, request: Request, repository: Repository, which: str) -> Answer:
    """The log so far as server-sent events, one a line."""
    space = state.space(repository.repo_id)
    texts = {"build": space.build_log, "run": space.run_log}
    if which not in texts:
        raise Refusal(404, f"No such log: {which}")
    lines = texts[which].splitlines(keepends=True)
    events = [json.dumps({"data": line, "timestamp": now()}) for line in lines]
    content = "".join(f"data: {event}\n\n" for event in events)
    return Answer(content.encode(), content_type="text/event-stream")
