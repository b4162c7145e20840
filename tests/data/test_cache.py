import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data_helpers import blocks, photo
from filelock import FileLock
from PIL import Image

from autoseg.config import Geometry
from autoseg.data import cache as cache_module
from autoseg.data.cache import build_cache
from autoseg.data.dataset import check_dataset
from autoseg.errors import DatasetError
from autoseg.resizing import resize_image, resize_mask

HALF = Geometry(window=(32, 32), scale=0.5)
BOX = Geometry(window=(32, 32), box=(20, 20))


@pytest.fixture
def dataset(write_set):
    masks = [blocks([0, 1, 2, 255], 24 + index, 40, seed=index) for index in range(8)]
    return check_dataset(write_set(masks))


@pytest.mark.parametrize("geometry", [HALF, BOX])
@pytest.mark.parametrize("max_workers", [1, 2])
def test_the_cache_holds_what_resizing_gives(dataset, tmp_path, geometry, max_workers):
    calls = []
    cache = build_cache(
        dataset,
        geometry,
        tmp_path / "cache",
        max_workers=max_workers,
        on_progress=lambda *done: calls.append(done),
    )
    assert calls == [(index, 8) for index in range(1, 9)] and len(cache) == 8
    for index in range(8):
        image = resize_image(dataset.image(index), geometry)
        np.testing.assert_array_equal(cache.image(index), image)
        np.testing.assert_array_equal(cache.mask(index), resize_mask(dataset.mask(index), geometry))
        assert cache.shapes[index].tolist() == list(image.shape[:2])
    assert cache.nbytes == cache.flat_images.size + cache.flat_masks.size


