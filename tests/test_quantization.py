"""int8: calibrated on training images, judged on validation images, refused where it loses."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_helpers import make_info
from predict_helpers import run_with_its_data

from autoseg import quantization
from autoseg.bundle import Bundle, load_bundle
from autoseg.config import Geometry
from autoseg.engines import TorchEngine, has_bf16, import_openvino, is_installed, load_engine
from autoseg.errors import BundleError
from autoseg.quantization import LEVELS, calibration_data, export_int8
from autoseg.training.hardware import Precision

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytestmark = pytest.mark.skipif(
    not is_installed("onnxruntime"), reason="the extra onnx is not installed"
)
needs_openvino = pytest.mark.skipif(
    not is_installed("openvino"), reason="the extra openvino is not installed"
)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path_factory.mktemp("home") / "home"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_with_its_data(tmp_path_factory.mktemp("home"))


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


@needs_openvino
def test_a_name_that_openvino_s_files_cannot_have_is_refused_before_any_work(run, tmp_path):
    """It was found after minutes of calibrating."""
    bundle, said = load_bundle(run.model), []
    with pytest.raises(BundleError, match="NAME.xml"):
        export_int8(bundle, tmp_path / "x.onnx", "openvino", calibration_data(bundle), said.append)
    assert said == [] and not list(tmp_path.iterdir())


@needs_openvino
def test_openvino_gets_two_files_that_it_reads(run, tmp_path):
    bundle = load_bundle(run.model)
    path = tmp_path / "model.xml"
    found = export_int8(bundle, path, "openvino", calibration_data(bundle))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.bin", "model.xml"]
    got = quantization._miou(load_engine("openvino", path), bundle, calibration_data(bundle))
    assert got >= found.miou_after - 1e-3
    # As other programs load it: in bfloat16 where the processor has it.
    images = np.zeros((1, 3, 64, 96), np.float32)
    compiled = import_openvino().Core().compile_model(str(path), "CPU")
    assert np.isfinite(compiled.create_infer_request().infer({0: images})[0]).all()


class WideReLU6(torch.nn.Module):
    """Almost all that its first layer gives lies far outside what ReLU6 lets through."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.second = torch.nn.Conv2d(16, 2, 1)
        self.first.weight.data *= 100

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(torch.nn.functional.relu6(self.first(images)))


@pytest.mark.parametrize(
    ("engine", "bf16"),
    [
        ("onnxruntime", False),
        pytest.param("openvino", False, marks=needs_openvino),
        pytest.param("openvino", True, marks=needs_openvino),
    ],
)
def test_values_that_a_relu6_cuts_off_take_no_steps(tmp_path, engine, bf16):
    """They took most of the 256, which cost 0.9 points; and OpenVINO refused bfloat16 with them."""
    if bf16 and not has_bf16(engine):
        pytest.skip("this processor has no bfloat16")
    info = make_info(2, geometry=Geometry(window=(64, 64), scale=1.0))
    bundle = Bundle(Path(), WideReLU6().eval(), info)
    pixels = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    source, target = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    quantization._prepare(bundle, source)
    quantization._quantize(source, target, [pixels.numpy()], LEVELS[0])
    with torch.inference_mode():
        wanted = TorchEngine(bundle.model, info.preprocessing, Precision(torch.device("cpu")))(
            pixels
        )
        got = load_engine(engine, target, bf16=bf16)(pixels)
    assert (got - wanted).abs().mean() < 0.05 * wanted.std()


def test_each_level_leaves_more_in_float(run, tmp_path):
    bundle = load_bundle(run.model)
    images = quantization._calibration_images(bundle, calibration_data(bundle))[:1]
    source, target = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    quantization._prepare(bundle, source)
    rounded = []
    for level in LEVELS:
        quantization._quantize(source, target, images, level)
        nodes = onnx.load(target).graph.node
        rounded.append(sum(node.op_type == "DequantizeLinear" for node in nodes))
    assert rounded == sorted(set(rounded), reverse=True) and rounded[-1] > 0


def test_a_loss_that_is_too_great_writes_nothing_and_tells_both_numbers(run, tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "MAX_DROP", -1.0)  # No network gains that much.
    bundle = load_bundle(run.model)
    with pytest.raises(BundleError, match="loses too much") as caught:
        export_int8(bundle, tmp_path / "model.onnx", "onnxruntime", calibration_data(bundle))
    assert len(re.findall(r"\d+\.\d\d%", str(caught.value))) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("onnxruntime.quantization.shape_inference.quant_pre_process", "cannot be quantized: odd"),
        ("onnxruntime.quantization.quantize_static", "cannot be quantized, or not so"),
    ],
)
def test_what_the_quantizer_cannot_do_is_told(run, tmp_path, monkeypatch, function, said):
    """It was a traceback."""

    def fails(*arguments, **options):
        raise RuntimeError("odd graph")

    monkeypatch.setattr(function, fails)  # No network is known that fails there.
    bundle, told = load_bundle(run.model), []
    data = calibration_data(bundle)
    with pytest.raises(BundleError, match=said):
        export_int8(bundle, tmp_path / "model.onnx", "onnxruntime", data, told.append)
    if "quantize_static" in function:
        assert len([text for text in told if "odd graph" in text]) == len(LEVELS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_acceptance_cannot_be_recorded_says_so(run, tmp_path, monkeypatch):
    (tmp_path / "home").write_text("in the way")
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    bundle = load_bundle(run.model)
    with pytest.raises(BundleError, match="predictions will not use it"):
        export_int8(bundle, tmp_path / "model.onnx", "onnxruntime", calibration_data(bundle))


def test_a_model_without_its_run_needs_data(run, tmp_path):
    alone = load_bundle(shutil.copytree(run.model, tmp_path / "model"))
    with pytest.raises(BundleError, match="--data"):
        calibration_data(alone)


def test_calibration_looks_at_training_images_of_many_places(run):
    bundle = load_bundle(run.model)
    data = calibration_data(bundle)
    images = quantization._calibration_images(bundle, data)
    assert len(images) == min(len(data.splits.train), 32)
    assert all(image.dtype == np.uint8 and image.shape[2] % 32 == 0 for image in images)
    assert not set(data.splits.train) & set(data.splits.val)
