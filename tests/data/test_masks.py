import numpy as np
import pytest
from data_helpers import blocks
from PIL import Image

from autoseg.config import IGNORE_INDEX
from autoseg.data.dataset import check_dataset
from autoseg.errors import AmbiguousMasksError, DatasetError

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def stripes(values, number=6, **shape):
    return [blocks(values, seed=index, **shape) for index in range(number)]


def colored(colors, number=6, **shape):
    table = np.asarray(colors, dtype=np.uint8)
    return [table[mask] for mask in stripes(range(len(colors)), number, **shape)]


def meaning(dataset):
    return {row.raw: row.class_name for row in dataset.verdict.rows}


@pytest.mark.parametrize("pair", [(0, 255), (0, 1), (0, 128), (1, 2), (3, 200)])
def test_two_values_are_background_and_foreground(write_set, pair):
    dataset = check_dataset(write_set(stripes(pair)))
    assert dataset.classes.names == ("background", "foreground")
    assert meaning(dataset) == {str(pair[0]): "background", str(pair[1]): "foreground"}
    for index in range(len(dataset)):
        np.testing.assert_array_equal(dataset.mask(index), blocks([0, 1], seed=index))


def test_one_bit_masks_are_binary(write_set):
    masks = [Image.fromarray(mask).convert("1") for mask in stripes([0, 255])]
    np.testing.assert_array_equal(check_dataset(write_set(masks)).mask(0), blocks([0, 1]))


def test_small_numbers_are_the_classes_themselves(write_set):
    dataset = check_dataset(write_set(stripes([0, 1, 2, 3])))
    assert dataset.classes.num_classes == 4
    np.testing.assert_array_equal(dataset.mask(2), blocks([0, 1, 2, 3], seed=2))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_masks_of_more_bits_are_read_the_same(write_set, dtype):
    masks = [mask.astype(dtype) for mask in stripes([0, 1, 2])]
    dataset = check_dataset(write_set(masks, suffix=".tif"))
    np.testing.assert_array_equal(dataset.mask(0), blocks([0, 1, 2]))


@pytest.mark.parametrize("values", [(0, 127, 255), (0, 38, 75, 113), (10, 100, 200), (0, 2, 7)])
def test_values_with_gaps_are_classes_in_order(write_set, values):
    dataset = check_dataset(write_set(stripes(values)))
    assert dataset.classes.num_classes == len(values)
    np.testing.assert_array_equal(dataset.mask(1), blocks(range(len(values)), seed=1))
    assert all("in order" in row.why for row in dataset.verdict.rows)


@pytest.mark.parametrize("values", [(0, 1, 255), (0, 1, 2, 3, 255), (*range(19), 255)])
def test_255_beside_small_numbers_is_ignored_and_the_verdict_says_why(write_set, values):
    dataset = check_dataset(write_set(stripes(values, width=60)))
    assert dataset.classes.num_classes == len(values) - 1
    np.testing.assert_array_equal(dataset.mask(0), blocks(values, width=60))
    row = next(row for row in dataset.verdict.rows if row.raw == "255")
    assert row.class_name == "ignore" and "void" in row.why
    ignored = (dataset.mask(0) == IGNORE_INDEX).sum()
    assert dataset.statistics.class_pixels[0].sum() == dataset.mask(0).size - ignored


def test_255_beside_small_numbers_with_large_gaps_is_asked(write_set):
    with pytest.raises(AmbiguousMasksError, match="255 can be a class or") as caught:
        check_dataset(write_set(stripes([0, 15, 255])))
    assert set(caught.value.values) == {"0", "15", "255"}


def test_255_may_be_the_last_of_as_many_names_so_it_is_asked(write_set):
    with pytest.raises(AmbiguousMasksError, match="255 can be the last class or"):
        check_dataset(write_set(stripes([0, 1, 255]), classes="a\nb\nc\n"))


