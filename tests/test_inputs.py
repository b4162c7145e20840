from pathlib import Path

import pytest
from PIL import Image

from autoseg.errors import PredictionError
from autoseg.inputs import find_images, plan_outputs


@pytest.fixture
def photos(tmp_path):
    for name in ("b.png", "a.JPG", "sub/a.jpg", "sub/deep/c.tif", ".hidden/x.png", "sub/.y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def names(*arguments, **options) -> list[str]:
    return [image.name for image in find_images(map(str, arguments), **options)]


def test_a_folder_stands_for_its_images_with_their_sub_folders(photos):
    assert names(photos) == ["a", "b", "sub/a", "sub/deep/c"]


def test_a_file_stands_for_itself_whatever_its_suffix(photos):
    assert names(photos / "sub" / "a.jpg", photos / "notes.txt") == ["a", "notes"]


def test_patterns_are_expanded_below_their_fixed_part(photos):
    assert names(photos / "*.png") == ["b"]
    assert names(photos / "**" / "*.[jt]*") == ["sub/a", "sub/deep/c"]
    assert names(photos / "s*b") == ["sub/a", "sub/deep/c"]


def test_an_image_given_twice_is_predicted_once(photos):
    assert names(photos / "b.png", photos / "*.png", photos / "sub" / ".." / "b.png") == ["b"]


def test_masks_of_an_earlier_run_are_no_images(photos):
    assert names(photos, leave_out=photos / "sub") == ["a", "b"]


@pytest.mark.parametrize("argument", ["nothing", "*.bmp", "empty"])
def test_an_argument_without_images_is_an_error(photos, argument):
    (photos / "empty").mkdir()
    with pytest.raises(PredictionError, match="holds no images"):
        names(photos / argument)


def test_sub_folders_keep_equal_names_apart(photos):
    plan = plan_outputs(find_images([str(photos)]), Path("out"), ["index", "color"])
    targets = [target.as_posix() for paths in plan.values() for target in paths.values()]
    assert "out/sub/a.png" in targets and "out/a.color.png" in targets
    assert len(set(targets)) == 8


def test_equal_names_from_two_places_are_an_error_that_names_both(photos):
    images = find_images([str(photos / "a.JPG"), str(photos / "sub" / "a.jpg")])
    with pytest.raises(PredictionError, match=r"a\.JPG and .*a\.jpg would both be written"):
        plan_outputs(images, Path("out"), ["index"])


def test_an_image_is_never_replaced_by_its_mask(photos):
    with pytest.raises(PredictionError, match="would replace the image"):
        plan_outputs(find_images([str(photos / "b.png")]), photos, ["index"])
