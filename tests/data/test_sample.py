import numpy as np

from autoseg.data.dataset import check_dataset
from autoseg.data.images import read_image
from autoseg.data.sample import SAMPLE_CLASSES, make_sample_dataset, make_scene


def test_the_sample_set_is_read_as_its_classes(tmp_path):
    dataset = check_dataset(make_sample_dataset(tmp_path / "sample", n_images=24))
    assert dataset.classes.names == SAMPLE_CLASSES
    assert len(dataset) == 24 and dataset.image(0).shape == (192, 256, 3)
    shares = dataset.statistics.class_pixels.sum(axis=0) / dataset.statistics.class_pixels.sum()
    assert 0.001 < shares[-1] < 0.01 and 0.3 < shares[0] < 0.6
    assert dataset.verdict.skipped == () and dataset.verdict.ambiguous == ()


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_sample_dataset(tmp_path / name, n_images=2, seed=seed, size=(64, 96))

    def content(name):
        return [p.read_bytes() for p in sorted((tmp_path / name).rglob("*.*"))]

    assert content("a") == content("b") != content("c")


def test_no_two_scenes_are_alike(tmp_path):
    make_sample_dataset(tmp_path, n_images=6, size=(64, 96))
    images = [read_image(path) for path in sorted((tmp_path / "images").iterdir())]
    assert len({image.tobytes() for image in images}) == 6


def test_colour_alone_does_not_tell_the_classes():
    """A nearest-mean-colour classifier must do worse than a network will."""
    scenes = [make_scene(np.random.default_rng([7, index]), (96, 128)) for index in range(8)]
    images = np.concatenate([image.reshape(-1, 3) for image, _ in scenes]).astype(float)
    masks = np.concatenate([mask.ravel() for _, mask in scenes])
    means = np.stack([images[masks == k].mean(axis=0) for k in range(5)])
    guessed = ((images[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
    ious = [
        ((guessed == k) & (masks == k)).sum() / ((guessed == k) | (masks == k)).sum()
        for k in range(5)
    ]
    assert 0.1 < np.mean(ious) < 0.5
