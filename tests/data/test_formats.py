import json

import pytest

from autoseg.data.formats import find_samples
from autoseg.errors import DatasetError


@pytest.fixture
def tree(tmp_path):
    """Make empty files at the given paths; returns the root."""

    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return tmp_path

    return make


def pairs(layout):
    root = layout.root
    return {
        sample.name: (
            sample.image_path.relative_to(root).as_posix(),
            sample.mask_path.relative_to(root).as_posix(),
        )
        for sample in layout.samples
    }


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("images", "masks"),
        ("img", "labels"),
        ("JPEGImages", "SegmentationClass"),
        ("Image", "GT"),
        ("data/imgs", "data/annotations"),
        ("rgb", "ground_truth"),
        ("images/all", "masks"),
    ],
)
def test_folders_of_many_names_are_paired_by_stem(tree, images, masks):
    layout = find_samples(tree(f"{images}/a.jpg", f"{masks}/a.png"))
    assert [sample.mask_path.name for sample in layout.samples] == ["a.png"]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("Photo_1.JPG", "photo_1.png"),
        ("1.jpeg", "1_mask.png"),
        ("1.jpg", "1_seg.png"),
        ("1.tif", "1_gt.TIFF"),
        ("1.jpg", "1-label.png"),
        ("1_sat.jpg", "1_mask.png"),
        ("img_1.png", "mask_1.png"),
        ("1.bmp", "1_mask.gif"),
    ],
)
def test_stems_pair_in_any_case_and_with_common_affixes(tree, image, mask):
    layout = find_samples(tree(f"images/{image}", f"masks/{mask}"))
    assert len(layout.samples) == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{split}/images/{stem}.jpg {split}/masks/{stem}.png", "train/a"),
        ("images/{split}/{stem}.jpg masks/{split}/{stem}.png", "train/a"),
        ("{split}_images/{stem}.jpg {split}_masks/{stem}.png", "train/a"),
        ("{split}/{stem}.jpg {split}/{stem}_mask.png", "train/a"),
        ("{split}/{stem}.png {split}annot/{stem}.png", "train/a"),
        ("{split}/{stem}.jpg {split}_masks/{stem}_mask.gif", "train/a"),
    ],
)
def test_split_folders_are_found_above_and_below(tree, pattern, expected):
    files = []
    for split in ("train", "val", "test"):
        files += pattern.format(split=split, stem="a").split()
    layout = find_samples(tree(*files))
    assert [sample.split for sample in layout.samples] == ["test", "train", "val"]
    assert expected in pairs(layout)


@pytest.mark.parametrize("word", ["val", "valid", "validation", "Val"])
def test_every_word_for_validation_is_val(tree, word):
    layout = find_samples(tree(f"{word}/images/a.jpg", f"{word}/masks/a.png"))
    assert layout.samples[0].split == "val"


def test_a_flat_folder_pairs_masks_by_their_suffix(tree):
    layout = find_samples(tree("x.jpg", "x_mask.png", "y.jpg", "y_mask.png"))
    assert pairs(layout) == {"x": ("x.jpg", "x_mask.png"), "y": ("y.jpg", "y_mask.png")}


def test_a_flat_folder_pairs_a_jpeg_with_the_png_of_its_name(tree):
    layout = find_samples(tree("x.jpg", "x.png", "y.jpg", "y.png"))
    assert pairs(layout) == {"x": ("x.jpg", "x.png"), "y": ("y.jpg", "y.png")}


def test_images_of_subfolders_keep_apart_what_shares_a_stem(tree):
    layout = find_samples(
        tree("images/p/1.png", "images/q/1.png", "masks/p/1.png", "masks/q/1.png")
    )
    assert pairs(layout) == {
        "p/1": ("images/p/1.png", "masks/p/1.png"),
        "q/1": ("images/q/1.png", "masks/q/1.png"),
    }


def test_what_has_no_partner_is_skipped_with_the_reason(tree):
    root = tree(
        "images/a.png", "masks/a.png", "images/b.png", "masks/c.png", "notes.pdf", "extra/d.png"
    )
    skipped = {item.path: item.why for item in find_samples(root).skipped}
    assert skipped == {
        "images/b.png": "image without a mask",
        "masks/c.png": "mask without an image",
        "notes.pdf": "not an image file",
        "extra/d.png": "neither in an image nor in a mask folder",
    }


