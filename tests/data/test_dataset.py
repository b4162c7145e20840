import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_helpers import blocks, photo
from PIL import Image

from autoseg.config import ConfigError, from_dict, to_dict
from autoseg.data.dataset import check_dataset, read_verdict, write_verdict
from autoseg.data.verdict import Verdict
from autoseg.errors import DatasetError


def stripes(values, number=6, **shape):
    return [blocks(values, seed=index, **shape) for index in range(number)]


def naive_boundary(mask, class_index):
    """Edges between a class and another class, one pixel pair at a time."""
    edges = 0
    for a, b in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
        for one, other in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
            edges += one != other and class_index in (one, other) and 255 not in (one, other)
    return edges


def test_statistics_agree_with_counting_pixel_by_pixel(write_set):
    rng = np.random.default_rng(0)
    masks = [rng.choice([0, 1, 2, 255], (9, 7 + index)).astype(np.uint8) for index in range(6)]
    dataset = check_dataset(write_set(masks))
    for index, mask in enumerate(masks):
        assert dataset.statistics.sizes[index].tolist() == list(mask.shape)
        for k in range(3):
            assert dataset.statistics.class_pixels[index, k] == (mask == k).sum()
            assert dataset.statistics.class_boundary[index, k] == naive_boundary(mask, k)


def test_images_and_masks_come_back_as_they_were_written(write_set):
    dataset = check_dataset(write_set(stripes([0, 1, 2])))
    np.testing.assert_array_equal(dataset.image(3), photo(3))
    np.testing.assert_array_equal(dataset.mask(3), blocks([0, 1, 2], seed=3))
    assert dataset.mask(3).dtype == np.uint8


def test_a_mask_of_another_size_is_an_error_that_names_both_sizes(write_set):
    root = write_set(stripes([0, 1]))
    Image.fromarray(photo(1, 20, 30)).save(root / "images" / "001.png")
    message = (
        r"^masks/001\.png is 32x24 pixels but its image images/001\.png is 30x20\. Resize the mask"
    )
    with pytest.raises(DatasetError, match=message):
        check_dataset(root)


