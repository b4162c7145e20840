import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data_helpers import blocks, photo
from PIL import Image

from autoseg.config import Geometry
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