def test_palette_indices_are_the_classes_and_bring_their_colours(write_set):
    masks = [Image.fromarray(mask).convert("P") for mask in stripes([0, 1, 2])]
    for mask, values in zip(masks, stripes([0, 1, 2]), strict=True):
        mask.frombytes(values.tobytes())
        mask.putpalette([*BLACK, *RED, *GREEN])
    dataset = check_dataset(write_set(masks))
    np.testing.assert_array_equal(dataset.mask(3), blocks([0, 1, 2], seed=3))
    assert dataset.classes.palette == (BLACK, RED, GREEN)


def test_palettes_that_contradict_each_other_are_read_by_colour(write_set):
    masks = []
    for index, values in enumerate(stripes([0, 1, 2])):
        mask = Image.new("P", values.shape[::-1])
        order = [BLACK, RED, GREEN] if index % 2 else [GREEN, BLACK, RED]
        mask.putpalette([channel for color in order for channel in color])
        wanted = [order.index(color) for color in (BLACK, GREEN, RED)]
        mask.frombytes(np.asarray(wanted, np.uint8)[values].tobytes())
        masks.append(mask)
    dataset = check_dataset(write_set(masks))
    assert dataset.classes.palette == (BLACK, GREEN, RED)
    for index in range(len(dataset)):
        np.testing.assert_array_equal(dataset.mask(index), blocks([0, 1, 2], seed=index))


def test_each_colour_is_a_class(write_set):
    dataset = check_dataset(write_set(colored([BLACK, BLUE, GREEN, RED])))
    assert dataset.classes.palette == (BLACK, BLUE, GREEN, RED)
    assert dataset.classes.names == ("#000000", "#0000ff", "#00ff00", "#ff0000")
    np.testing.assert_array_equal(dataset.mask(2), blocks(range(4), seed=2))


def test_a_class_list_gives_colours_their_names_and_order(write_set):
    classes = "soil 255 0 0\nsky 0 0 255\nother 0 0 0\nunused 9 9 9\n"
    dataset = check_dataset(write_set(colored([BLACK, BLUE, RED]), classes=classes))
    assert dataset.classes.names == ("soil", "sky", "other", "unused")
    np.testing.assert_array_equal(dataset.mask(0), np.array([2, 1, 0])[blocks([0, 1, 2])])
    assert any("No pixel has the class unused" in note for note in dataset.verdict.notes)


def test_a_colour_missing_from_the_class_list_is_an_error_that_names_it(write_set):
    root = write_set(colored([BLACK, BLUE, RED]), classes="a 0 0 0\nb 0 0 255\n")
    with pytest.raises(DatasetError, match=r"000\.png holds the colour #ff0000"):
        check_dataset(root)


def test_names_without_colours_beside_coloured_masks_are_asked(write_set):
    with pytest.raises(AmbiguousMasksError, match="which of the 3 colours"):
        check_dataset(write_set(colored([BLACK, BLUE, RED]), classes="a\nb\nc\n"))


def test_alpha_does_not_matter(write_set):
    masks = [
        np.dstack([mask, np.full(mask.shape[:2], 7, np.uint8)]) for mask in colored([BLACK, RED])
    ]
    np.testing.assert_array_equal(check_dataset(write_set(masks)).mask(0), blocks([0, 1]))


def smooth(mask, **shape):
    """The mask as an editor with soft edges saves it."""
    image = Image.fromarray(mask)
    small = image.resize((image.width * 3, image.height * 3), Image.Resampling.NEAREST)
    return small.rotate(7, Image.Resampling.BICUBIC).resize(
        (image.width, image.height), Image.Resampling.BOX
    )