def write_turned(root, orientation):
    """Store every image turned, with the EXIF mark that turns it back."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    for path in sorted((root / "images").iterdir()):
        Image.open(path).rotate(90, expand=True).save(path.with_suffix(".jpg"), exif=exif)
        path.unlink()


def test_masks_drawn_on_upright_images_fit_images_turned_by_exif(write_set):
    root = write_set(stripes([0, 1]))
    write_turned(root, 6)
    dataset = check_dataset(root)
    assert dataset.image(0).shape[:2] == dataset.mask(0).shape == (24, 32)
    np.testing.assert_array_equal(dataset.mask(0), blocks([0, 1]))
    assert "6 images are turned" in dataset.verdict.ambiguous[0]


def test_masks_drawn_on_stored_images_are_turned_with_them(write_set):
    root = write_set([np.rot90(mask) for mask in stripes([0, 1])])
    for path in (root / "images").iterdir():
        path.unlink()
    exif = Image.Exif()
    exif[0x0112] = 6
    for index in range(6):
        stored = Image.fromarray(photo(index)).rotate(90, expand=True)
        stored.save(root / "images" / f"{index:03d}.jpg", exif=exif)
    dataset = check_dataset(root)
    np.testing.assert_array_equal(dataset.mask(2), blocks([0, 1], seed=2))
    assert dataset.verdict.mended == ("6 masks were turned like their images, as EXIF says.",)


def test_few_damaged_pairs_are_left_out_and_named(write_set):
    root = write_set(stripes([0, 1], 20))
    (root / "images" / "004.png").write_bytes(b"damaged")
    (root / "masks" / "011.png").write_bytes(b"damaged")
    dataset = check_dataset(root)
    assert len(dataset) == 18
    assert [item.path for item in dataset.verdict.skipped] == ["images/004.png", "images/011.png"]
    assert "004.png does not decode" in dataset.verdict.skipped[0].why
    assert dataset.verdict.mended == ("2 pairs do not decode and were left out.",)


def test_many_damaged_pairs_are_an_error(write_set):
    root = write_set(stripes([0, 1], 20))
    for index in range(3):
        (root / "images" / f"{index:03d}.png").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"3 of 20 pairs do not decode.*000\.png"):
        check_dataset(root)


def test_fewer_than_five_pairs_are_an_error_that_counts_them(write_set):
    with pytest.raises(DatasetError, match="holds 4 usable pairs"):
        check_dataset(write_set(stripes([0, 1], 4)))


def test_the_fingerprint_depends_on_content_and_reading_and_on_nothing_else(write_set, tmp_path):
    root = write_set(stripes([0, 1, 2]))
    first = check_dataset(root).fingerprint
    moved = root.rename(tmp_path / "moved")
    for path in moved.rglob("*.png"):
        os.utime(path, (0, 0))
    assert check_dataset(moved).fingerprint == first
    named = check_dataset(moved, class_names=["a", "b", "c"]).fingerprint
    mapped = check_dataset(moved, mapping={"0": "a", "*": "b"}).fingerprint
    changed = blocks([0, 1, 2])
    changed[0, 0] = 2
    Image.fromarray(changed).save(moved / "masks" / "000.png")
    assert len({first, named, mapped, check_dataset(moved).fingerprint}) == 4


def test_processes_find_the_same_as_one_process(write_set):
    root = write_set(stripes([0, 1, 255], 40))
    calls = []
    several = check_dataset(root, max_workers=2, on_progress=lambda *done: calls.append(done))
    one = check_dataset(root, max_workers=1)
    assert calls == [(index, 40) for index in range(1, 41)]
    assert several.fingerprint == one.fingerprint and several.verdict == one.verdict
    np.testing.assert_array_equal(several.hashes, one.hashes)


def test_errors_of_processes_reach_the_user(write_set):
    root = write_set(stripes([0, 1], 40))
    Image.fromarray(photo(1, 20, 30)).save(root / "images" / "017.png")
    with pytest.raises(DatasetError, match=r"017\.png is 32x24 pixels"):
        check_dataset(root, max_workers=2)


def test_a_script_without_a_main_guard_can_use_processes(write_set, tmp_path):
    """`multiprocessing` would run the script again in each worker, and fail."""
    root = write_set(stripes([0, 1], 20))
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom autoseg.data.dataset import check_dataset\n"
        f"print(len(check_dataset(Path({str(root)!r}), max_workers=2)), 'torch' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment
    )
    assert (result.stdout, result.stderr) == ("20 False\n", "")


def test_a_zip_is_read_like_its_folder(write_set, tmp_path):
    root = write_set(stripes([0, 1]), classes="sky\nroad\n")
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in sorted(root.rglob("*.*")):
            opened.write(path, "my set/" + path.relative_to(root).as_posix())
    dataset = check_dataset(archive, workdir=tmp_path / "work")
    assert dataset.fingerprint == check_dataset(root).fingerprint
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert dataset.root == tmp_path / "work" / f"set-{digest[:12]}" / "my set"
    np.testing.assert_array_equal(check_dataset(archive).mask(0), dataset.mask(0))
    unpacked = dataset.root.stat().st_mtime_ns, dataset.root.stat().st_ino
    again = check_dataset(archive, workdir=tmp_path / "work")
    assert (again.root.stat().st_mtime_ns, again.root.stat().st_ino) == unpacked


def test_the_verdict_survives_its_file(write_set, tmp_path):
    verdict = check_dataset(write_set(stripes([0, 1, 255]), classes="a\nb\n")).verdict
    write_verdict(tmp_path / "verdict.json", verdict)
    assert read_verdict(tmp_path / "verdict.json") == verdict
    with pytest.raises(ConfigError):
        from_dict(Verdict, {**to_dict(verdict), "odd": 1}, "verdict.json")


def test_the_verdicts_table_shows_every_value(write_set):
    verdict = check_dataset(write_set(stripes([0, 255]))).verdict
    assert verdict.table() == [
        ("0", "50.0 %", "6", "background", "0 and 255 only: binary"),
        ("255", "50.0 %", "6", "foreground", "0 and 255 only: binary"),
    ]
    assert (verdict.pairs, verdict.sizes) == (6, "all 32x24")


@pytest.mark.parametrize("names", [["a", "a"], ["", "b"], ["only"]])
def test_class_names_that_do_not_hold_are_refused(write_set, names):
    with pytest.raises(DatasetError):
        check_dataset(write_set(stripes([0, 1, 2])), class_names=names)


def test_dsb2018_is_binary(dsb2018, tmp_path):
    for role in ("images", "masks"):
        (tmp_path / role).mkdir()
        for path in sorted((dsb2018 / role).iterdir())[::10]:
            (tmp_path / role / path.name).symlink_to(path)
    dataset = check_dataset(tmp_path)
    assert [row.why for row in dataset.verdict.rows] == ["0 and 255 only: binary"] * 2
    assert len(dataset) == 67
