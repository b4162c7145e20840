import time
from dataclasses import replace

import numpy as np
import pytest
from data_helpers import blocks, photo
from PIL import Image

from autoseg.config import from_dict, to_dict
from autoseg.data.coding import MaskCoding
from autoseg.data.dataset import CheckedDataset, Statistics, check_dataset
from autoseg.data.duplicates import group_near_duplicates, link
from autoseg.data.formats import Sample
from autoseg.data.images import read_image
from autoseg.data.masks import ClassInfo
from autoseg.data.scan import resemblance
from autoseg.data.splits import Splits, make_splits, without_folds
from autoseg.data.verdict import Verdict
from autoseg.errors import DatasetError


def dataset_of(tmp_path, images, present=None, splits=None):
    """A checked data set of given images (H, W, 3), classes present (N, K) and splits."""
    number = len(images)
    present = np.ones((number, 2)) if present is None else np.asarray(present)
    return CheckedDataset(
        root=tmp_path,
        samples=tuple(
            Sample(f"{i:04d}", tmp_path / f"{i}.jpg", tmp_path / f"{i}.png", splits and splits[i])
            for i in range(number)
        ),
        classes=ClassInfo(("a", "b"), ((0, 0, 0), (1, 1, 1))),
        verdict=Verdict((), number, ""),
        fingerprint="",
        statistics=Statistics(
            np.asarray([image.shape[:2] for image in images], np.int32),
            (present * 100).astype(np.int64),
            (present * 10).astype(np.int64),
        ),
        mask_coding=MaskCoding("values", (0, 1), (0, 1)),
        hashes=np.asarray([resemblance(image)[1] for image in images], np.uint64),
        thumbnails=np.stack([resemblance(image)[0] for image in images]),
        contents=tuple(image.tobytes() for image in images),
    )


def photos(number):
    return [photo(seed) for seed in range(number)]


def parts(splits):
    return [set(part) for part in (splits.train, splits.val, splits.test)]


@pytest.mark.parametrize("number", [150, 400])
def test_many_images_are_split_70_15_15(tmp_path, number):
    splits = make_splits(dataset_of(tmp_path, photos(number)), seed=0)
    train, val, test = parts(splits)
    assert train | val | test == set(range(number))
    assert len(train) + len(val) + len(test) == number
    assert abs(len(val) - 0.15 * number) <= 2 and abs(len(test) - 0.15 * number) <= 2
    assert splits.folds == () and splits.test_is_untouched


@pytest.mark.parametrize("number", [60, 149])
def test_fewer_images_get_a_test_split_and_five_folds_of_the_rest(tmp_path, number):
    splits = make_splits(dataset_of(tmp_path, photos(number)), seed=0)
    train, val, test = parts(splits)
    assert abs(len(test) - 0.2 * number) <= 2 and splits.test_is_untouched
    assert len(splits.folds) == 5 and set(splits.folds[0]) == val
    assert sorted(i for fold in splits.folds for i in fold) == sorted(train | val)
    assert max(map(len, splits.folds)) - min(map(len, splits.folds)) <= 2


@pytest.mark.parametrize("number", [5, 12, 59])
def test_few_images_get_five_folds_and_no_test_split(tmp_path, number):
    splits = make_splits(dataset_of(tmp_path, photos(number)), seed=0)
    train, val, test = parts(splits)
    assert not test and not splits.test_is_untouched
    assert sorted(i for fold in splits.folds for i in fold) == list(range(number))
    assert set(splits.folds[0]) == val and train == set(range(number)) - val
    assert all(splits.folds)
    assert any("no test split" in note for note in splits.notes)
    # Where there was no time for the folds, nothing is said of their scores.
    told = without_folds(splits, number)
    assert not any("networks" in note for note in told.notes)
    assert sum("scores are those of the validation images" in note for note in told.notes) == 1
    assert replace(told, notes=splits.notes) == splits