def disc(value, other, size=96):
    rows, columns = np.mgrid[:size, :size]
    inside = (rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2
    mask = np.empty((size, size, *np.shape(value)), np.uint8)
    mask[...], mask[inside] = other, value
    return mask


def test_soft_edges_of_coloured_masks_go_to_the_nearest_class_and_are_noted(write_set):
    masks = [smooth(disc(RED, GREEN)) for _ in range(6)]
    dataset = check_dataset(write_set(masks))
    assert dataset.classes.palette[-1] == RED
    assert any("took the nearest class" in note for note in dataset.verdict.notes)
    rgb = np.asarray(masks[0]).astype(int)
    red = ((rgb - RED) ** 2).sum(-1) < ((rgb - GREEN) ** 2).sum(-1)
    lit = rgb.sum(-1) > 200
    names = dataset.classes.palette
    agree = (dataset.mask(0) == names.index(RED)) == red
    assert agree[lit].mean() > 0.99


@pytest.mark.parametrize("names", [None, "cell\n", "rest\ncell\n"])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_noisy_binary_masks_are_cut_in_the_middle_and_noted(write_set, suffix, names):
    masks = [smooth(disc(255, 0)) for _ in range(6)]
    dataset = check_dataset(write_set(masks, suffix=suffix, classes=names))
    with Image.open(dataset.samples[0].mask_path) as stored:
        expected = np.asarray(stored) >= 128
    np.testing.assert_array_equal(dataset.mask(0), expected)
    assert any("cut at 128" in note for note in dataset.verdict.notes)
    assert dataset.classes.names[1] == (names.split()[-1] if names else "foreground")


def test_statistics_of_noisy_masks_count_classes_and_not_raw_values(write_set):
    dataset = check_dataset(write_set([smooth(disc(255, 0))] * 6, suffix=".jpg"))
    mask = dataset.mask(0)
    assert dataset.statistics.class_pixels[0].tolist() == [(mask == 0).sum(), (mask == 1).sum()]
    edges = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
    assert dataset.statistics.class_boundary[0].tolist() == [edges, edges]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numbered_objects_are_asked_about(write_set, dtype):
    masks = [blocks(range(n), width=40).astype(dtype) for n in (3, 5, 9, 12, 7, 20)]
    with pytest.raises(AmbiguousMasksError, match="instances") as caught:
        check_dataset(write_set(masks))
    assert caught.value.values[0] == "0"


def test_numbered_objects_of_random_colours_are_asked_about(write_set):
    rng = np.random.default_rng(0)
    masks = [rng.integers(0, 256, (20, 3), np.uint8)[blocks(range(20), 24, 40)] for _ in range(8)]
    with pytest.raises(AmbiguousMasksError, match="instances"):
        check_dataset(write_set(masks))


def test_the_users_mapping_makes_numbered_objects_one_class(write_set):
    masks = [blocks(range(n), width=40) for n in (3, 5, 9, 12, 7, 20)]
    dataset = check_dataset(write_set(masks), mapping={"0": "background", "*": "object"})
    assert dataset.classes.names == ("background", "object")
    np.testing.assert_array_equal(dataset.mask(2), masks[2] > 0)
    assert any("object, as you said" in note for note in dataset.verdict.notes)


def test_the_users_mapping_overrides_what_the_masks_look_like(write_set):
    root = write_set(stripes([0, 1, 2, 255]))
    dataset = check_dataset(root, mapping={"0": "ignore", "1": "a", "2": "b", "255": "b"})
    assert meaning(dataset) == {"0": "ignore", "1": "a", "2": "b", "255": "b"}
    np.testing.assert_array_equal(dataset.mask(0), np.array([255, 0, 1, 1])[blocks([0, 1, 2, 3])])


def test_the_users_mapping_may_name_colours_and_class_numbers(write_set):
    root = write_set(colored([BLACK, BLUE, RED]))
    dataset = check_dataset(root, mapping={"0,0,0": 0, "#0000FF": 1, "#ff0000": 1})
    np.testing.assert_array_equal(dataset.mask(0), np.array([0, 1, 1])[blocks([0, 1, 2])])


@pytest.mark.parametrize(
    ("values", "classes", "names", "ignored"),
    [
        ([0, 1, 2, 255], "soil\nleaf\nrust\n", ("soil", "leaf", "rust"), 255),
        ([0, 1, 2, 7], "soil\nleaf\nrust\n", ("soil", "leaf", "rust"), 7),
        ([0, 100, 200], None, ("class_0", "class_200"), 100),
        ([0, 1, 2], None, ("class_1", "class_2"), 0),
        ([0, 1, 2, 255], None, ("class_0", "class_1", "class_2"), 255),
        ([0, 7, 9, 30], "9: car\n0: road\n7: tree\n", ("road", "tree", "car"), 30),
    ],
)
def test_a_mapping_that_only_says_what_to_ignore_leaves_the_rest_to_the_rules(
    write_set, values, classes, names, ignored
):
    """It was refused, as the other values had no class: the README's own example."""
    root = write_set(stripes(values), **({} if classes is None else {"classes": classes}))
    dataset = check_dataset(root, mapping={str(ignored): "ignore"})
    assert dataset.classes.names == names
    expected = np.full(len(values), IGNORE_INDEX)
    expected[[value != ignored for value in values]] = range(len(names))
    np.testing.assert_array_equal(dataset.mask(0), expected[blocks(range(len(values)))])
    whys = {row.raw: row.why for row in dataset.verdict.rows}
    assert whys[str(ignored)] == "as you said"


def test_to_confirm_what_is_void_anyway_changes_nothing(write_set):
    root = write_set(stripes([0, 1, 255]))
    before, confirmed = check_dataset(root), check_dataset(root, mapping={"255": "ignore"})
    assert confirmed.classes == before.classes and confirmed.fingerprint == before.fingerprint
    assert meaning(confirmed) == meaning(before)


def test_the_other_class_of_two_beside_a_void_is_not_taken_for_the_background(write_set):
    with pytest.raises(DatasetError, match="one class only"):
        check_dataset(write_set(stripes([0, 1, 255])), mapping={"0": "ignore"})


def test_what_is_ignored_takes_the_noise_around_it_with_it(write_set):
    """Values beside an ignored one of a JPEG became a class of their own."""
    masks = stripes([0, 128, 255], height=64, width=64)
    root = write_set(masks, suffix=".jpg")
    assert len(np.unique(Image.open(root / "masks" / "000.jpg"))) > 3
    dataset = check_dataset(root, mapping={"255": "ignore"})
    assert dataset.classes.num_classes == 2
    for index, mask in enumerate(masks):
        np.testing.assert_array_equal(dataset.mask(index) == IGNORE_INDEX, mask == 255)


def test_a_value_to_ignore_that_no_mask_holds_is_told(write_set):
    dataset = check_dataset(write_set(stripes([0, 255])), mapping={"225": "ignore"})
    assert dataset.classes.names == ("background", "foreground")
    assert "No mask holds 225, which you said to ignore." in dataset.verdict.notes


def test_a_question_about_the_others_lists_what_is_ignored_too(write_set):
    """An answer by its example made an object of the void."""
    masks = [blocks(range(n), width=40).astype(np.uint16) for n in (3, 5, 9, 12, 7, 20)]
    for mask in masks:
        mask[:2] = 65535
    with pytest.raises(AmbiguousMasksError, match="beside 65535=ignore") as caught:
        check_dataset(write_set(masks), mapping={"65535": "ignore"})
    assert {"0", "1", "65535"} <= set(caught.value.values)


def test_colours_may_be_ignored_without_naming_the_others(write_set):
    dataset = check_dataset(write_set(colored([BLACK, RED, BLUE])), mapping={"0,0,255": "ignore"})
    expected = np.array([0, 1, IGNORE_INDEX])[blocks([0, 1, 2])]
    np.testing.assert_array_equal(dataset.mask(0), expected)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"0": "a"}, "holds the value 1, which has no class"),
        ({"zero": "a", "*": "b"}, "'zero' in the mapping is no mask value"),
        ({"#000000": "a", "*": "b"}, "masks hold numbers"),
        ({"0": "a", "*": "a"}, "one class only"),
        (
            {"0": "ignore", "1": "ignore"},
            r"one class only \(the value 2; the values 0, 1 left out\).*Ignore fewer values",
        ),
        (
            {"0": "ignore", "1": "ignore", "2": "ignore"},
            r"no class \(the values 0, 1, 2 left out\)",
        ),
        ({"99999999999999999999": "ignore"}, "is no mask value"),
        ({"0": 0, "*": 2}, "must be 0, 1, 2"),
        ({"0": 0, "*": "a"}, "both class names and class numbers"),
    ],
)
def test_a_mapping_that_does_not_hold_is_refused(write_set, mapping, message):
    with pytest.raises(DatasetError, match=message):
        check_dataset(write_set(stripes([0, 1, 2])), mapping=mapping)


