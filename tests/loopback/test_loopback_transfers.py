"""Folders that go up and come down again, by Xet and by LFS."""

import hashlib
import os
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from client_helpers import finish, run, start
from loopback_hub import BOB, READER, LoopbackHub

REPO = "alice/model"
PUSH = f"""
api.create_repo("{REPO}", exist_ok=True)
answer = api.upload_folder(repo_id="{REPO}", folder_path=folder).oid
"""
PULL = f"""
answer = huggingface_hub.snapshot_download("{REPO}")
"""


@pytest.fixture(params=[True, False], ids=["Xet", "LFS"])
def by_xet(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def served(by_xet: bool, tmp_path: Path) -> Iterator[LoopbackHub]:
    """A Hub with Xet, or one without that takes large files in parts."""
    with LoopbackHub(tmp_path / "hub", xet=by_xet, lfs_part_bytes=400_000) as hub:
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(random.Random(0).randbytes(1_000_000))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Leaves\n")
    (folder / "sub" / "labels.txt").write_text("leaf\nstem\n")
    (folder / "empty.txt").touch()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".gitattributes" and ".cache" not in path.parts
    }


def test_a_folder_comes_back_as_it_was_pushed(
    served: LoopbackHub, by_xet: bool, folder: Path, tmp_path: Path
) -> None:
    commit = run(served, PUSH, folder=folder, home=tmp_path / "a", xet=by_xet)
    assert served.files(REPO) == contents(folder)
    pulled = Path(run(served, PULL, home=tmp_path / "b", xet=by_xet, token=BOB.token))
    assert contents(pulled) == contents(folder)
    assert pulled.name == commit


def test_large_files_go_the_way_that_was_chosen(
    served: LoopbackHub, by_xet: bool, folder: Path, tmp_path: Path
) -> None:
    run(served, PUSH, folder=folder, home=tmp_path / "a", xet=by_xet)
    run(served, PULL, home=tmp_path / "b", xet=by_xet)
    paths = [path for method, path, _ in served.requests if method in ("GET", "PUT")]
    assert any("xet-write-token" in path for path in paths) == by_xet
    assert any("xet-read-token" in path for path in paths) == by_xet
    assert sum("/part/" in path for path in paths) == (0 if by_xet else 3)
    assert any(path.endswith("/model.safetensors") for path in paths) != by_xet


def test_only_what_changed_is_pushed_again(
    served: LoopbackHub, by_xet: bool, folder: Path, tmp_path: Path
) -> None:
    first = run(served, PUSH, folder=folder, home=tmp_path / "a", xet=by_xet)
    assert run(served, PUSH, folder=folder, home=tmp_path / "a", xet=by_xet) == first
    (folder / "sub" / "labels.txt").write_text("root\n")
    seen = len(served.requests)
    second = run(served, PUSH, folder=folder, home=tmp_path / "a", xet=by_xet)
    assert second != first
    assert served.files(REPO) == contents(folder)
    assert not any("/_lfs/" in path for _, path, _ in served.requests[seen:])


@pytest.mark.parametrize("pushed_by_xet", [True, False], ids=["up by Xet", "up by LFS"])
def test_a_file_comes_down_by_the_other_way(
    hub: LoopbackHub, folder: Path, tmp_path: Path, pushed_by_xet: bool
) -> None:
    run(hub, PUSH, folder=folder, home=tmp_path / "a", xet=pushed_by_xet)
    pulled = run(hub, PULL, home=tmp_path / "b", xet=not pushed_by_xet)
    assert contents(Path(pulled)) == contents(folder)


def test_a_second_push_keeps_the_files_of_the_first_in_reach(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    run(hub, PUSH, folder=folder, home=tmp_path / "a")
    (folder / "more.safetensors").write_bytes(random.Random(1).randbytes(300_000))
    run(hub, PUSH, folder=folder, home=tmp_path / "other")
    seen = len(hub.requests)
    assert contents(Path(run(hub, PULL, home=tmp_path / "b"))) == contents(folder)
    downloads = [path for method, path, _ in hub.requests[seen:] if method == "GET"]
    assert not any(path.endswith(".safetensors") for path in downloads)


def test_three_who_push_at_once_all_arrive(
    served: LoopbackHub, by_xet: bool, tmp_path: Path
) -> None:
    run(served, f'answer = api.create_repo("{REPO}").repo_id', home=tmp_path, xet=by_xet)
    processes, expected = [], {}
    for number in range(3):
        folder = tmp_path / f"part-{number}"
        folder.mkdir()
        (folder / f"{number}.safetensors").write_bytes(random.Random(number).randbytes(600_000))
        expected |= contents(folder)
        home = tmp_path / f"home-{number}"
        processes.append(start(served, PUSH, folder=folder, home=home, xet=by_xet))
    for process in processes:
        finish(process)
    assert served.files(REPO) == expected
    assert contents(Path(run(served, PULL, home=tmp_path / "b", xet=by_xet))) == expected


def test_weights_that_a_test_adds_can_be_had_both_ways(hub: LoopbackHub, tmp_path: Path) -> None:
    weights = random.Random(0).randbytes(500_000)
    hub.add_repo("timm/encoder", {"model.safetensors": weights, "config.json": b"{}"})
    pull = 'answer = huggingface_hub.hf_hub_download("timm/encoder", "model.safetensors")'
    for xet in (True, False):
        path = run(hub, pull, home=tmp_path / str(xet), xet=xet, token=READER.token)
        assert Path(path).read_bytes() == weights
    assert sum("xet-read-token" in path for _, path, _ in hub.requests) == 1


PUSH_TWICE = f"""
api.create_repo("{REPO}")
for attempt in range(2):
    try:
        answer = api.upload_folder(repo_id="{REPO}", folder_path=folder).oid
        break
    except RuntimeError:  # Before 2.0 the client itself does not try again.
        continue
"""


def test_an_upload_that_breaks_off_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    with LoopbackHub(tmp_path / "hub", xet=False) as hub:
        hub.fail("PUT /_lfs/", drop_after=500_000)
        run(hub, PUSH_TWICE, folder=folder, home=tmp_path / "a", xet=False)
        assert [status for method, _, status in hub.requests if method == "PUT"] == [0, 200]
        assert hub.files(REPO) == contents(folder)


def test_large_content_must_be_what_its_name_says(hub: LoopbackHub) -> None:
    name = hashlib.sha256(b"right").hexdigest()

    def put(content: bytes) -> None:
        url = f"{hub.endpoint}/_lfs/{name}"
        urllib.request.urlopen(urllib.request.Request(url, data=content, method="PUT")).close()

    with pytest.raises(urllib.error.HTTPError, match="400") as error:
        put(b"wrong")
    error.value.close()
    put(b"right")


def test_nothing_is_written_outside_the_hubs_folder(
    hub: LoopbackHub, folder: Path, tmp_path: Path
) -> None:
    before = set(os.listdir(tmp_path))
    run(hub, PUSH, folder=folder, home=tmp_path / "home")
    assert set(os.listdir(tmp_path)) - {"home"} == before