def test_the_seed_alone_decides(tmp_path):
    dataset = dataset_of(tmp_path, photos(200))
    assert make_splits(dataset, 1) == make_splits(dataset, 1)
    assert make_splits(dataset, 1).test != make_splits(dataset, 2).test


def test_splits_survive_json(tmp_path):
    splits = make_splits(dataset_of(tmp_path, photos(70)), seed=3)
    assert from_dict(Splits, to_dict(splits), "splits.json") == splits


@pytest.mark.parametrize("seed", range(5))
def test_rare_classes_are_spread_over_all_parts(tmp_path, seed):
    rng = np.random.default_rng(seed)
    present = np.ones((200, 4))
    present[:, 1] = rng.random(200) < 0.5
    present[:, 2] = rng.random(200) < 0.1
    present[:, 3] = np.isin(np.arange(200), rng.choice(200, 7, replace=False))
    splits = make_splits(dataset_of(tmp_path, photos(200), present), seed)
    for part, share in zip(parts(splits), (0.7, 0.15, 0.15), strict=True):
        held = present[sorted(part)].sum(axis=0)
        np.testing.assert_allclose(held, share * present.sum(axis=0), atol=2)
        assert held.min() >= 1


def altered(image, how):
    picture = Image.fromarray(image)
    if how == "smaller":
        return np.asarray(picture.resize((picture.width * 2 // 3, picture.height * 2 // 3)))
    if how == "brighter":
        return np.clip(image.astype(int) + 12, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 5, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("how", ["smaller", "brighter", "noisy"])
def test_near_duplicates_stay_on_one_side(tmp_path, how):
    images = [photo(seed, 96, 128) for seed in range(80)]
    images += [altered(image, how) for image in images]
    dataset = dataset_of(tmp_path, images)
    groups, _ = group_near_duplicates(dataset)
    assert (groups[:80] == groups[80:]).mean() > 0.95
    assert len(set(groups[:80])) == 80
    splits = make_splits(dataset, seed=0)
    for part in parts(splits):
        assert not set(groups[sorted(part)]) & set(groups[sorted(set(range(160)) - part)])
    assert any("near-duplicates" in note for note in splits.notes)


def test_leaves_alike_in_shape_alone_are_no_duplicates(coffee_leaf, tmp_path):
    """A looser rule took these for copies, and warned of a test split that leaks."""
    names = ("test/images/680.jpg", "train/images/980.jpg", "train/images/642.jpg")
    images = [read_image(coffee_leaf / name) for name in (*names, "train/images/981.jpg")]
    groups, _ = group_near_duplicates(dataset_of(tmp_path, images))
    assert len(set(groups.tolist())) == 4


def test_neighbouring_slices_of_one_stack_are_near_duplicates(dsb2018, tmp_path):
    names = ("20b20ab049372d18", "cb4df20a83b2f38b", "00071198d059ba7f")
    images = [read_image(dsb2018 / "images" / f"{name}.png") for name in names]
    groups, _ = group_near_duplicates(dataset_of(tmp_path, images))
    assert groups.tolist() == [0, 0, 1]


def test_dark_images_without_texture_are_no_duplicates_unless_they_are_copies(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.poisson(1, (32, 32, 3)).astype(np.uint8) for _ in range(50)]
    groups, _ = group_near_duplicates(dataset_of(tmp_path, [*images, images[7]]))
    assert groups[50] == groups[7] and len(set(groups)) == 50


def test_frames_of_one_camera_do_not_all_become_one_group(tmp_path):
    images = [altered(photo(1, 96, 128), "noisy")] * 2
    for step in range(100):
        image = photo(1, 96, 128)
        image[40:52, step : step + 12] = 255
        images.append(image)
    splits = make_splits(dataset_of(tmp_path, images), seed=0)
    assert min(len(part) for part in parts(splits)) >= 10
    assert any("one camera" in note for note in splits.notes)


def test_given_splits_are_kept(tmp_path):
    given = ["train"] * 100 + ["val"] * 40 + ["test"] * 20
    splits = make_splits(dataset_of(tmp_path, photos(160), splits=given), seed=0)
    assert [len(part) for part in parts(splits)] == [100, 40, 20]
    assert splits.test == tuple(range(140, 160)) and splits.test_is_untouched
    assert any("train 100, val 40, test 20" in note for note in splits.notes)


@pytest.mark.parametrize(("kept", "missing"), [("val", "test"), ("test", "val")])
def test_what_given_splits_lack_is_taken_from_train(tmp_path, kept, missing):
    given = ["train"] * 160 + [kept] * 40
    splits = make_splits(dataset_of(tmp_path, photos(200), splits=given), seed=0)
    assert getattr(splits, kept) == tuple(range(160, 200))
    assert abs(len(getattr(splits, missing)) - 30) <= 2
    assert any(f"no {missing} split; it was taken from train" in note for note in splits.notes)


def test_a_given_split_with_copies_across_is_kept_and_warned_about(tmp_path):
    images = photos(160)
    images[150:153] = images[:3]
    given = ["train"] * 100 + ["val"] * 40 + ["test"] * 20
    splits = make_splits(dataset_of(tmp_path, images, splits=given), seed=0)
    assert splits.test == tuple(range(140, 160))
    assert any("3 of 20 test images have a near-duplicate" in note for note in splits.notes)


def test_only_train_folders_are_split_like_none(tmp_path):
    plain = make_splits(dataset_of(tmp_path, photos(160)), seed=0)
    given = make_splits(dataset_of(tmp_path, photos(160), splits=["train"] * 160), seed=0)
    assert given == plain


def test_a_set_of_copies_cannot_be_split(tmp_path):
    with pytest.raises(DatasetError, match="No image is left for the"):
        make_splits(dataset_of(tmp_path, [photo(1)] * 8), seed=0)


def test_linking_5000_images_takes_seconds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 5000, dtype=np.uint64)
    thumbnails = rng.integers(0, 256, (5000, 16, 16), dtype=np.uint8)
    hashes[::50] = hashes[0]
    thumbnails[::50] = thumbnails[0]
    start = time.process_time()
    groups = link(hashes, thumbnails, 6, 0.97)
    assert time.process_time() - start < 10
    assert len(np.unique(groups)) == 4901 and len(set(groups[::50])) == 1


def test_groups_agree_with_comparing_each_two(tmp_path):
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 64, 300, dtype=np.uint64)
    thumbnails = np.repeat(rng.integers(0, 256, (1, 16, 16), dtype=np.uint8), 300, axis=0)
    groups = link(hashes, thumbnails, 1, 0.97)
    expected = list(range(300))
    for i in range(300):
        for j in range(i):
            if bin(int(hashes[i] ^ hashes[j])).count("1") <= 1:
                old, new = expected[i], expected[j]
                expected = [new if group == old else group for group in expected]
    assert len(set(zip(groups.tolist(), expected, strict=True))) == len(set(expected))
    assert len(set(groups.tolist())) == len(set(expected))


def test_coffee_leaf_keeps_its_400_50_50(coffee_leaf, tmp_path):
    splits, names = [], []
    for split in ("train", "val", "test"):
        folder = coffee_leaf / split / "images"
        names += sorted(folder.iterdir())
        splits += [split] * (len(names) - len(splits))
    rng = np.random.default_rng(0)
    images = [photo(int(seed)) for seed in rng.permutation(len(names))]
    dataset = dataset_of(tmp_path, images, splits=splits)
    assert [len(part) for part in parts(make_splits(dataset, 0))] == [400, 50, 50]


def test_a_checked_folder_can_be_split(write_set):
    root = write_set([blocks([0, 1], seed=index) for index in range(12)])
    splits = make_splits(check_dataset(root), 0)
    assert sorted(splits.train + splits.val) == list(range(12)) and len(splits.val) in (2, 3)
