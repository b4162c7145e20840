import logging
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import huggingface_hub
import pytest
from hub_helpers import connected, jpeg, make_model_folder
from loopback_hub import LoopbackHub

from autoseg.bundle import load_bundle
from autoseg.errors import HubAccessError, HubError, HubNotFoundError, HubUnreachableError
from autoseg.hub.pull import list_models, pull_model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of a model by path."""
    folder = make_model_folder(tmp_path_factory.mktemp("model") / "bundle")
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(params=["xet", "lfs"])
def stocked(request, tmp_path, files):
    """A Hub with one model, by Xet and by plain HTTP."""
    with LoopbackHub(tmp_path / "hub", xet=request.param == "xet") as hub:
        hub.add_repo("alice/leaf", files)
        yield hub


@pytest.fixture
def plain(tmp_path, files):
    """A Hub with one model, by plain HTTP."""
    with LoopbackHub(tmp_path / "hub", xet=False) as hub:
        hub.add_repo("alice/leaf", files)
        yield hub


def downloads(hub):
    return [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


def test_a_pulled_model_is_what_was_pushed_and_can_be_loaded(stocked, files, tmp_path):
    pulled = pull_model("alice/leaf", connected(stocked.endpoint, None, tmp_path))
    found = {p.relative_to(pulled.folder).as_posix(): p for p in pulled.folder.rglob("*")}
    assert {path: found[path].read_bytes() for path in files} == files
    assert not pulled.from_cache
    assert pulled.commit == stocked.repository("alice/leaf").branches["main"]
    assert load_bundle(pulled.folder).info.classes.num_classes == 3


def test_a_second_pull_fetches_nothing(stocked, tmp_path):
    connection = connected(stocked.endpoint, None, tmp_path)
    pull_model("alice/leaf", connection)
    before = len(stocked.requests)
    pull_model("alice/leaf", connection)
    assert not any("/resolve/" in path for _, path, _ in stocked.requests[before:])


def test_only_the_files_of_a_model_are_ever_fetched(plain, files, tmp_path):
    odd = {
        "pytorch_model.bin": b"\x80\x04.",
        "modeling_evil.py": b"import os",
        "other.safetensors": b"x",
        "examples/run.py": b"x",
        "examples/.hidden.jpg": jpeg(),
        "examples/deep/in.jpg": jpeg(),
        ".env": b"x",
    }
    plain.add_repo("alice/leaf", odd)
    pulled = pull_model("alice/leaf", connected(plain.endpoint, None, tmp_path))
    found = {p.relative_to(pulled.folder).as_posix() for p in pulled.folder.rglob("*.*")}
    assert found == set(files)
    assert not any(path.endswith(tuple(odd)) for path in downloads(plain))


@pytest.mark.parametrize(
    ("repo_files", "says"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"\x80\x04."}, "a pickle, which can run any"),
        (
            {"config.json": b"{}", "model.safetensors.index.json": b"{}"},
            "split over several files",
        ),
        ({"README.md": b"x"}, "has no model.safetensors"),
        ({"model.safetensors": b"x"}, "has no config.json"),
    ],
)
def test_a_repository_without_a_model_is_refused_with_the_reason(plain, repo_files, says, tmp_path):
    plain.add_repo("alice/odd", repo_files)
    with pytest.raises(HubNotFoundError, match=says):
        pull_model("alice/odd", connected(plain.endpoint, None, tmp_path))
    assert downloads(plain) == []


def test_a_file_too_large_for_its_kind_is_refused_before_it_is_fetched(plain, files, tmp_path):
    plain.add_repo("alice/leaf", {"config.json": b" " * 1_000_001})
    with pytest.raises(HubError, match="config.json of alice/leaf has 1 MB, but .* at most 1 MB"):
        pull_model("alice/leaf", connected(plain.endpoint, None, tmp_path))
    assert downloads(plain) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a\\..\\x", "a//b", "a\nb"])
def test_a_path_that_leads_out_of_the_folder_is_refused(plain, path, tmp_path):
    entry = {"type": "file", "oid": "0" * 40, "size": 1, "path": path}
    plain.fail("paths-info", status=200, body=[entry])
    with pytest.raises(HubError, match="leads out of its folder"):
        pull_model("alice/leaf", connected(plain.endpoint, None, tmp_path))
    assert downloads(plain) == []


def test_what_does_not_fit_on_the_disk_is_refused_before_it_is_fetched(
    plain, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2_000_000))
    with pytest.raises(HubError, match="takes 3 MB, but the disk of .* has 2 MB left"):
        pull_model("alice/leaf", connected(plain.endpoint, None, tmp_path))
    assert downloads(plain) == []


@pytest.mark.parametrize("revision", ["v1", "exp", "FULL", "SHORT"])
def test_a_revision_can_be_a_tag_a_branch_or_a_commit(plain, files, revision, tmp_path):
    repository = plain.repository("alice/leaf")
    first = repository.branches["main"]
    repository.tags["v1"] = repository.branches["exp"] = first
    plain.add_repo("alice/leaf", {"README.md": b"---\n---\nnewer"})
    revision = {"FULL": first, "SHORT": first[:8]}.get(revision, revision)
    connection = connected(plain.endpoint, None, tmp_path)
    pulled = pull_model("alice/leaf", connection, revision=revision)
    assert pulled.commit == first
    assert (pulled.folder / "README.md").read_bytes() == files["README.md"]
    plain.close()
    offline = pull_model("alice/leaf", connection, revision=revision)
    assert (offline.commit, offline.folder) == (first, pulled.folder)


@pytest.mark.alone
def test_without_the_hub_the_last_copy_is_found_quickly(stocked, files, tmp_path, caplog):
    connection = connected(stocked.endpoint, None, tmp_path)
    pulled = pull_model("alice/leaf", connection)
    stocked.close()
    start = time.monotonic()
    again = pull_model("alice/leaf", connection)
    assert time.monotonic() - start < 3
    assert again.from_cache and again.folder == pulled.folder
    assert "cannot be reached; check the network. The copy" in caplog.text
    assert (again.folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    short = pull_model("alice/leaf", connection, revision=pulled.commit[:7])
    assert short.commit == pulled.commit


@pytest.mark.alone
def test_a_failing_hub_is_as_good_as_none_once_a_model_was_pulled(plain, tmp_path):
    connection = connected(plain.endpoint, None, tmp_path)
    pull_model("alice/leaf", connection)
    plain.fail("GET .*leaf", times=99, status=503)
    start = time.monotonic()
    assert pull_model("alice/leaf", connection).from_cache
    assert time.monotonic() - start < 3


def test_offline_mode_works_from_the_cache_without_a_word(plain, tmp_path, monkeypatch, caplog):
    connection = connected(plain.endpoint, None, tmp_path)
    pull_model("alice/leaf", connection)
    before = len(plain.requests)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with caplog.at_level(logging.WARNING):
        assert pull_model("alice/leaf", connection).from_cache
    assert caplog.text == ""
    assert len(plain.requests) == before


def test_what_was_never_pulled_cannot_be_had_offline(plain, tmp_path):
    connection = connected(plain.endpoint, None, tmp_path)
    pull_model("alice/leaf", connection)
    plain.close()
    with pytest.raises(HubUnreachableError, match="cannot be reached"):
        pull_model("alice/leaf", connection, revision="v2")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "", HubAccessError),
        (403, "GatedRepo", HubAccessError),
        (404, "RepoNotFound", HubError),
    ],
)
def test_a_refusal_is_no_reason_to_use_the_cache(plain, status, code, kind, tmp_path):
    """Whoever lost the right to a model should learn of it."""
    connection = connected(plain.endpoint, "hf_alice", tmp_path)
    pull_model("alice/leaf", connection)
    plain.fail("GET .*leaf", status=status, headers={"X-Error-Code": code})
    with pytest.raises(kind):
        pull_model("alice/leaf", connection)


@pytest.mark.parametrize("token", [None, "hf_bob"])
def test_a_gated_model_in_the_cache_is_for_those_with_access_only(plain, files, token, tmp_path):
    plain.add_repo("alice/gated", files, gated=True)
    pull_model("alice/gated", connected(plain.endpoint, "hf_alice", tmp_path))
    with pytest.raises(HubAccessError, match="alice/gated opens on request only"):
        pull_model("alice/gated", connected(plain.endpoint, token, tmp_path))


def test_guests_get_no_copy_of_a_model_that_the_hub_does_not_grant(plain, files, tmp_path):
    plain.add_repo("alice/own", files, private=True)
    alice = connected(plain.endpoint, "hf_alice", tmp_path)
    commit = pull_model("alice/own", alice).commit
    plain.fail(".*", times=10_000, status=503, headers={"Retry-After": "1000"})
    assert pull_model("alice/own", alice).from_cache
    for revision in (None, commit):
        with pytest.raises(HubUnreachableError):
            pull_model(
                "alice/own",
                connected(plain.endpoint, None, tmp_path),
                revision=revision,
                use_cache=False,
            )


def test_a_file_that_arrives_damaged_is_fetched_once_more(plain, files, tmp_path):
    plain.fail("GET .*model.safetensors", times=1, corrupt=True)
    pulled = pull_model("alice/leaf", connected(plain.endpoint, None, tmp_path))
    assert (pulled.folder / "model.safetensors").read_bytes() == files["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_arrives_damaged_twice_is_an_error_and_not_kept(plain, name, tmp_path):
    plain.fail(f"GET .*{name}", times=2, corrupt=True)
    connection = connected(plain.endpoint, None, tmp_path)
    with pytest.raises(HubError, match=f"{name} of alice/leaf arrived damaged twice"):
        pull_model("alice/leaf", connection)
    assert load_bundle(pull_model("alice/leaf", connection).folder)


def test_a_transfer_that_was_cut_goes_on(plain, files, tmp_path):
    plain.fail("GET .*model.safetensors", times=1, truncate=1_000_000)
    pulled = pull_model("alice/leaf", connected(plain.endpoint, None, tmp_path))
    assert (pulled.folder / "model.safetensors").read_bytes() == files["model.safetensors"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_copy_damaged_in_the_cache_is_noticed(stocked, files, name, tmp_path):
    """Mended where the Hub is there, refused where it is not."""
    connection = connected(stocked.endpoint, None, tmp_path)
    file = pull_model("alice/leaf", connection).folder / name
    damage(file)
    assert (pull_model("alice/leaf", connection).folder / name).read_bytes() == files[name]
    damage(file)
    stocked.close()
    with pytest.raises(HubError, match=f"{name} of alice/leaf is damaged in the cache"):
        pull_model("alice/leaf", connection)


def damage(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_pull_that_broke_off_leaves_the_older_copy_for_offline_use(plain, files, tmp_path):
    connection = connected(plain.endpoint, None, tmp_path)
    older = pull_model("alice/leaf", connection)
    plain.add_repo("alice/leaf", {"model.safetensors": files["model.safetensors"] + b"\0"})
    plain.fail("GET .*model.safetensors", times=2, corrupt=True)
    with pytest.raises(HubError, match="damaged twice"):
        pull_model("alice/leaf", connection)
    plain.close()
    assert pull_model("alice/leaf", connection).commit == older.commit


def test_progress_reaches_the_whole_and_never_exceeds_it(stocked, files, tmp_path):
    told = []
    pull_model(
        "alice/leaf",
        connected(stocked.endpoint, None, tmp_path),
        on_progress=lambda done, total: told.append((done, total)),
    )
    whole = sum(map(len, files.values()))
    assert {total for _, total in told} == {whole}
    assert max(done for done, _ in told) == told[-1][0] == whole


@pytest.mark.parametrize("repo_id", ["leaf", "../leaf", "alice/leaf@main", "a/b/c"])
def test_a_name_that_is_none_is_refused_unasked(plain, repo_id, tmp_path):
    with pytest.raises(HubError, match="write owner/name"):
        pull_model(repo_id, connected(plain.endpoint, None, tmp_path))
    assert plain.requests == []


@pytest.mark.parametrize("revision", ["../../x", "a b", "-x"])
def test_a_revision_that_is_none_is_refused_unasked(plain, revision, tmp_path):
    with pytest.raises(HubError, match="no name of a branch, tag or commit"):
        pull_model("alice/leaf", connected(plain.endpoint, None, tmp_path), revision=revision)
    assert plain.requests == []


@pytest.mark.slow
def test_three_processes_pull_the_same_model_at_once(hub, files, tmp_path):
    hub.add_repo("alice/leaf", files)
    code = (
        "import sys; from autoseg.hub.connection import connect;"
        "from autoseg.hub.pull import pull_model; print(pull_model('alice/leaf', connect()).folder)"
    )
    environment = hub.environment(tmp_path / "home")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    folders = {process.communicate()[0].strip() for process in processes}
    assert all(process.returncode == 0 for process in processes)
    (folder,) = folders
    assert load_bundle(folder)


def test_models_of_autoseg_are_listed_with_those_the_token_may_see(plain, files, tmp_path):
    plain.add_repo("alice/own", files, private=True)
    plain.add_repo("bob/leaf", files)
    plain.add_repo("alice/other", {"README.md": b"---\ntags: [timm]\n---\n"})

    def listed(token, **options):
        connection = connected(plain.endpoint, token, tmp_path)
        return {entry.repo_id for entry in list_models(connection, **options)}

    assert listed(None) == {"alice/leaf", "bob/leaf"}
    assert listed("hf_alice") == {"alice/leaf", "alice/own", "bob/leaf"}
    assert listed("hf_alice", author="alice") == {"alice/leaf", "alice/own"}
    assert listed("hf_alice", query="own") == {"alice/own"}
    assert len(listed("hf_alice", limit=1)) == 1


def test_a_listed_model_says_whether_it_is_private_and_when_it_changed(plain, files, tmp_path):
    plain.add_repo("alice/own", files, private=True)
    entries = list_models(connected(plain.endpoint, "hf_alice", tmp_path), query="own")
    assert entries[0].private and "autoseg" in entries[0].tags
    assert entries[0].updated_at.endswith("+00:00") and entries[0].downloads == 0