def test_more_names_than_values_are_fine(write_set):
    dataset = check_dataset(write_set(stripes([0, 2])), class_names=["a", "b", "c"])
    np.testing.assert_array_equal(dataset.mask(0), blocks([0, 2]))
    assert dataset.classes.names == ("a", "b", "c")


def test_a_value_without_a_name_is_an_error_naming_file_and_value(write_set):
    masks = [*stripes([0, 1]), blocks([0, 1, 5])]
    with pytest.raises(DatasetError, match=r"006\.png holds the value 5, which has no class name"):
        check_dataset(write_set(masks, classes="a\nb\n"))


def test_a_class_list_without_the_background_says_so(write_set):
    with pytest.raises(DatasetError, match="If value 0 is the background"):
        check_dataset(write_set(stripes([0, 1, 2, 3]), classes="a\nb\nc\n"))


def test_a_class_list_with_values_is_followed(write_set):
    dataset = check_dataset(write_set(stripes([0, 7, 9])), class_names=None)
    assert dataset.classes.names == ("class_0", "class_7", "class_9")
    root = write_set(stripes([0, 7, 9]), classes="9: car\n0: road\n7: tree\n")
    dataset = check_dataset(root)
    assert dataset.classes.names == ("road", "tree", "car")


@pytest.mark.parametrize("value", [0, 1, 255])
def test_one_class_in_the_whole_set_is_an_error(write_set, value):
    with pytest.raises(DatasetError, match="one class only"):
        check_dataset(write_set(stripes([value])))


