import io
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_helpers import blocks, photo
from PIL import Image

from autoseg.data import parquet
from autoseg.data.columns import Columns, choose_columns
from autoseg.data.dataset import check_dataset
from autoseg.data.packed import is_packed
from autoseg.data.parquet import find_shards, split_columns, unpack_parquet
from autoseg.errors import ConfigError, DatasetError

Pair = tuple[np.ndarray, np.ndarray]


def encoded(array: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def pairs(count: int, first: int = 0) -> list[Pair]:
    return [(photo(k), blocks([0, 1, 2], seed=k)) for k in range(first, first + count)]


def cells(arrays: Sequence[np.ndarray | None], kind: str = "PNG") -> list[dict | None]:
    """As the library `datasets` stores images."""
    return [
        None if array is None else {"bytes": encoded(array, kind), "path": f"{k}.{kind.lower()}"}
        for k, array in enumerate(arrays)
    ]


def write_shard(path: Path, columns: dict[str, list], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, **options)
    return path


def image_and_mask(found: Sequence[Pair]) -> dict[str, list]:
    images, masks = zip(*found, strict=True)
    return {"image": cells(images, "JPEG"), "label": cells(masks), "id": list(range(len(found)))}


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """A data set as the Hub holds most: shards by split below `data/`."""
    root = tmp_path / "leaves"
    write_shard(root / "data" / "train-00000-of-00002.parquet", image_and_mask(pairs(6)))
    write_shard(root / "data" / "train-00001-of-00002-a1b2.parquet", image_and_mask(pairs(4, 6)))
    write_shard(root / "data" / "validation-00000-of-00001.parquet", image_and_mask(pairs(3, 10)))
    write_shard(root / "data" / "test-00000-of-00001.parquet", image_and_mask(pairs(2, 13)))
    return root


def test_shards_are_read_like_the_folder_they_came_from(leaves, tmp_path):
    dataset = check_dataset(leaves, workdir=tmp_path / "work")
    assert [sample.split for sample in dataset.samples].count("train") == 10
    assert sum(sample.split == "val" for sample in dataset.samples) == 3
    assert sum(sample.split == "test" for sample in dataset.samples) == 2
    assert dataset.verdict.skipped_count == 0
    first = [sample.name for sample in dataset.samples].index("val/000000")
    assert np.array_equal(dataset.mask(first), blocks([0, 1, 2], seed=10))


def test_files_are_written_as_they_were_encoded(leaves, tmp_path):
    folder = unpack_parquet(find_shards(leaves), leaves, tmp_path / "out")
    assert (folder / "val" / "images" / "000001.jpg").read_bytes() == encoded(photo(11), "JPEG")
    assert len(list((folder / "train" / "masks").glob("*.png"))) == 10


def test_a_second_check_finds_what_was_unpacked(leaves, tmp_path):
    first = check_dataset(leaves, workdir=tmp_path / "work")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.jpg")}
    again = check_dataset(leaves, workdir=tmp_path / "work")
    assert again.fingerprint == first.fingerprint and again.root == first.root
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_one_file_is_a_data_set_too(tmp_path):
    shard = write_shard(tmp_path / "photos.parquet", image_and_mask(pairs(6)))
    dataset = check_dataset(shard, workdir=tmp_path / "work")
    assert [sample.split for sample in dataset.samples] == [None] * 6


def test_plain_bytes_serve_as_pictures(tmp_path):
    found = pairs(6)
    columns = {"img": [encoded(a) for a, _ in found], "gt": [encoded(b) for _, b in found]}
    shard = write_shard(tmp_path / "a.parquet", columns)
    assert len(check_dataset(shard, workdir=tmp_path / "work")) == 6


@pytest.mark.parametrize("name", ["classes.txt", "id2label.json"])
def test_a_class_list_beside_the_shards_names_the_classes(leaves, tmp_path, name):
    text = {
        "classes.txt": "soil\nleaf\nrust\n",
        "id2label.json": '{"0":"soil","2":"rust","1":"leaf"}',
    }
    (leaves / name).write_text(text[name])
    dataset = check_dataset(leaves, workdir=tmp_path / "work")
    assert dataset.classes.names == ("soil", "leaf", "rust")


def test_given_class_names_become_the_class_list(leaves, tmp_path):
    names = {"label": {0: "soil", 1: "leaf", 2: "rust"}, "id": {0: "other"}}
    folder = unpack_parquet(find_shards(leaves), leaves, tmp_path / "out", class_names=names)
    assert check_dataset(folder).classes.names == ("soil", "leaf", "rust")


def test_a_row_without_a_mask_is_named_in_the_verdict(tmp_path):
    found = pairs(7)
    columns = image_and_mask(found)
    columns["label"][3] = None
    write_shard(tmp_path / "set" / "train.parquet", columns)
    verdict = check_dataset(tmp_path / "set", workdir=tmp_path / "work").verdict
    assert verdict.pairs == 6
    assert [(item.path, item.why) for item in verdict.skipped] == [
        ("train/images/000003.jpg", "image without a mask")
    ]


def test_a_shard_without_masks_leaves_the_others_usable(leaves, tmp_path):
    write_shard(
        leaves / "data" / "test-00000-of-00001.parquet",
        {"image": cells([photo(k) for k in (20, 21)])},
    )
    dataset = check_dataset(leaves, workdir=tmp_path / "work")
    assert len(dataset) == 13 and dataset.verdict.skipped_count == 2


# Which column is which.


PHOTO, MASK = encoded(photo(0)), encoded(blocks([0, 1, 2]))
OVERLAY = encoded(photo(1), "JPEG")


@pytest.mark.parametrize(
    ("columns", "image", "mask"),
    [
        ({"image": PHOTO, "mask": MASK}, "image", "mask"),
        ({"pixel_values": PHOTO, "label": MASK}, "pixel_values", "label"),
        ({"image": PHOTO, "annotation": MASK}, "image", "annotation"),
        ({"img": PHOTO, "groundTruth": MASK}, "img", "groundTruth"),
        ({"image": PHOTO, "conditioning_image": PHOTO, "mask": MASK}, "image", "mask"),
        ({"mask_image": MASK, "image": PHOTO}, "image", "mask_image"),
        ({"image": PHOTO, "mask": MASK, "instance_mask": MASK}, "image", "mask"),
        (
            {"image": PHOTO, "mask_overlay": OVERLAY, "semantic_mask": MASK},
            "image",
            "semantic_mask",
        ),
        ({"a": MASK, "b": PHOTO}, "b", "a"),
        ({"image": PHOTO, "depth": OVERLAY, "classes": MASK}, "image", "classes"),
    ],
)
def test_columns_are_told_by_name_then_by_content(columns, image, mask):
    found = choose_columns({name: [data] for name, data in columns.items()}, "a/b")
    assert found == Columns(image, mask)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"image": PHOTO, "road_mask": MASK, "car_mask": MASK}, "masks: road_mask, car_mask"),
        ({"image": PHOTO, "depth": OVERLAY}, "no column of a/b looks like masks"),
        ({"left": PHOTO, "right": OVERLAY, "mask": MASK}, "images: left, right"),
    ],
)
def test_what_cannot_be_told_is_asked_with_the_names(columns, told):
    with pytest.raises(DatasetError, match=r"\?image=COLUMN&mask=COLUMN") as caught:
        choose_columns({name: [data] for name, data in columns.items()}, "a/b")
    assert told.lower() in str(caught.value).lower()