def test_images_are_views_of_the_mapped_files(dataset, tmp_path):
    cache = build_cache(dataset, HALF, tmp_path)
    assert np.shares_memory(cache.image(3), cache.flat_images)
    assert isinstance(cache.flat_images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        cache.image(0)[0] = 1


def test_the_same_content_and_geometry_are_built_once(dataset, tmp_path):
    first = build_cache(dataset, HALF, tmp_path)
    written = (first.folder / "images.bin").stat().st_mtime_ns
    calls = []
    wider = Geometry(window=(64, 64), scale=0.5)
    again = build_cache(dataset, wider, tmp_path, on_progress=lambda *done: calls.append(done))
    assert again.folder == first.folder and not calls
    assert (again.folder / "images.bin").stat().st_mtime_ns == written
    assert build_cache(dataset, BOX, tmp_path).folder != first.folder


DAY_S = 24 * 3600


def used(folder: Path, days_ago: float) -> None:
    then = time.time() - days_ago * DAY_S
    os.utime(folder, (then, then))


def kept(folder: Path) -> set[Path]:
    return {index.parent for index in folder.glob("[!.]*/index.json")}


def boxed(side: int) -> Geometry:
    return Geometry(window=(32, 32), box=(side, side))


def test_caches_that_nobody_used_for_a_month_go_when_another_is_built(dataset, tmp_path):
    """Each data set at each working size was copied once more and stayed for ever."""
    old, known, other = (build_cache(dataset, boxed(side), tmp_path) for side in (20, 22, 24))
    image = old.image(3).copy()
    for cache in (old, known, other):
        used(cache.folder, 31)
    build_cache(dataset, boxed(22), tmp_path)  # It is found, which counts as use.
    assert old.folder.is_dir()
    used(other.folder, 29)
    newest = build_cache(dataset, boxed(26), tmp_path)
    assert kept(tmp_path) == {known.folder, other.folder, newest.folder}
    np.testing.assert_array_equal(old.image(3), image)  # Who has it open goes on.


def test_of_more_than_may_be_kept_those_go_that_nobody_used_for_longest(
    dataset, tmp_path, monkeypatch
):
    caches = [build_cache(dataset, boxed(side), tmp_path) for side in (20, 22, 24, 26)]
    for days_ago, cache in zip((3, 5, 4, 0.5), caches, strict=True):
        used(cache.folder, days_ago)
    monkeypatch.setattr(cache_module, "KEPT_BYTES", caches[0].nbytes + 2 * caches[3].nbytes)
    newest = build_cache(dataset, HALF, tmp_path)
    assert kept(tmp_path) == {caches[0].folder, caches[3].folder, newest.folder}
    monkeypatch.setattr(cache_module, "KEPT_BYTES", 1)
    last = build_cache(dataset, boxed(28), tmp_path)  # Of a day ago searches may be at work.
    assert kept(tmp_path) == {caches[3].folder, newest.folder, last.folder}


def test_a_cache_that_is_being_built_is_not_swept_but_what_a_killed_build_left(dataset, tmp_path):
    old = build_cache(dataset, boxed(20), tmp_path).folder
    used(old, 90)
    alive, dead = (tmp_path / f".{digit * 24}.0.part" for digit in "ad")
    alive.mkdir()
    dead.mkdir()
    with FileLock(tmp_path / f".{'a' * 24}.lock"), FileLock(tmp_path / f".{old.name}.lock"):
        build_cache(dataset, boxed(22), tmp_path)
        assert alive.is_dir() and old.is_dir() and not dead.exists()
    build_cache(dataset, boxed(24), tmp_path)
    assert not alive.exists() and not old.exists()


def test_changed_content_is_built_anew(dataset, tmp_path):
    first = build_cache(dataset, HALF, tmp_path / "cache")
    Image.fromarray(photo(99, 24, 40)).save(dataset.root / "images" / "000.png")
    second = build_cache(check_dataset(dataset.root), HALF, tmp_path / "cache")
    assert second.folder != first.folder
    assert not np.array_equal(second.image(0), first.image(0))


@pytest.mark.parametrize("damage", ["cut", "gone", "index"])
def test_a_damaged_cache_is_built_anew(dataset, tmp_path, damage):
    folder = build_cache(dataset, HALF, tmp_path).folder
    if damage == "cut":
        os.truncate(folder / "masks.bin", 10)
    elif damage == "gone":
        (folder / "images.bin").unlink()
    else:
        (folder / "index.json").write_text("{")
    cache = build_cache(dataset, HALF, tmp_path)
    np.testing.assert_array_equal(cache.mask(7), resize_mask(dataset.mask(7), HALF))


def test_an_image_that_changed_its_size_since_the_check_is_an_error(dataset, tmp_path):
    Image.fromarray(photo(0, 50, 40)).save(dataset.root / "images" / "000.png")
    Image.fromarray(blocks([0, 1], 50, 40)).save(dataset.root / "masks" / "000.png")
    with pytest.raises(DatasetError, match=r"000\.png has another size than when"):
        build_cache(dataset, HALF, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_a_full_disk_is_an_error_that_names_the_bytes_and_leaves_nothing(dataset, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting needs root")
    try:
        large = Geometry(window=(32, 32), box=(300, 300))
        with pytest.raises(DatasetError, match=r"need [\d,.]+ MB .*No space left"):
            build_cache(dataset, large, disk)
        assert [path for path in disk.iterdir() if path.is_dir()] == []
        assert build_cache(dataset, HALF, disk).image(0).shape == (12, 20, 3)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_killed_build_leaves_nothing_half_read(write_set, tmp_path):
    masks = [blocks([0, 1], 200, 300, seed=index) for index in range(60)]
    root = write_set(masks)
    folder = tmp_path / "cache"
    script = (
        "import sys, time; from pathlib import Path\n"
        "from autoseg.config import Geometry\n"
        "from autoseg.data.cache import build_cache\n"
        "from autoseg.data.dataset import check_dataset\n"
        "data = check_dataset(Path(sys.argv[1]), max_workers=1)\n"
        "build_cache(data, Geometry(window=(32, 32), scale=0.5), Path(sys.argv[2]),\n"
        "            max_workers=2, on_progress=lambda *done: time.sleep(0.05))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, "-c", script, root, folder], env=environment)
    deadline = time.monotonic() + 60
    while not list(folder.glob(".*.part")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(folder.glob(".*.part"))) == 1
    cache = build_cache(check_dataset(root), HALF, folder)
    assert not list(folder.glob(".*.part"))
    for index in (0, 30, 59):
        np.testing.assert_array_equal(cache.mask(index), resize_mask(masks[index], HALF))
