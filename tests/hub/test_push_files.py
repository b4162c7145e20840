import pytest
from hub_helpers import jpeg

from autoseg.errors import BundleError
from autoseg.hub.push_files import find_examples, read_report, set_licence


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("# Leaf\n", "---\nlicense: mit\n---\n\n# Leaf\n"),
        ("---\ntags: [a]\n---\nLeaf\n", "---\nlicense: mit\ntags: [a]\n---\nLeaf\n"),
        (
            "---\nlicense: other\nlicense_name: x\nlicense_link: y\ntags: [a]\n---\nLeaf\n---\n",
            "---\nlicense: mit\ntags: [a]\n---\nLeaf\n---\n",
        ),
        (
            "---\r\nlicense: x\r\na: 1\r\n---\r\nLeaf\r\n",
            "---\nlicense: mit\na: 1\r\n---\nLeaf\r\n",
        ),
    ],
)
def test_a_licence_is_set_in_the_head_of_a_card_alone(card, expected):
    assert set_licence(card, "mit") == expected


def test_example_pictures_are_jpeg_files_of_plain_names(tmp_path):
    (tmp_path / "examples").mkdir()
    for name in ("example_1.jpg", "example_0.jpg", ".hidden.jpg", "a b.jpg", "x.png"):
        (tmp_path / "examples" / name).write_bytes(jpeg())
    (tmp_path / "examples" / "text.jpg").write_text("secret")
    assert list(find_examples(tmp_path)) == ["examples/example_0.jpg", "examples/example_1.jpg"]


def test_a_linked_folder_of_examples_is_passed_over(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(jpeg())
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "examples").symlink_to(tmp_path / "pictures")
    assert find_examples(tmp_path / "bundle") == {}


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000])
def test_a_report_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(BundleError, match="report.json"):
        read_report(tmp_path)
