"""Every row of the table of failures: one sentence, the right error, and no token anywhere."""

import errno
import itertools
import json
import logging
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from hub_helpers import connected, make_model_folder, shown_by
from loopback_hub import LoopbackHub

from autoseg.errors import (
    HubAccessError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
)
from autoseg.hub.connection import Connection, sign_in
from autoseg.hub.failures import explain, explained
from autoseg.hub.pull import list_models, pull_model
from autoseg.hub.push import PushOptions, plan_push, push

# huggingface_hub itself calls its HTTP client so as it uploads by LFS.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NOW = {"Retry-After": "0"}
LATER = {"RateLimit": '"api";r=0;t=4000', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
FRESH = itertools.count()
WORDS = {"error": "Private repository storage limit reached"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model_folder(tmp_path_factory.mktemp("model") / "bundle")


@dataclass
class Case:
    """One way to fail."""

    name: str
    do: Callable[[Connection, Path], Any]
    kind: type[HubError]
    says: str
    fault: dict[str, Any] = field(default_factory=dict)
    token: str | None = "hf_alice"


def signing_in(connection, model):
    sign_in(connection)


def pushing(connection, model, repo_id="", **options):
    repo_id = repo_id or f"alice/leaf-{next(FRESH)}"
    push(plan_push(model, repo_id, connection, PushOptions(**options)), connection)


def pulling(connection, model, repo_id="alice/old", revision=None):
    pull_model(repo_id, connection, revision=revision)


def to(repo_id, **options):
    return lambda connection, model: pushing(connection, model, repo_id, **options)


def of(repo_id, revision=None):
    return lambda connection, model: pulling(connection, model, repo_id, revision)


def fault(match, times=99, **how):
    return {"match": match, "times": times, **how}


CASES = [
    Case("no token", signing_in, HubAccessError, "hf auth login", token=None),
    Case("wrong token", signing_in, HubAccessError, "make a new one", token="hf_wrong123"),
    Case("wrong token, push", pushing, HubAccessError, "make a new one", token="hf_wrong123"),
    Case("wrong token, pull", pulling, HubAccessError, "make a new one", token="hf_wrong123"),
    Case("token to read", pushing, HubAccessError, "may only read", token="hf_reader"),
    Case("token without this right", pushing, HubAccessError, "that right", token="hf_scoped"),
    Case("another's name", to("bob/leaf"), HubAccessError, "push to alice/leaf or lab/leaf"),
    Case("read-only organisation", to("club/leaf"), HubAccessError, "may not write to club"),
    Case("no repository's name", to("alice/le af"), HubError, "write owner/name"),
    Case("no branch's name", to("alice/leaf", revision="a b"), HubError, "no name for a branch"),
    Case("unknown repository", of("alice/none"), HubNotFoundError, "no model alice/none"),
    Case("unknown, anonymous", of("alice/none"), HubNotFoundError, "no public model", token=None),
    Case("private, anonymous", of("alice/own"), HubNotFoundError, "sign in if it is", token=None),
    Case("unknown revision", of("alice/old", "v9"), HubNotFoundError, "no branch, tag or commit"),
    Case("no model inside", of("alice/text"), HubNotFoundError, "has no model.safetensors"),
    Case("only a pickle", of("alice/pickle"), HubNotFoundError, "can run any code"),
    Case("gated", of("bob/gated"), HubAccessError, "ask for access at http"),
    Case("gated, anonymous", of("bob/gated"), HubAccessError, "sign in with", token=None),
    Case(
        "disabled", pulling, HubAccessError, "has disabled",
        fault("GET .*/old", status=403,
              headers={"X-Error-Message": "Access to this resource is disabled."}),
    ),
    Case(
        "file gone", pulling, HubNotFoundError, "has no file 'config.json'",
        fault("HEAD .*config.json", status=404, headers={"X-Error-Code": "EntryNotFound"}),
    ),
    Case(
        "too many requests", signing_in, HubUnreachableError, "try again in 67 minutes",
        fault("whoami", status=429, headers=LATER),
    ),
    Case(
        "too many requests inside of the client", pushing, HubUnreachableError,
        "try again in 67 minutes", fault("preupload", status=429, headers=LATER),
    ),
    Case(
        "too many commits", pushing, HubUnreachableError, "try again in 67 minutes",
        fault("POST .*/commit/", status=429, headers=LATER),
    ),
    Case(
        "too many requests, no time given", signing_in, HubUnreachableError, "in a few minutes",
        fault("whoami", status=429, headers={"Retry-After": "0"}),
    ),
    Case(
        "fault of the Hub", signing_in, HubUnreachableError, "fault of its own .status 503",
        fault("whoami", status=503, headers=NOW),
    ),
    Case(
        "fault of the Hub at creation", pushing, HubUnreachableError, "fault of its own",
        fault("repos/create", status=500, headers=NOW),
    ),
    Case(
        "quota", pushing, HubAccessError, "storage limit reached",
        fault("POST .*/commit/", status=403, body=WORDS),
    ),
    Case(
        "too large", pushing, HubAccessError, "storage that the Hub grants is used up",
        fault("POST .*/commit/", status=413),
    ),
    Case(
        "Xet refused for quota", pushing, HubAccessError, "storage limit reached",
        fault("xet-write-token", status=403, body=WORDS),
    ),
    Case(
        "Xet refused for a download", of("alice/fresh"), HubAccessError, "no right",
        fault("xet-read-token", status=403),
    ),
    Case(
        "must be paid", pushing, HubAccessError, "wants a paid plan .*pricing",
        fault("repos/create", status=402, body={"error": "Payment required"}),
    ),
    Case(
        "creation forbidden", pushing, HubAccessError, "no right",
        fault("repos/create", status=403, body={"error": "Forbidden for you"}),
    ),
    Case(
        "refused for another reason", pushing, HubError, "refuses it .status 422: Too odd",
        fault("POST .*/commit/", status=422, body={"error": "Too odd"}),
    ),
    Case(
        "token echoed by the Hub", pushing, HubAccessError, r"who is hf_\*\*\*",
        fault("POST .*/commit/", status=403, body={"error": "who is hf_alice?"}),
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory, model):
    """A Hub with repositories to fail at, for all cases: Xet takes half a second to set up."""
    files = {
        "config.json": (model / "config.json").read_bytes(),
        "model.safetensors": (model / "model.safetensors").read_bytes(),
    }
    with LoopbackHub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_repo("alice/old", files)
        hub.add_repo("alice/fresh", files)  # The client keeps Xet's tokens by repository.
        hub.add_repo("alice/own", files, private=True)
        hub.add_repo("bob/gated", files, gated=True)
        hub.add_repo("alice/text", {"README.md": b"hello"})
        hub.add_repo("alice/pickle", {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04."})
        yield hub


@pytest.fixture
def stocked(shared_hub):
    yield shared_hub
    shared_hub.heal()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_failure_is_one_sentence_without_a_token(case, stocked, model, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    if case.fault:
        stocked.fail(**case.fault)
    connection = connected(stocked.endpoint, case.token, tmp_path)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(HubError, match=case.says) as caught:
            case.do(connection, model)
    assert type(caught.value) is case.kind
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and len(text) < 500
    printed = capfd.readouterr()
    seen = [shown_by(caught.value), caplog.text, printed.out, printed.err]
    seen += [str(warning.message) for warning in warned]
    if case.token is not None:
        assert case.token not in "\n".join(seen)
    assert caught.value.__cause__ is None and caught.value.__context__ is None


PASSING = [
    ("too many requests once", fault("POST .*/commit/", 1, status=429, headers=NOW)),
    ("too many requests, inside", fault("preupload", 1, status=429, headers=NOW)),
    ("fault at the commit", fault("POST .*/commit/", 1, status=503, headers=NOW)),
    ("fault at the creation", fault("repos/create", 1, status=502, headers=NOW)),
    ("line cut at the commit", fault("POST .*/commit/", 1, drop_after=10)),
    ("line cut before the creation", fault("repos/create", 1, drop_after=0)),
    ("answer to the commit lost", fault("POST .*/commit/", 1, lose_answer=True)),
    ("answer to the creation lost", fault("repos/create", 1, lose_answer=True)),
    ("answer to the tag lost", fault("POST .*/tag/", 1, lose_answer=True)),
    ("Xet token at the second request", fault("xet-write-token", 1, status=503, headers=NOW)),
    ("no Xet after all", fault("xet-write-token", 1, status=404)),
]


@pytest.mark.parametrize("how", [how for _, how in PASSING], ids=[name for name, _ in PASSING])
def test_what_passes_is_waited_out_and_pushed_once(how, stocked, model, tmp_path):
    stocked.fail(**how)
    connection = connected(stocked.endpoint, "hf_alice", tmp_path)
    repo_id = f"alice/leaf-{next(FRESH)}"
    pushed = push(plan_push(model, repo_id, connection, PushOptions(tag="v1")), connection)
    weights = stocked.files(repo_id)["model.safetensors"]
    assert weights == (model / "model.safetensors").read_bytes()
    repository = stocked.repository(repo_id)
    assert repository.branches["main"] == repository.tags["v1"] == pushed.commit
    assert len(repository.commits) == 2  # The first holds .gitattributes only.


def test_an_endpoint_that_is_down_is_told_within_seconds(hub, tmp_path):
    connection = connected(hub.endpoint, "hf_alice", tmp_path)
    hub.close()
    with pytest.raises(HubUnreachableError, match="cannot be reached; check the network"):
        list_models(connection)


def test_offline_mode_is_named(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachableError, match="unset HF_HUB_OFFLINE"):
        sign_in(connected(hub.endpoint, "hf_alice", tmp_path))
    assert hub.requests == []


def test_a_card_that_the_hub_refuses_is_told_before_the_upload(hub, model, tmp_path):
    folder = make_model_folder(tmp_path / "bundle")
    (folder / "README.md").write_text("---\ntags: [autoseg\n---\n")
    with pytest.raises(HubError, match="head of README.md .*between the two"):
        plan_push(folder, "alice/leaf", connected(hub.endpoint, "hf_alice", tmp_path))
    assert not any(method == "POST" and "repos" in path for method, path, _ in hub.requests)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/data/blob"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/data/blob"),
        RuntimeError("Data processing error: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_as_such_whoever_finds_it(error, tmp_path):
    failure = explain(error, connected("http://hub", None, tmp_path), "Pulling a/b", "a/b")
    assert type(failure) is HubError
    assert "is full; free some space" in str(failure)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (ConnectionError("Network error: Request error: HTTP status client error (403 Forbidden), "
                         "domain: http://hub/xet-write-token/main"), HubAccessError, "no right"),
        (ConnectionError("Server error: Request error: HTTP status server error (503 Service "
                         "Unavailable), domain: http://hub"), HubUnreachableError, "status 503"),
        (ConnectionError("Network error: dns error"), HubUnreachableError, "broke off"),
        (TimeoutError("timed out"), HubUnreachableError, "took too long"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), HubError, "/x cannot be used"),
        (RuntimeError("odd\nthing with hf_alice"), HubError, r"odd thing with hf_\*\*\*\."),
    ],
)  # fmt: skip
def test_what_other_libraries_raise_is_explained_too(error, kind, says, tmp_path):
    connection = connected("http://hub", "hf_alice", tmp_path)
    with pytest.raises(kind, match=says) as caught, explained(connection, "Pushing to a/b", "a/b"):
        raise error
    assert type(caught.value) is kind
    assert "hf_alice" not in shown_by(caught.value)


@pytest.mark.parametrize("answer", [[], {}, {"id": 3}, {"id": "a/b", "siblings": [1]}, "x"])
def test_an_answer_of_another_form_is_told_as_not_the_hubs(hub, answer, tmp_path):
    hub.fail("GET .*alice/leaf", status=200, body=answer)
    with pytest.raises(HubError, match="is not the Hub|names no commit"):
        pull_model("alice/leaf", connected(hub.endpoint, "hf_alice", tmp_path))


@pytest.mark.parametrize("error", [KeyError("url"), TypeError("x"), AttributeError("x")])
def test_a_bug_of_ours_is_not_taken_for_a_fault_of_the_hub(error, tmp_path):
    connection = connected("http://hub", "hf_alice", tmp_path)
    with pytest.raises(type(error)), explained(connection, "Pushing to a/b", "a/b"):
        raise error


@pytest.mark.parametrize(
    "token",
    ["hf_AbCdEf123456", "hf_oauth_AbC.dEf-12_3", "hf_jwt_eyJh.eyJz.s-_g", "api_org_AbCdEf123"],
)
def test_tokens_of_every_kind_are_masked(token, tmp_path):
    connection = connected("http://hub", None, tmp_path)
    text = str(explain(RuntimeError(f"with {token}."), connection, "Pushing to a/b"))
    assert re.search(r"with (hf|api_org)_\*\*\*\.$", text)


def test_the_true_cause_is_found_behind_what_wraps_it(tmp_path):
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as cause:
            raise RuntimeError("Error while uploading 'model.safetensors' to the Hub.") from cause
    except RuntimeError as error:
        failure = explain(error, connected("http://hub", None, tmp_path), "Pushing to a/b", "a/b")
    assert "is full" in str(failure)


WITHOUT_XET = """
import json, sys
from pathlib import Path
from autoseg.errors import HubError
from autoseg.hub.connection import connect
from autoseg.hub.push import plan_push, push
from autoseg.hub.pull import pull_model
connection = connect()
told = []
for repo_id in sys.argv[2:]:
    try:
        plan = plan_push(Path(sys.argv[1]), repo_id, connection)
        push(plan, connection, on_progress=lambda done, total: told.append((done, total)))
        print(json.dumps(["pushed", told[-1], len(told)]))
    except HubError as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


def test_without_xet_the_same_failures_are_told(hub, model, tmp_path):
    """In a process of its own, for the client reads its switch as it is imported."""
    shutil.copytree(model, tmp_path / "model", ignore=shutil.ignore_patterns("examples"))
    hub.fail("lfs/objects/batch", times=1, status=403, body=WORDS)
    hub.fail("PUT .*lfs", times=1, status=507)
    hub.fail("PUT .*lfs", times=1, drop_after=1_000_000)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_XET, tmp_path / "model", "alice/a", "alice/b", "alice/c"],
        env=hub.environment(tmp_path / "home", "hf_alice", xet=False),
        capture_output=True,
        text=True,
        check=True,
    )
    refused, full, passed = map(json.loads, done.stdout.splitlines())
    assert refused[0] == "HubAccessError" and "storage limit reached" in refused[1]
    assert full[0] == "HubUnreachableError" and "own storage is full" in full[1]
    assert passed[0] == "pushed"
    assert passed[1][0] == passed[1][1] > 3_000_000 and passed[2] > 3
    assert "hf_alice" not in done.stdout + done.stderr
