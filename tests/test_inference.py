import numpy as np
import pytest
import torch

from autoseg.config import Geometry
from autoseg.inference import segment
from autoseg.preprocessing import Preprocessing

CPU = torch.device("cpu")


def identity_of_the_network_input(images: torch.Tensor) -> torch.Tensor:
    """Logits that depend on each pixel alone, so that tiling must not show."""
    return images * 4


def preprocessing(scale: float = 1.0) -> Preprocessing:
    geometry = Geometry(window=(64, 64), scale=scale)
    return Preprocessing(geometry, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def smooth_image(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, 7, 9)))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return fine[0].permute(1, 2, 0).clamp(0, 1).mul(255).byte().numpy()


def test_tiles_leave_no_seam():
    image = smooth_image(200, 333)
    whole = segment(identity_of_the_network_input, image, preprocessing(), device=CPU)
    tiled = segment(
        identity_of_the_network_input, image, preprocessing(), device=CPU, tile=(64, 96)
    )
    assert np.array_equal(whole.mask, tiled.mask)
    assert np.allclose(whole.confidence, tiled.confidence, atol=2e-3)


@pytest.mark.parametrize("scale", [0.31, 0.5, 1.7])
@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_a_resized_prediction_equals_torch_interpolation(scale, tile):
    image = smooth_image(190, 251)
    got = segment(
        identity_of_the_network_input, image, preprocessing(scale), device=CPU, tile=tile,
        with_probabilities=True,
    )  # fmt: skip
    small = segment(
        identity_of_the_network_input,
        np.asarray(__import__("PIL.Image", fromlist=["Image"]).fromarray(image).resize(
            (round(251 * scale), round(190 * scale)), 2)),
        preprocessing(), device=CPU, with_probabilities=True,
    )  # fmt: skip
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(small.probabilities).float()[None], (190, 251), mode="bilinear"
    )[0]
    assert np.allclose(got.probabilities, wanted, atol=4e-3)
    assert got.mask.shape == (190, 251)


def test_the_mirrored_average_is_symmetric():
    image = smooth_image(64, 96)

    def lopsided(images: torch.Tensor) -> torch.Tensor:
        return images * torch.linspace(0, 4, images.shape[-1])

    once = segment(lopsided, image, preprocessing(), device=CPU, flip=True)
    mirrored = segment(
        lopsided, np.ascontiguousarray(image[:, ::-1]), preprocessing(), device=CPU, flip=True
    )
    assert np.array_equal(once.mask, mirrored.mask[:, ::-1])


def test_a_network_that_sees_small_tiles_predicts_an_image_of_any_shape():
    for height, width in ((1, 1), (5, 400), (400, 5), (65, 64)):
        image = smooth_image(max(height, 2), max(width, 2))[:height, :width]
        got = segment(
            identity_of_the_network_input, image, preprocessing(), device=CPU, tile=(64, 64)
        )
        assert got.mask.shape == (height, width)


@pytest.mark.parametrize("num_classes", [1, 2, 3, 20, 256])
def test_each_pixel_gets_its_most_likely_class_the_first_of_equal_ones(num_classes):
    image = smooth_image(64, 96)
    shades = torch.linspace(-1, 1, num_classes)[:, None, None]

    def nearest_shade(images: torch.Tensor) -> torch.Tensor:
        # Rounded, so that many pixels lie halfway between two classes.
        return -(images[:, :1].mul(8).round().div(8) - shades).abs() * 8

    got = segment(
        nearest_shade, image, preprocessing(), device=CPU, with_probabilities=True
    )  # fmt: skip
    probabilities = nearest_shade(
        preprocessing().normalize(torch.from_numpy(image).permute(2, 0, 1)[None])
    ).softmax(1)[0]
    assert np.array_equal(got.mask, probabilities.numpy().argmax(0))
    assert np.array_equal(got.confidence, probabilities.amax(0).half().numpy())


def test_a_network_may_take_the_pixels_as_they_are():
    image = smooth_image(64, 96)
    seen = []

    def remember(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return identity_of_the_network_input(preprocessing().normalize(images))

    got = segment(remember, image, preprocessing(), device=CPU, raw=True)
    wanted = segment(identity_of_the_network_input, image, preprocessing(), device=CPU)
    assert np.array_equal(got.mask, wanted.mask)
    assert np.array_equal(seen[0][0].permute(1, 2, 0).numpy(), image)
