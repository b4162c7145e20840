import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from bundle_helpers import make_bundle, make_info, make_model
from PIL import Image

from autoseg.bundle import load_bundle, save_bundle
from autoseg.config import Geometry
from autoseg.errors import BundleError, ConfigError, PredictionError
from autoseg.predictor import Predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.from_pretrained(folder, device="cpu")


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("shape", [(96, 128), (50, 300), (7, 5), (400, 301), (1, 1)])
def test_the_mask_has_the_image_s_own_size(predictor, shape):
    prediction = predictor.predict(random_image(*shape))
    assert prediction.mask.shape == prediction.confidence.shape == shape
    assert prediction.mask.dtype == np.uint8 and prediction.confidence.dtype == np.float16
    assert prediction.mask.max() < 3
    assert (prediction.confidence >= 1 / 3 - 0.001).all() and (prediction.confidence <= 1).all()


def test_at_working_size_it_is_what_stock_smp_says(folder, predictor):
    image = random_image(96, 128)  # Fills the box and is a multiple of 32.
    info = load_bundle(folder).info.preprocessing
    mean, std = torch.tensor(info.mean), torch.tensor(info.std)
    pixels = (torch.tensor(image) / 255 - mean) / std
    with torch.inference_mode():
        logits = smp.from_pretrained(folder).eval()(pixels.permute(2, 0, 1)[None].float())
    prediction = predictor.predict(image, with_probabilities=True)
    wanted = logits.softmax(1)[0].numpy()
    assert np.allclose(prediction.probabilities, wanted, atol=2e-3)
    assert (prediction.mask != wanted.argmax(0)).mean() < 0.001


def test_files_arrays_and_pillow_images_are_one(predictor, tmp_path):
    image = random_image(60, 90)
    Image.fromarray(image).save(tmp_path / "image.png")
    wanted = predictor.predict(image)
    for other in (
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
        Image.fromarray(image),
        Image.fromarray(image).convert("RGBA"),
    ):
        assert np.array_equal(predictor.predict(other).mask, wanted.mask)
    assert predictor.predict(tmp_path / "image.png").source == tmp_path / "image.png"
    assert wanted.source is None


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16", "F"])
def test_pillow_images_of_any_mode_read_as_from_a_file(predictor, tmp_path, mode):
    if mode == "I;16":
        values = np.arange(60 * 90, dtype=np.uint16).reshape(60, 90) * 12
        image = Image.fromarray(values)
    else:
        image = Image.fromarray(random_image(60, 90)).convert(mode)
    image.save(tmp_path / "image.tif")
    got = predictor.predict(image).confidence
    assert np.array_equal(got, predictor.predict(tmp_path / "image.tif").confidence)


def test_a_grey_array_is_an_image(predictor):
    gray = random_image(40, 40)[:, :, 0]
    assert np.array_equal(
        predictor.predict(gray).mask, predictor.predict(np.stack([gray] * 3, axis=2)).mask
    )


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros((0, 4), np.uint8), 7]
)
def test_what_is_no_image_is_an_error(predictor, wrong):
    with pytest.raises(PredictionError, match="must be"):
        predictor.predict(wrong)


def test_a_broken_file_is_an_error_that_names_it(predictor, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(PredictionError, match="broken.png"):
        predictor.predict(tmp_path / "broken.png")
    with pytest.raises(PredictionError, match="missing.png"):
        predictor.predict(tmp_path / "missing.png")


def test_many_images_come_one_by_one(predictor):
    images = [random_image(40, 50, seed) for seed in range(3)]
    masks = [prediction.mask for prediction in predictor.predict_many(iter(images))]
    for image, mask in zip(images, masks, strict=True):
        assert np.array_equal(mask, predictor.predict(image).mask)


def test_mirroring_the_image_mirrors_the_averaged_prediction(predictor):
    image = random_image(96, 128)
    once = predictor.predict(image, flip=True).confidence
    mirrored = predictor.predict(np.ascontiguousarray(image[:, ::-1]), flip=True).confidence
    assert np.allclose(once, mirrored[:, ::-1], atol=2e-3)


def test_a_model_that_tells_left_from_right_is_not_averaged_with_mirrored_images(tmp_path):
    info = make_info()
    info = replace(info, recipe=replace(info.recipe, flip="none"))
    folder = save_bundle(tmp_path / "model", make_model(info), info)
    predictor = Predictor.from_pretrained(folder, device="cpu")
    image = random_image(40, 50)
    with pytest.raises(PredictionError, match="trained without mirrored images"):
        predictor.predict(image, flip=True)
    assert predictor.predict(image).mask.shape == (40, 50)


def test_no_tile_is_larger_than_was_asked(predictor, monkeypatch):
    sides = []
    forward = Predictor._forward
    monkeypatch.setattr(
        Predictor,
        "_forward",
        lambda self, images: sides.append(max(images.shape[-2:])) or forward(self, images),
    )
    image = random_image(96, 128)
    whole = predictor.predict(image).mask
    assert sides == [128]
    tiled = predictor.predict(image, tile_px=50).mask
    assert set(sides[1:]) == {64}
    assert tiled.shape == whole.shape
    with pytest.raises(PredictionError, match="at least 1"):
        predictor.predict(image, tile_px=0)


def test_a_finished_run_is_its_model_and_an_unfinished_one_says_so(folder, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(BundleError, match="neither a model"):
        Predictor.from_pretrained(run)
    (run / "search.json").write_text("{}")
    with pytest.raises(BundleError, match="has no model yet"):
        Predictor.from_pretrained(run)
    shutil.copytree(folder, run / "model")
    assert Predictor.from_pretrained(run).class_names[0] == "background"
    with pytest.raises(BundleError, match="does not exist"):
        Predictor.from_pretrained(tmp_path / "nowhere")


def test_an_unknown_device_is_an_error(folder):
    with pytest.raises(ConfigError, match="toaster"):
        Predictor.from_pretrained(folder, device="toaster")


def test_threads_are_left_alone(folder):
    threads = torch.get_num_threads()
    Predictor.from_pretrained(folder).predict(random_image(40, 40))
    assert torch.get_num_threads() == threads


LARGE = """
import sys
import numpy as np, psutil
from autoseg.predictor import Predictor
predictor = Predictor.from_pretrained(sys.argv[1], device="cpu")
image = np.random.default_rng(0).integers(0, 256, (4000, 6000, 3), dtype=np.uint8)
predictor.predict(image[:200, :200])
before = psutil.Process().memory_info().rss
prediction = predictor.predict(image)
assert prediction.mask.shape == (4000, 6000)
# Not `ru_maxrss`: a child inherits that from the process that started it.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024 - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own record")
@pytest.mark.parametrize(
    ("geometry", "num_classes"), [({"box": (512, 768)}, 3), ({"scale": 1.0}, 20)]
)
def test_an_image_of_24_megapixels_takes_less_than_2_gb(tmp_path, num_classes, geometry):
    folder = make_bundle(
        tmp_path / "model",
        num_classes=num_classes,
        geometry=Geometry(window=(384, 384), **geometry),
        encoder_name="tf_efficientnet_lite0.in1k",
    )
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(folder)], capture_output=True, text=True, check=True
    )
    print(f"{int(done.stdout) / 1e9:.2f} GB for {geometry}, {num_classes} classes")
    assert int(done.stdout) < 2e9