def test_the_user_chooses_between_columns(tmp_path):
    found = pairs(6)
    columns = {
        "image": cells([a for a, _ in found]),
        "road_mask": cells([blocks([0, 1], seed=k) for k in range(6)]),
        "car_mask": cells([b for _, b in found]),
    }
    write_shard(tmp_path / "set" / "train.parquet", columns)
    with pytest.raises(DatasetError, match="road_mask, car_mask"):
        check_dataset(tmp_path / "set", workdir=tmp_path / "work")
    for mask, number in (("road_mask", 2), ("car_mask", 3)):
        source = tmp_path / f"set?image=image&mask={mask}"
        dataset = check_dataset(source, workdir=tmp_path / "work")
        assert dataset.classes.num_classes == number
    with pytest.raises(DatasetError, match="no column 'sky'.*image, road_mask, car_mask"):
        check_dataset(tmp_path / "set?image=image&mask=sky", workdir=tmp_path / "work")


def test_half_a_choice_is_refused():
    with pytest.raises(ConfigError, match="both columns"):
        split_columns("set?mask=a")
    assert split_columns("what?") == ("what?", None)


# What cannot be used.


def test_a_table_without_pictures_is_refused_with_its_columns(tmp_path):
    write_shard(tmp_path / "set" / "a.parquet", {"text": ["a"], "label": [1]})
    with pytest.raises(DatasetError, match=r"\(text, label\).*: none"):
        check_dataset(tmp_path / "set", workdir=tmp_path / "work")


