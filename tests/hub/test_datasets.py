"""Data sets from the loopback Hub."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_hub import LoopbackHub
from workspace_helpers import write_records

from autoseg.config import SearchConfig
from autoseg.data.columns import Columns
from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.errors import (
    ConfigError,
    DatasetError,
    HubAccessError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
)
from autoseg.hub import datasets
from autoseg.hub.connection import Connection, connect
from autoseg.hub.datasets import fetch_dataset, is_hub_dataset, origin_of
from autoseg.hub.origins import DatasetName, class_names_of, parse_dataset, read_card
from autoseg.sources import local_source
from autoseg.workspace import Workspace

CARD = b"""---
license: cc-by-4.0
dataset_info:
  features:
  - name: image
    dtype: image
  - name: mask
    sequence:
      class_label:
        names:
          '0': soil
          '1': green
---
# Leaves
"""

MORE_NAMES = b"""'1': green
          '2': sky
          '3': sea
          '4': sun"""


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample_dataset(tmp_path_factory.mktemp("photos") / "set", 6, size=(48, 64))


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def zipped(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return data.getvalue()


def shard(folder: Path) -> bytes:
    """The pairs of a folder as a table."""
    names = sorted(path.stem for path in (folder / "images").iterdir())
    table = {
        role: [
            {"bytes": next((folder / f"{role}s").glob(f"{name}.*")).read_bytes(), "path": None}
            for name in names
        ]
        for role in ("image", "mask")
    }
    data = io.BytesIO()
    pq.write_table(pa.table(table), data)
    return data.getvalue()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def alice(hub: LoopbackHub, tmp_path: Path, home: Path) -> Connection:
    return connect("hf_alice", endpoint=hub.endpoint, cache_dir=tmp_path / "cache")


@pytest.fixture
def anybody(hub: LoopbackHub, tmp_path: Path, home: Path) -> Connection:
    return connect(endpoint=hub.endpoint, cache_dir=tmp_path / "cache", saved_login=False)


@pytest.fixture
def leaves(hub: LoopbackHub, photos: Path) -> dict[str, bytes]:
    """A public data set of images and masks."""
    files = {
        **contents(photos),
        "README.md": CARD,
        "load.py": b"raise SystemExit",
        "notes.md": b"x",
    }
    hub.add_repo("alice/leaves", files, repo_type="dataset")
    return files


@pytest.fixture
def offline(hub: LoopbackHub) -> Iterator[None]:
    hub.fail(".*", times=10_000, status=503)
    yield
    hub.heal()


def downloads(hub: LoopbackHub) -> list[str]:
    return [path for method, path, _ in hub.requests if method == "GET" and "/resolve/" in path]


# Names.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf://alice/leaves", DatasetName("alice/leaves")),
        ("hf://datasets/alice/leaves", DatasetName("alice/leaves")),
        ("hf://alice/leaves@v1.0", DatasetName("alice/leaves", "v1.0")),
        ("hf://alice/leaves@v1/sub/folder/", DatasetName("alice/leaves", "v1", "sub/folder")),
        ("hf://alice/leaves/sub", DatasetName("alice/leaves", None, "sub")),
        (
            "hf://alice/leaves@refs/convert/parquet/default",
            DatasetName("alice/leaves", "refs/convert/parquet", "default"),
        ),
        ("hf://alice/leaves@my%2Fbranch/a", DatasetName("alice/leaves", "my/branch", "a")),
        (
            "hf://alice/leaves?image=a&mask=b c",
            DatasetName("alice/leaves", columns=Columns("a", "b c")),
        ),
        ("https://huggingface.co/datasets/alice/leaves", DatasetName("alice/leaves")),
        (
            "https://huggingface.co/datasets/alice/leaves/tree/main/my%20data",
            DatasetName("alice/leaves", "main", "my data"),
        ),
        ("https://hf.co/datasets/alice/leaves/viewer/default/train", DatasetName("alice/leaves")),
        ("http://127.0.0.1:9/datasets/alice/leaves", DatasetName("alice/leaves")),
    ],
)  # fmt: skip
def test_a_name_is_read_as_the_hub_writes_it(text, name):
    assert is_hub_dataset(text)
    assert parse_dataset(f" {text} ", endpoint="http://127.0.0.1:9") == name


@pytest.mark.parametrize(
    "text",
    [
        "hf://leaves", "hf://alice/", "hf://alice/leaves@", "hf://spaces/alice/leaves",
        "hf://models/alice/leaves", "hf://alice/leaves/../other", "hf://alice/..",
        "hf://alice/leaves/a//b", "hf://alice/leaves\\x", "https://huggingface.co/alice/leaves",
        "https://example.org/datasets/alice/leaves", "https://[", "hf://al ice/leaves",
        "hf://alice/le--aves",
    ],
)  # fmt: skip
def test_what_names_no_data_set_is_refused_with_the_form(text):
    with pytest.raises(ConfigError, match="hf://owner/name"):
        parse_dataset(text)


# Layouts.


def test_a_folder_is_read_where_the_cache_has_it(hub, leaves, alice, photos, tmp_path):
    folder = fetch_dataset("hf://alice/leaves", alice)
    assert (tmp_path / "cache") in folder.parents
    dataset, there = check_dataset(folder), check_dataset(photos)
    assert dataset.fingerprint == there.fingerprint
    assert dataset.verdict.skipped_count == there.verdict.skipped_count == 0
    assert not {"load.py", "notes.md"} & set(os.listdir(folder))


def test_a_part_of_a_repository_is_fetched_alone(hub, alice, photos):
    files = {f"{part}/{path}": data for part in "ab" for path, data in contents(photos).items()}
    hub.add_repo("alice/two", files, repo_type="dataset")
    folder = fetch_dataset("hf://alice/two/b", alice)
    assert folder.name == "b" and len(check_dataset(folder)) == 6
    assert not [path for path in downloads(hub) if "/a/" in path]
    assert origin_of(folder).repo_id == "alice/two"


@pytest.mark.parametrize("top", ["", "my set/"])
def test_a_zip_is_unpacked(hub, alice, photos, home, top):
    packed = zipped({top + path: data for path, data in contents(photos).items()})
    hub.add_repo("alice/zip", {"data.zip": packed, "README.md": CARD}, repo_type="dataset")
    folder = fetch_dataset("hf://alice/zip", alice)
    assert home in folder.parents
    assert check_dataset(folder).fingerprint == check_dataset(photos).fingerprint
    assert fetch_dataset("hf://alice/zip", alice) == folder
    assert fetch_dataset("hf://alice/zip/data.zip", alice) != folder
    assert origin_of(folder).licence == "cc-by-4.0"


def test_zips_of_images_and_masks_belong_together(hub, alice, photos):
    files = contents(photos)
    parts = {
        f"{role}.zip": zipped({p: d for p, d in files.items() if p.startswith(role)})
        for role in ("images", "masks")
    }
    classes = {"classes.txt": files["classes.txt"]}
    hub.add_repo("alice/zips", {**parts, **classes}, repo_type="dataset")
    dataset = check_dataset(fetch_dataset("hf://alice/zips", alice))
    assert len(dataset) == 6 and dataset.classes == check_dataset(photos).classes


def test_parquet_files_are_unpacked(hub, alice, photos, home):
    files = {
        "data/train-00000-of-00001.parquet": shard(photos),
        "README.md": CARD.replace(b"'1': green", MORE_NAMES),
        "preview.png": next((photos / "images").iterdir()).read_bytes(),
    }
    hub.add_repo("alice/table", files, repo_type="dataset")
    folder = fetch_dataset("hf://alice/table", alice)
    dataset = check_dataset(folder)
    assert home in folder.parents and len(dataset) == 6
    assert {sample.split for sample in dataset.samples} == {"train"}
    assert dataset.classes.names == ("soil", "green", "sky", "sea", "sun")
    assert str(origin_of(folder)).startswith("alice/table at ")
    assert not [path for path in downloads(hub) if "preview" in path]


def test_columns_are_chosen_in_the_name(hub, alice, photos):
    hub.add_repo("alice/table", {"a.parquet": shard(photos)}, repo_type="dataset")
    plain = fetch_dataset("hf://alice/table", alice)
    chosen = fetch_dataset("hf://alice/table?image=image&mask=mask", alice)
    assert plain != chosen
    assert check_dataset(plain).fingerprint == check_dataset(chosen).fingerprint
    with pytest.raises(DatasetError, match="alice/table has no column 'sky'"):
        fetch_dataset("hf://alice/table?image=image&mask=sky", alice)


def test_a_repository_without_data_says_what_it_holds(hub, alice):
    hub.add_repo("alice/script", {"load.py": b"1", "x.tar": b"2"}, repo_type="dataset")
    with pytest.raises(DatasetError, match=r"1 \.py, 1 \.tar.*alice/script@refs/convert/parquet"):
        fetch_dataset("hf://alice/script", alice)


def test_without_xet_the_same_comes_by_plain_http(tmp_path, photos, home):
    with LoopbackHub(tmp_path / "plain", xet=False) as hub:
        hub.add_repo("alice/table", {"a.parquet": shard(photos)}, repo_type="dataset")
        connection = connect("hf_alice", endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
        assert len(check_dataset(fetch_dataset("hf://alice/table", connection))) == 6


# Where it came from.


def test_the_copy_knows_where_it_came_from(hub, leaves, alice):
    origin = origin_of(fetch_dataset("hf://alice/leaves", alice))
    commit = hub.repository("alice/leaves", "dataset").found_commit("main").oid
    assert (origin.repo_id, origin.revision, origin.licence) == (
        "alice/leaves",
        commit,
        "cc-by-4.0",
    )
    assert str(origin) == f"alice/leaves at {commit[:7]}"


def test_any_other_folder_has_no_origin(photos, tmp_path):
    assert origin_of(photos) is None
    assert origin_of(tmp_path / "datasets--a--b" / "snapshots" / "main") is None


@pytest.mark.parametrize(
    ("head", "licence"),
    [
        ("license: mit", "mit"),
        ("license:\n- cc-by-4.0\n- mit", "cc-by-4.0, mit"),
        ("license: other\nlicense_name: my-terms", "my-terms"),
        ("license: 3", None),
        ("license: [a: {b: ]", None),
        ("- a list", None),
        ("x: " + "[" * 5000, None),
    ],
)
def test_the_licence_is_what_the_card_names(tmp_path, head, licence):
    folder = tmp_path / "datasets--a--b" / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(f"---\n{head}\n---\nText\n")
    assert origin_of(folder).licence == licence


def test_class_names_are_found_however_deep_a_card_has_them(tmp_path):
    (tmp_path / "README.md").write_bytes(CARD)
    assert class_names_of(read_card(tmp_path / "README.md")) == {"mask": {0: "soil", 1: "green"}}
    odd = {
        "dataset_info": [{"features": [{"name": "a", "dtype": {"class_label": {"names": "ab"}}}]}]
    }
    assert class_names_of(odd) == {"a": {0: "a", 1: "b"}}
    assert class_names_of({"dataset_info": {"features": "none"}}) == {}


# Revisions and the cache.


def test_the_second_time_only_the_revision_is_asked(hub, leaves, alice):
    first = fetch_dataset("hf://alice/leaves", alice)
    before = len(hub.requests)
    assert fetch_dataset("hf://alice/leaves", alice) == first
    assert len(hub.requests) == before + 1


def test_a_commit_that_is_here_needs_no_hub(hub, leaves, alice):
    first = fetch_dataset("hf://alice/leaves", alice)
    before = len(hub.requests)
    assert fetch_dataset(f"hf://alice/leaves@{first.name}", alice) == first
    assert len(hub.requests) == before


def test_without_the_hub_the_copy_is_used_with_a_warning(hub, leaves, alice, offline, caplog):
    hub.heal()
    first = fetch_dataset("hf://alice/leaves", alice)
    hub.fail(".*", times=10_000, status=503)
    assert fetch_dataset("hf://alice/leaves", alice) == first
    assert "alice/leaves in the cache is used" in caplog.text


def test_guests_get_no_copy_that_the_hub_does_not_grant(hub, leaves, anybody):
    fetch_dataset("hf://alice/leaves", anybody, use_cache=False)
    hub.fail(".*", times=10_000, status=503, headers={"Retry-After": "1000"})
    with pytest.raises(HubUnreachableError):
        fetch_dataset("hf://alice/leaves", anybody, use_cache=False)


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_gated_data_set_in_the_cache_is_for_those_with_access_only(
    hub, leaves, alice, anybody, use_cache
):
    hub.add_repo("alice/gated", leaves, repo_type="dataset", gated=True)
    fetch_dataset("hf://alice/gated", alice)
    with pytest.raises(HubAccessError, match="alice/gated opens on request only"):
        fetch_dataset("hf://alice/gated", anybody, use_cache=use_cache)


def test_half_a_copy_is_fetched_again(hub, leaves, alice):
    folder = fetch_dataset("hf://alice/leaves", alice)
    lost = next((folder / "images").iterdir())
    lost.unlink()
    assert fetch_dataset("hf://alice/leaves", alice) == folder and lost.is_file()


def test_what_was_broken_off_is_not_taken_for_whole(hub, leaves, alice):
    hub.fail("HEAD .*/resolve/.*masks", times=10_000, status=403)
    with pytest.raises(HubAccessError):
        fetch_dataset("hf://alice/leaves", alice)
    hub.fail(".*/api/.*", times=10_000, status=503, headers={"Retry-After": "1000"})
    with pytest.raises(HubUnreachableError):
        fetch_dataset("hf://alice/leaves", alice)
    hub.heal()
    assert len(check_dataset(fetch_dataset("hf://alice/leaves", alice))) == 6


def test_a_new_commit_is_another_folder_and_the_old_one_can_still_be_named(hub, leaves, alice):
    old = fetch_dataset("hf://alice/leaves", alice)
    hub.add_repo("alice/leaves", {"notes.txt": b"more"}, repo_type="dataset")
    new = fetch_dataset("hf://alice/leaves", alice)
    assert new != old and (new / "notes.txt").is_file()
    assert fetch_dataset(f"hf://alice/leaves@{old.name[:8]}", alice) == old


def test_a_damaged_file_is_fetched_again(hub, leaves, alice, photos):
    hub.fail("GET .*/resolve/.*classes.txt", times=1, corrupt=True)
    folder = fetch_dataset("hf://alice/leaves", alice)
    assert len([path for path in downloads(hub) if "classes.txt" in path]) == 2
    assert (folder / "classes.txt").read_bytes() == (photos / "classes.txt").read_bytes()


# In the workspace.


def test_a_run_is_named_after_the_repository_and_goes_on_at_the_same_commit(hub, leaves, alice):
    workspace, config = Workspace(), SearchConfig(budget_s=60)
    source = fetch_dataset("hf://alice/leaves", alice)
    assert workspace.name_run(source, config).name == "leaves-1"
    write_records(workspace, "leaves-1", source, config, "interrupted")
    again = fetch_dataset("hf://alice/leaves", alice)
    assert workspace.name_run(again, config).name == "leaves-1"
    hub.add_repo("alice/leaves", {"notes.txt": b"more"}, repo_type="dataset")
    moved_on = fetch_dataset("hf://alice/leaves", alice)
    assert workspace.name_run(moved_on, config).name == "leaves-2"


def test_a_data_set_is_added_once_per_commit(hub, leaves, alice):
    workspace = Workspace()
    added = workspace.add_hub_dataset("alice/leaves", connection=alice)
    assert (added.name, added.owned) == ("leaves", False)
    assert workspace.add_hub_dataset("hf://alice/leaves", connection=alice) == added
    assert workspace.datasets() == [added]
    assert origin_of(added.source).repo_id == "alice/leaves"


def test_an_address_that_became_a_path_is_still_one(hub, leaves, alice):
    """`Path` takes one of the two slashes."""
    assert local_source(Path("hf://alice/leaves"), connection=alice) == fetch_dataset(
        "hf://alice/leaves", alice
    )


# Refusals.


def test_a_private_data_set_opens_with_the_token_only(hub, photos, alice, anybody):
    hub.add_repo("alice/secret", contents(photos), repo_type="dataset", private=True)
    with pytest.raises(HubError, match="data set alice/secret") as caught:
        fetch_dataset("hf://alice/secret", anybody)
    assert "sign in" in str(caught.value) or "signed in" in str(caught.value)
    assert len(check_dataset(fetch_dataset("hf://alice/secret", alice))) == 6
    with pytest.raises(HubError):  # Not from the cache either.
        fetch_dataset("hf://alice/secret", anybody)


def test_a_gated_data_set_says_where_to_ask(hub, photos, home, tmp_path):
    hub.add_repo("alice/gated", contents(photos), repo_type="dataset", gated=True)
    bob = connect("hf_bob", endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
    with pytest.raises(HubAccessError, match=r"alice/gated.*datasets/alice/gated"):
        fetch_dataset("hf://alice/gated", bob)


@pytest.mark.parametrize("revision", ["../../../secret", "a..b", "-x", "", "a\nb"])
def test_no_revision_leads_out_of_the_cache(leaves, alice, revision):
    with pytest.raises(ConfigError, match="no name of a branch"):
        fetch_dataset("hf://alice/leaves", alice, revision=revision)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("alice/none", "no data set alice/none"),
        ("alice/leaves@nope", "no branch, tag or commit 'nope'"),
        ("alice/leaves/nope", "no folder or file 'nope'"),
    ],
)
def test_what_is_missing_is_named(leaves, alice, name, told):
    with pytest.raises(HubNotFoundError, match=told):
        fetch_dataset(f"hf://{name}", alice)


def test_too_much_is_refused_before_a_byte_is_fetched(hub, leaves, alice, monkeypatch):
    monkeypatch.setattr(datasets, "MAX_TOTAL_BYTES", 1000)
    with pytest.raises(HubError, match="hf://alice/leaves/FOLDER"):
        fetch_dataset("hf://alice/leaves", alice)
    monkeypatch.setattr(datasets, "MAX_FILES", 3)
    with pytest.raises(HubError, match="more than 3 files"):
        fetch_dataset("hf://alice/leaves", alice)
    assert downloads(hub) == []


def test_what_does_not_fit_on_the_disk_is_refused_before_a_byte_is_fetched(
    hub, leaves, alice, monkeypatch
):
    full = type("Usage", (), {"free": 10})
    monkeypatch.setattr("autoseg.hub.fetching.shutil.disk_usage", lambda place: full)
    with pytest.raises(HubError, match="free some space"):
        fetch_dataset("hf://alice/leaves", alice)
    assert downloads(hub) == []


def test_a_path_out_of_the_folder_is_refused(hub, leaves, alice):
    entries = [{"type": "file", "oid": "0" * 40, "size": 1, "path": "images/../../../x.png"}]
    hub.fail("GET .*/tree/.*", body=json.dumps(entries).encode(), status=200)
    with pytest.raises(HubError, match="leads out of its folder"):
        fetch_dataset("hf://alice/leaves", alice)
    assert downloads(hub) == []


def test_progress_ends_with_all_bytes(hub, alice, photos):
    table = shard(photos)
    hub.add_repo("alice/table", {"a.parquet": table}, repo_type="dataset")
    seen: list[tuple[int, int]] = []
    fetch_dataset("hf://alice/table", alice, lambda *done: seen.append(done))
    assert seen[-1] == (2 * len(table), 2 * len(table))
    assert {total for _, total in seen} == {2 * len(table)}
