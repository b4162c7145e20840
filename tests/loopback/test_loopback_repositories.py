"""Commits, revisions, descriptions and parts of files."""

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RevisionNotFoundError
from loopback_hub import ALICE, LoopbackHub

REPO = "alice/model"


@pytest.fixture
def api(hub: LoopbackHub) -> HfApi:
    hub.add_repo(REPO, {"a.txt": b"one", "sub/b.txt": b"two", "sub/deep/c.txt": b"three"})
    return HfApi(hub.endpoint, ALICE.token)


def send(hub: LoopbackHub, path: str, lines: list[dict], **headers: str) -> bytes:
    """POST lines of JSON as Alice."""
    request = urllib.request.Request(
        f"{hub.endpoint}{path}",
        data="\n".join(map(json.dumps, lines)).encode(),
        headers={"Authorization": f"Bearer {ALICE.token}", **headers},
    )
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def test_a_commit_adds_changes_and_deletes(hub: LoopbackHub, api: HfApi) -> None:
    operations = [
        CommitOperationAdd("a.txt", b"changed"),
        CommitOperationAdd("new.txt", b"new"),
        CommitOperationDelete("sub/"),
    ]
    commit = api.create_commit(REPO, operations, commit_message="Three at once")
    assert hub.files(REPO) == {"a.txt": b"changed", "new.txt": b"new"}
    assert api.model_info(REPO).sha == commit.oid
    titles = [entry.title for entry in api.list_repo_commits(REPO)]
    assert titles == ["Three at once", "Add files", "initial commit"]


def test_a_commit_on_a_branch_that_moved_is_refused(hub: LoopbackHub, api: HfApi) -> None:
    old = api.model_info(REPO).sha

    def commit(content: bytes) -> None:
        operations = [CommitOperationAdd("a.txt", content)]
        api.create_commit(REPO, operations, commit_message="Change", parent_commit=old)

    commit(b"first")
    with pytest.raises(HfHubHTTPError) as error:
        commit(b"second")
    assert error.value.response.status_code == 412


def test_a_commit_with_one_wrong_part_changes_nothing(hub: LoopbackHub, api: HfApi) -> None:
    before = hub.files(REPO)
    missing = {"path": "w.bin", "algo": "sha256", "oid": "0" * 64, "size": 3}
    lines = [
        {"key": "header", "value": {"summary": "Half of it"}},
        {"key": "deletedFile", "value": {"path": "a.txt"}},
        {"key": "lfsFile", "value": missing},
    ]
    with pytest.raises(urllib.error.HTTPError) as error:
        send(hub, f"/api/models/{REPO}/commit/main", lines)
    assert b"does not exist. Offending file: w.bin" in error.value.read()
    assert hub.files(REPO) == before


@pytest.mark.parametrize(
    ("front_matter", "kind"),
    [
        ("license: [", "model"),
        ("- a list", "model"),
        ("model-index: [{name: m}]", "model"),
        ("model-index: [{results: [{task: {type: t}, dataset: {name: d}}]}]", "model"),
        ("sdk: java", "space"),
        ("colorFrom: crimson", "space"),
        (f"short_description: {'long ' * 20}", "space"),
    ],
)
def test_a_readme_that_the_hub_cannot_read_is_refused(
    hub: LoopbackHub, front_matter: str, kind: str
) -> None:
    api = HfApi(hub.endpoint, ALICE.token)
    api.create_repo(REPO, repo_type=kind, space_sdk="gradio" if kind == "space" else None)
    readme = CommitOperationAdd("README.md", f"---\n{front_matter}\n---\n".encode())
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
        api.create_commit(REPO, [readme], commit_message="Wrong", repo_type=kind)
    assert hub.files(REPO, kind) == {}


def test_tags_are_those_of_the_readme(hub: LoopbackHub) -> None:
    card = b"---\nlibrary_name: autoseg\ntags: [leaf]\nlicense: mit\ndatasets: [a/b]\n---\n"
    hub.add_repo(REPO, {"README.md": card, "model.safetensors": b"\0" * 9})
    info = HfApi(hub.endpoint, False).model_info(REPO, files_metadata=True)
    assert {"autoseg", "leaf", "safetensors", "dataset:a/b", "license:mit"} <= set(info.tags)
    assert info.card_data["license"] == "mit"
    (weights,) = [file for file in info.siblings if file.rfilename == "model.safetensors"]
    assert (weights.size, weights.lfs.size) == (9, 9)


