"""int8: calibrated on training images, judged on validation images, refused where it loses."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from predict_helpers import finished_run

from autoseg import quantization
from autoseg.bundle import load_bundle
from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.engines import is_installed, load_engine
from autoseg.errors import BundleError
from autoseg.quantization import calibration_data, export_int8
from autoseg.workspace import Workspace

pytestmark = pytest.mark.skipif(
    not is_installed("onnxruntime"), reason="the extra onnx is not installed"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    source = make_sample_dataset(home / "source", n_images=12, size=(96, 128))
    run = finished_run(Workspace(home), "photos", source)
    fingerprint = check_dataset(source, max_workers=1).fingerprint
    run.write_info(replace(run.info(), data_fingerprint=fingerprint))
    return run


def test_a_network_in_int8_is_smaller_and_loses_little(run, tmp_path):
    bundle = load_bundle(run.model)
    data = calibration_data(bundle)
    said = []
    found = export_int8(bundle, tmp_path / "model.onnx", "onnxruntime", data, said.append)
    assert found.miou_before - found.miou_after <= quantization.MAX_DROP
    assert f"{found.miou_after:.2%}" in said[-1]
    engine = load_engine("onnxruntime", found.path)
    assert quantization._miou(engine, bundle, data) == pytest.approx(found.miou_after, abs=1e-3)
    assert found.path.stat().st_size < (run.model / "model.safetensors").stat().st_size


@pytest.mark.skipif(not is_installed("openvino"), reason="the extra openvino is not installed")
def test_openvino_gets_two_files_that_it_reads(run, tmp_path):
    bundle = load_bundle(run.model)
    path = tmp_path / "model.xml"
    found = export_int8(bundle, path, "openvino", calibration_data(bundle))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    got = quantization._miou(load_engine("openvino", path), bundle, calibration_data(bundle))
    assert got == pytest.approx(found.miou_after, abs=1e-3)


def test_a_loss_that_is_too_great_writes_nothing_and_tells_both_numbers(run, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "MAX_DROP", -1.0)  # No network gains that much.
    bundle = load_bundle(run.model)
    with pytest.raises(BundleError, match="loses too much") as caught:
        export_int8(bundle, tmp_path / "model.onnx", "onnxruntime", calibration_data(bundle))
    assert len(re.findall(r"\d+\.\d\d%", str(caught.value))) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_its_run_needs_data(run, tmp_path):
    alone = load_bundle(shutil.copytree(run.model, tmp_path / "model"))
    with pytest.raises(BundleError, match="--data"):
        calibration_data(alone)


def test_calibration_looks_at_training_images_of_many_places(run):
    bundle = load_bundle(run.model)
    data = calibration_data(bundle)
    images = quantization._calibration_images(bundle, data)
    assert len(images) == min(len(data.splits.train), 64)
    assert all(image.dtype == np.uint8 and image.shape[2] % 32 == 0 for image in images)
    assert not set(data.splits.train) & set(data.splits.val)
