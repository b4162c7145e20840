import numpy as np
import pytest
from data_helpers import blocks, photo
from PIL import Image, ImageOps

from autoseg.data.images import image_size, read_image, read_mask
from autoseg.errors import DatasetError


def save(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_any_mode_becomes_the_rgb_that_pillow_converts_it_to(tmp_path, mode):
    source = Image.fromarray(photo(1)).convert(mode)
    suffix = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    path = save(tmp_path / f"x.{suffix}", source)
    with Image.open(path) as stored:
        expected = np.asarray(stored.convert("RGB"))
    np.testing.assert_array_equal(read_image(path), expected)


def test_transparency_is_dropped_and_not_laid_over_a_colour(tmp_path):
    rgba = np.dstack([photo(1), np.zeros((24, 32), np.uint8)])
    np.testing.assert_array_equal(
        read_image(save(tmp_path / "x.png", Image.fromarray(rgba))), rgba[..., :3]
    )


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_divided_by_256_and_not_stretched(tmp_path, suffix):
    values = np.linspace(0, 30_000, 24 * 32).reshape(24, 32).astype(np.uint16)
    image = read_image(save(tmp_path / f"x.{suffix}", Image.fromarray(values)))
    np.testing.assert_array_equal(image, np.repeat((values >> 8)[..., None], 3, axis=2))


def test_16_bit_files_that_hold_8_bit_values_keep_them(tmp_path):
    values = np.arange(24 * 32).reshape(24, 32).astype(np.uint16) % 256
    image = read_image(save(tmp_path / "x.png", Image.fromarray(values)))
    np.testing.assert_array_equal(image[..., 0], values)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_exif_orientation_is_applied_as_pillow_applies_it(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"x.{suffix}", Image.fromarray(photo(1)), exif=exif)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    image = read_image(path)
    np.testing.assert_array_equal(image, expected)
    assert image_size(path) == image.shape[:2]


def test_a_truncated_image_is_an_error_that_names_it(tmp_path):
    path = save(tmp_path / "cut.jpg", Image.fromarray(photo(1, 200, 300)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"cut\.jpg does not decode .*truncated"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_image_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    for read in (read_image, read_mask, image_size):
        with pytest.raises(DatasetError, match=r"odd\.png"):
            read(path)


def test_a_missing_image_is_an_error_that_names_it(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.png"):
        read_image(tmp_path / "gone.png")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = save(tmp_path / "bomb.png", Image.new("1", (20_000, 20_000)))
    with pytest.raises(DatasetError, match=r"bomb\.png has more than 178,956,970 pixels"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_mask_values_of_any_width_stay_what_they_are(tmp_path, dtype):
    values = blocks([0, 1, 7, 200]).astype(dtype)
    raw = read_mask(save(tmp_path / "m.tif", Image.fromarray(values)))
    assert raw.kind == "gray"
    np.testing.assert_array_equal(raw.values, values)


def test_a_palette_mask_gives_its_indices_and_colours(tmp_path):
    mask = Image.fromarray(blocks([0, 1, 2])).convert("P")
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    raw = read_mask(save(tmp_path / "m.png", mask))
    np.testing.assert_array_equal(raw.values, blocks([0, 1, 2]))
    assert raw.palette[:3].tolist() == [0, 0xFF0000, 0x00FF00]


def test_grey_colours_count_as_grey_and_others_are_packed(tmp_path):
    gray = np.repeat(blocks([0, 255])[..., None], 3, axis=2)
    assert read_mask(save(tmp_path / "g.png", Image.fromarray(gray))).kind == "gray"
    gray[..., 2] = 7
    raw = read_mask(save(tmp_path / "c.png", Image.fromarray(gray)))
    assert (raw.kind, set(np.unique(raw.values).tolist())) == ("color", {0x000007, 0xFFFF07})


def test_a_mask_of_fractions_is_an_error(tmp_path):
    values = np.full((4, 4), 0.5, np.float32)
    with pytest.raises(DatasetError, match="fractions"):
        read_mask(save(tmp_path / "m.tif", Image.fromarray(values)))