def test_names_of_files_instead_of_pictures_are_refused(tmp_path):
    cell = [{"bytes": None, "path": "a.png"}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(cell, kind), "mask": pa.array(cell, kind)}
    write_shard(tmp_path / "set" / "a.parquet", columns)
    with pytest.raises(DatasetError, match=r"names of files such as 'a\.png'"):
        check_dataset(tmp_path / "set", workdir=tmp_path / "work")


def test_several_data_sets_in_one_folder_are_not_mixed(tmp_path):
    for name in ("large", "small"):
        write_shard(tmp_path / "set" / name / "train.parquet", image_and_mask(pairs(5)))
    with pytest.raises(DatasetError, match="large, small"):
        check_dataset(tmp_path / "set", workdir=tmp_path / "work")
    assert len(check_dataset(tmp_path / "set" / "small", workdir=tmp_path / "work")) == 5


@pytest.mark.parametrize("cut", [0, 40, 3000])
def test_a_damaged_shard_leaves_nothing(leaves, tmp_path, cut):
    shard = leaves / "data" / "validation-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:cut])
    with pytest.raises(DatasetError, match="validation-00000-of-00001.parquet cannot be read"):
        unpack_parquet(find_shards(leaves), leaves, tmp_path / "out" / "x")
    assert not list((tmp_path / "out").glob("*"))


def test_damaged_pages_leave_nothing(leaves, tmp_path):
    """The end of the file is whole, what it describes is not."""
    shard = leaves / "data" / "train-00000-of-00002.parquet"
    data = bytearray(shard.read_bytes())
    data[200:2000] = os.urandom(1800)
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match="cannot be read as parquet"):
        unpack_parquet(find_shards(leaves), leaves, tmp_path / "out" / "x")
    assert not list((tmp_path / "out").glob("*"))


def test_a_file_that_grows_without_end_is_stopped(tmp_path, monkeypatch):
    """One large picture, stored once and named by every row."""
    monkeypatch.setattr(parquet, "SMALL_BYTES", 2**20)
    image, mask = os.urandom(10_000), encoded(blocks([0, 1]))
    columns = {"image": [image] * 3000, "mask": [mask] * 3000}
    shard = write_shard(tmp_path / "set" / "a.parquet", columns)
    assert shard.stat().st_size < 50_000
    with pytest.raises(DatasetError, match="grow more than 200 times"):
        unpack_parquet([shard], tmp_path / "set", tmp_path / "out" / "x")
    assert not list((tmp_path / "out").glob("*"))


def test_a_row_group_too_large_for_memory_is_refused(leaves, tmp_path, monkeypatch):
    monkeypatch.setattr("autoseg.data.shards.MAX_ROW_GROUP_BYTES", 1000)
    with pytest.raises(DatasetError, match="Write it with smaller ones"):
        unpack_parquet(find_shards(leaves), leaves, tmp_path / "out")


def test_without_pyarrow_the_extra_is_named(leaves, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"autoseg-search\[parquet\]"):
        check_dataset(leaves, workdir=tmp_path / "work")


def test_a_folder_of_images_is_not_taken_for_parquet(write_set):
    root = write_set([blocks([0, 1], seed=k) for k in range(6)])
    write_shard(root / "table.parquet", {"a": [1]})
    assert not is_packed(root)
    assert len(check_dataset(root)) == 6


MEASURE = """
import resource, sys
from pathlib import Path
from autoseg.data.parquet import find_shards, unpack_parquet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
root = Path(sys.argv[1])
unpack_parquet(find_shards(root), root, Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_bounded_by_a_row_group(tmp_path):
    """120 MB in row groups of 6 MB."""
    rng = np.random.default_rng(0)
    rows = 400
    columns = {
        "image": [rng.bytes(300_000) for _ in range(rows)],
        "mask": [encoded(blocks([0, 1], seed=k)) for k in range(rows)],
    }
    write_shard(tmp_path / "set" / "train.parquet", columns, row_group_size=20)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "set"), str(tmp_path / "out")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) / 1024 < 90  # MB; pyarrow itself takes most of it.


def test_progress_counts_bytes(leaves, tmp_path):
    seen: list[tuple[int, int]] = []
    unpack: Callable[..., Path] = unpack_parquet
    unpack(
        find_shards(leaves), leaves, tmp_path / "out", on_progress=lambda *done: seen.append(done)
    )
    total = sum(path.stat().st_size for path in find_shards(leaves))
    assert seen[-1] == (total, total) and seen == sorted(seen) and len(seen) == 4
