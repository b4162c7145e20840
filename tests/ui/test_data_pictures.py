from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workspace_helpers import make_photos

from autoseg.ui import data_actions, data_pictures, previews


@pytest.fixture
def seen(workspace, tmp_path):
    """A data set of 30 images that was checked: its folder, check and images."""
    photos = make_photos(tmp_path / "photos", n_images=30)
    data_actions.added(workspace, str(photos))
    folder = workspace.check_folder("photos")
    return folder, previews.load_check(folder), previews.load_index(folder, photos)


def test_every_image_is_on_one_page(seen):
    pages = [data_pictures.page_of(*seen, page) for page in (0, 1)]
    assert [len(page["items"]) for page in pages] == [24, 6]
    positions = [item["position"] for page in pages for item in page["items"]]
    assert positions == list(range(30))
    assert data_pictures.page_of(*seen, 99) == pages[1]
    assert data_pictures.page_of(*seen, -1) == pages[0]


def test_images_with_most_of_a_class_come_first(seen):
    _, check, index = seen
    page = data_pictures.page_of(*seen, 0, "2")
    shares = [float(index.shares[item["position"], 2]) for item in page["items"]]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1]
    assert check.classes.names[2] in page["items"][0]["note"]


def test_shares_are_those_of_the_masks(seen):
    _, check, index = seen
    with Image.open(index.samples[7].mask_path) as mask:
        counts = np.bincount(np.asarray(mask).ravel(), minlength=check.classes.num_classes)
    np.testing.assert_allclose(index.shares[7], counts / counts.sum(), atol=1e-6)


@pytest.mark.parametrize("sort", ["", "99", "-1", "../x", "²"])
def test_an_order_that_is_none_means_that_of_the_names(seen, sort):
    page = data_pictures.page_of(*seen, 0, sort)
    assert [item["position"] for item in page["items"]] == list(range(24))


def test_small_images_are_drawn_once_and_again_in_new_colours(seen):
    folder, check, index = seen
    first = data_pictures.page_of(*seen)["items"][0]["thumb"]
    drawn_at = first.stat().st_mtime_ns
    assert data_pictures.page_of(*seen)["items"][0]["thumb"].stat().st_mtime_ns == drawn_at
    colors = {name: "#ff0000" for name in check.classes.names}
    painted = previews.recolor(folder, check, tuple(colors.items()))
    second = data_pictures.page_of(folder, painted, index)["items"][0]["thumb"]
    assert second.read_bytes() != first.read_bytes()


def test_a_file_that_is_gone_leaves_its_place_and_the_others(seen):
    _, _, index = seen
    index.samples[27].mask_path.unlink()
    items = data_pictures.page_of(*seen, 1)["items"]
    assert [item["position"] for item in items if item["thumb"] is None] == [27]
    assert data_pictures.canvas_value(seen[1], index, 27) is None


def test_the_canvas_gets_the_mask_as_class_indices(seen):
    _, check, index = seen
    value = data_pictures.canvas_value(check, index, 5)
    with Image.open(value["classes"]) as shown, Image.open(index.samples[5].mask_path) as mask:
        assert shown.mode == "L" and not shown.info
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(mask))
    with Image.open(value["image"]) as image:
        assert image.size == (64, 48)
    assert value["names"] == list(check.classes.names)


@pytest.mark.parametrize("position", [-1, 30, 10**9])
def test_there_is_nothing_large_beyond_the_images(seen, position):
    assert data_pictures.canvas_value(seen[1], seen[2], position) is None


def test_what_browsers_cannot_draw_is_sent_as_what_they_can(workspace, tmp_path):
    photos = make_photos(tmp_path / "photos")
    for path in (photos / "images").iterdir():
        with Image.open(path) as image:
            image.save(path.with_suffix(".tif"))
        path.unlink()
    data_actions.added(workspace, str(photos))
    folder = workspace.check_folder("photos")
    value = data_pictures.canvas_value(
        previews.load_check(folder), previews.load_index(folder, photos), 0
    )
    assert Path(value["image"]).suffix == ".jpg"