def test_a_tree_lists_one_level_or_all(api: HfApi) -> None:
    def paths(**options: object) -> list[str]:
        return [entry.path for entry in api.list_repo_tree(REPO, **options)]

    assert paths() == [".gitattributes", "a.txt", "sub"]
    assert paths(path_in_repo="sub") == ["sub/b.txt", "sub/deep"]
    everything = [".gitattributes", "a.txt", "sub", "sub/b.txt", "sub/deep", "sub/deep/c.txt"]
    assert paths(recursive=True) == everything
    with pytest.raises(EntryNotFoundError):
        paths(path_in_repo="none")


def test_paths_that_are_not_there_are_left_out(api: HfApi) -> None:
    found = api.get_paths_info(REPO, ["sub/b.txt", "none.txt", "sub"], expand=True)
    assert [entry.path for entry in found] == ["sub/b.txt", "sub"]
    assert found[0].last_commit.title == "Add files"


@pytest.mark.parametrize("make", ["create_tag", "create_branch"])
def test_a_name_keeps_the_state_it_was_given_to(hub: LoopbackHub, api: HfApi, make: str) -> None:
    getattr(api, make)(REPO, **{make.removeprefix("create_"): "v1"})
    api.create_commit(REPO, [CommitOperationAdd("a.txt", b"later")], commit_message="Later")
    assert hub.files(REPO, revision="v1")["a.txt"] == b"one"
    assert hub.files(REPO)["a.txt"] == b"later"
    with pytest.raises(HfHubHTTPError) as error:
        getattr(api, make)(REPO, **{make.removeprefix("create_"): "v1"})
    assert error.value.response.status_code == 409


def test_refs_name_branches_and_tags(api: HfApi) -> None:
    api.create_branch(REPO, branch="side")
    api.create_tag(REPO, tag="v1")
    refs = api.list_repo_refs(REPO)
    assert [branch.name for branch in refs.branches] == ["main", "side"]
    assert [tag.name for tag in refs.tags] == ["v1"]
    api.delete_branch(REPO, branch="side")
    api.delete_tag(REPO, tag="v1")
    assert len(api.list_repo_refs(REPO).branches) == 1


def test_a_commit_is_known_by_its_first_characters(api: HfApi) -> None:
    full = api.model_info(REPO).sha
    assert api.model_info(REPO, revision=full[:7]).sha == full
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="f" * 40)


def test_a_data_set_has_a_path_of_its_own(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.add_repo("alice/data", {"images/a.txt": b"pixels"}, repo_type="dataset")
    api = HfApi(hub.endpoint, False)
    path = api.hf_hub_download(
        "alice/data", "images/a.txt", repo_type="dataset", cache_dir=tmp_path
    )
    assert Path(path).read_bytes() == b"pixels"
    assert ("HEAD", "/datasets/alice/data/resolve/main/images/a.txt", 200) in hub.requests


@pytest.mark.parametrize("path", ["a.txt", "large.bin"])
@pytest.mark.parametrize(
    ("asked", "part"), [("bytes=2-4", slice(2, 5)), ("bytes=7-", slice(7, None))]
)
def test_part_of_a_file_can_be_had(hub: LoopbackHub, path: str, asked: str, part: slice) -> None:
    hub.add_repo(REPO, {path: b"0123456789"})
    url = f"{hub.endpoint}/{REPO}/resolve/main/{path}"
    request = urllib.request.Request(url, headers={"Range": asked})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 206
        assert answer.read() == b"0123456789"[part]


def test_a_file_can_be_had_as_git_holds_it(hub: LoopbackHub) -> None:
    hub.add_repo(REPO, {"a.txt": b"text", "large.bin": b"0123456789"})

    def raw(path: str) -> bytes:
        with urllib.request.urlopen(f"{hub.endpoint}/{REPO}/raw/main/{path}") as answer:
            return answer.read()

    assert raw("a.txt") == b"text"
    assert raw("large.bin").endswith(b"\nsize 10\n")


def test_a_slash_at_the_end_changes_nothing(hub: LoopbackHub) -> None:
    """Mirrors ask for the root of a tree with it."""
    hub.add_repo(REPO, {"a.txt": b"a"})
    answers = set()
    for path in (f"/api/models/{REPO}/tree/main", f"/api/models/{REPO}/tree/main/"):
        with urllib.request.urlopen(f"{hub.endpoint}{path}") as answer:
            answers.add(answer.read())
    assert len(answers) == 1
