"""Predictions by an exported int8 file: for its own weights only, where it is faster, by name."""

import shutil

import numpy as np
import pytest
import torch
from predict_helpers import run_with_its_data

from autoseg import engine_choice, quantization
from autoseg.bundle import load_bundle
from autoseg.data.sample import make_scene
from autoseg.engines import is_installed
from autoseg.int8_files import find_int8
from autoseg.predictor import Predictor
from autoseg.quantization import calibration_data, export_int8

pytestmark = pytest.mark.skipif(
    not is_installed("onnxruntime"), reason="the extra onnx is not installed"
)
FILES = [
    pytest.param("onnxruntime", "int8.onnx"),
    pytest.param(
        "openvino",
        "int8.xml",
        marks=pytest.mark.skipif(
            not is_installed("openvino"), reason="the extra openvino is not installed"
        ),
    ),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run whose folder holds a file for each engine."""
    run = run_with_its_data(tmp_path_factory.mktemp("home"))
    bundle = load_bundle(run.model)
    data = calibration_data(bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "MAX_DROP", 1.0)  # What has learnt nothing loses by chance.
        for name in ("onnxruntime", "openvino"):
            if is_installed(name):
                suffix = "xml" if name == "openvino" else "onnx"
                export_int8(bundle, run.path / f"int8.{suffix}", name, data)
    return run


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    # So small a network is as fast in float; what is chosen must not hang on chance.
    monkeypatch.setattr(engine_choice, "_FASTER", 1e9)
    monkeypatch.setattr(engine_choice, "INT8_TOLERANCE", 0.2)  # Its classes are nearly tied.


@pytest.fixture
def run(exported, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(exported.path, tmp_path / "run")


def photo() -> np.ndarray:
    return make_scene(np.random.default_rng(0), (170, 300))[0]


def predicted_by(run, name: str) -> str:
    predictor = Predictor.from_pretrained(run, device="cpu", engine=name)
    prediction = predictor.predict(photo())
    assert prediction.engine == predictor.engine
    return prediction.engine


@pytest.mark.parametrize(("name", "file"), FILES)
def test_an_accepted_file_computes_and_is_named_also_the_next_time(run, name, file):
    wanted = Predictor.from_pretrained(run, device="cpu", engine="torch").predict(photo())
    for _ in range(2):
        got = Predictor.from_pretrained(run, device="cpu", engine=name).predict(photo())
        assert got.engine == f"{name} int8"
        share = (got.mask != wanted.mask).mean()
        assert 0 < share <= 0.2  # In float it would be none.
    (run / file).unlink()
    assert predicted_by(run, name) == name


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_file_beside_the_weights_serves_too_but_no_link_to_one(run, name, file):
    for part in run.glob("int8.*"):
        part.rename(run / "model" / part.name)
    bundle = load_bundle(run / "model")
    assert find_int8(bundle, name) == run / "model" / file
    (run / "model" / file).rename(run / "model" / "elsewhere")
    (run / "model" / file).symlink_to("elsewhere")
    assert find_int8(bundle, name) is None


@pytest.mark.parametrize(("name", "file"), FILES)
def test_other_weights_and_files_of_others_are_left_alone(run, name, file):
    bundle = load_bundle(run / "model")
    (run / f"newer{(run / file).suffix}").write_text("<not a network>")
    assert find_int8(bundle, name) == run / file
    with torch.no_grad():
        next(bundle.model.parameters()).add_(0.01)
    assert find_int8(bundle, name) is None


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_file_that_is_not_faster_is_not_used(run, name, file, monkeypatch):
    monkeypatch.setattr(engine_choice, "_FASTER", 0.0)
    assert predicted_by(run, name) == name


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_file_with_other_masks_is_not_used_and_that_is_told(run, name, file, monkeypatch, caplog):
    monkeypatch.setattr(engine_choice, "INT8_TOLERANCE", 0.0)
    assert predicted_by(run, name) == name
    assert file in caplog.text and "another class" in caplog.text