def test_in_between_values_may_take_the_nearest_class_that_the_user_named(write_set):
    """A set whose soft edges were snapped could not be renamed: its other values had no class."""
    root = write_set([smooth(disc(255, 0))] * 6, suffix=".jpg")
    found = check_dataset(root)
    named = check_dataset(root, mapping={"0": "slide", "255": "cell", "*": "nearest"})
    assert named.classes.names == ("slide", "cell")
    np.testing.assert_array_equal(named.mask(0), found.mask(0))


def test_the_users_names_may_replace_those_of_a_class_list(write_set):
    root = write_set(stripes([0, 1, 2]), classes="soil\nleaf\nrust\n")
    dataset = check_dataset(root, mapping={"0": "soil", "1": "leaf", "2": "spots"})
    assert dataset.classes.names == ("soil", "leaf", "spots")
    assert any("classes.txt does not name spots" in note for note in dataset.verdict.notes)


def test_each_value_names_the_image_that_has_the_most_of_it(write_set):
    masks = [blocks([0, 1]) for _ in range(6)]
    masks[3][:, 4:] = 1
    masks[5][:, 4:] = 0
    dataset = check_dataset(write_set(masks))
    assert {row.raw: row.example for row in dataset.verdict.rows} == {"0": "005", "1": "003"}


def test_a_question_says_how_much_there_is_of_each_value_and_where(write_set):
    masks = [blocks(range(n), width=40) for n in (3, 5, 9, 12, 7, 20)]
    with pytest.raises(AmbiguousMasksError) as caught:
        check_dataset(write_set(masks))
    found = {value.raw: value for value in caught.value.found}
    assert found["0"].images == 6 and found["19"].images == 1
    assert found["19"].example == "005"
    assert sum(value.share for value in found.values()) == pytest.approx(1)


def test_coffee_leaf_is_read_by_its_class_list(coffee_leaf, tmp_path):
    for split in ("test", "val"):
        (tmp_path / split).symlink_to(coffee_leaf / split)
    (tmp_path / "classes.txt").write_bytes((coffee_leaf / "classes.txt").read_bytes())
    dataset = check_dataset(tmp_path)
    assert dataset.classes.names == ("background", "leaf", "symptom")
    assert meaning(dataset) == {"0": "background", "1": "leaf", "2": "symptom"}
    with Image.open(dataset.samples[7].mask_path) as stored:
        np.testing.assert_array_equal(dataset.mask(7), np.asarray(stored))