def test_leftovers_of_operating_systems_are_not_even_mentioned(tree):
    root = tree("images/a.png", "masks/a.png", "__MACOSX/images/._a.png")
    tree("images/.DS_Store", "Thumbs.db", "masks/._a.png", ".git/x.png")
    assert find_samples(root).skipped == ()


def test_two_files_of_one_stem_are_refused_by_name(tree):
    with pytest.raises(DatasetError, match=r"images/a\.jpg and images/a\.png share the stem"):
        find_samples(tree("images/a.png", "images/a.jpg", "masks/a.png"))


def test_two_masks_for_one_image_are_refused_by_name(tree):
    with pytest.raises(DatasetError, match=r"more than one mask: masks/a_gt.png, masks/a_seg.png"):
        find_samples(tree("images/a.png", "masks/a_seg.png", "masks/a_gt.png"))


def test_what_is_said_about_the_data_is_not_reported_as_left_out(tree):
    layout = find_samples(
        tree("images/a.png", "masks/a.png", "README.md", "LICENSE", ".gitattributes", "notes.txt")
    )
    assert [item.path for item in layout.skipped] == ["notes.txt"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds nothing"),
        (["readme.txt"], "holds no image file"),
        (["images/a.png"], "1 image but no masks"),
        (["masks/a.png"], "1 mask but no images"),
        (["images/a.png", "masks/b.png"], "names do not match"),
    ],
)
def test_a_folder_without_pairs_says_what_it_holds_instead(tree, files, message):
    with pytest.raises(DatasetError, match=message):
        find_samples(tree(*files))


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="does not exist"):
        find_samples(tmp_path / "gone")


def test_folders_that_link_in_a_circle_end(tree):
    root = tree("images/a.png", "masks/a.png")
    (root / "images" / "loop").symlink_to(root, target_is_directory=True)
    assert len(find_samples(root).samples) == 1


@pytest.mark.parametrize(
    ("text", "names", "colors", "values"),
    [
        ("sky\nroad \n\n# comment\ntree\n", ("sky", "road", "tree"), None, None),
        ("sky 0 0 255\nroad,128,64,128", ("sky", "road"), ((0, 0, 255), (128, 64, 128)), None),
        ("name,r,g,b\na b,1,2,3\nc,4,5,6", ("a b", "c"), ((1, 2, 3), (4, 5, 6)), None),
        ("# label:color_rgb:parts\nx:0,0,0::\ny:9,8,7::", ("x", "y"), ((0,) * 3, (9, 8, 7)), None),
        ("0: sky\n255: road", ("sky", "road"), None, (0, 255)),
        ("1 sky\n0 road", ("road", "sky"), None, (0, 1)),
        ("road: 7\nsky: 3", ("sky", "road"), None, (3, 7)),
        ("\ufefftraffic light\ncar", ("traffic light", "car"), None, None),
    ],
)
def test_class_lists_of_several_kinds_are_read(tree, text, names, colors, values):
    root = tree("images/a.png", "masks/a.png")
    (root / "classes.txt").write_text(text, encoding="utf-8")
    declared = find_samples(root).declared
    assert (declared.names, declared.colors, declared.values) == (names, colors, values)


def test_what_a_terminal_would_obey_is_taken_out_of_class_names(tree):
    root = tree("images/a.png", "masks/a.png")
    names = {"0": "leaf\x1b]0;pwned\x07", "1": f"rust\u202e\x9b2J {'x' * 1000}"}
    (root / "id2label.json").write_text(json.dumps(names))
    declared = find_samples(root).declared
    assert declared.values == (0, 1)
    assert all(name.isprintable() and len(name) <= 200 for name in declared.names)
    assert declared.names[0] == "leaf ]0;pwned"


@pytest.mark.parametrize("text", ["", "a\nb\na\n", "a 1 1 1\nb 1 1 1\n"])
def test_an_empty_or_contradictory_class_list_is_refused_by_name(tree, text):
    root = tree("images/a.png", "masks/a.png")
    (root / "classes.txt").write_text(text)
    with pytest.raises(DatasetError, match=r"classes\.txt"):
        find_samples(root)
