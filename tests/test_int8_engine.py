"""Predictions by an exported int8 file: where it was accepted, where it is faster, or by name."""

import shutil

import numpy as np
import pytest
import torch
from predict_helpers import run_with_its_data

from autoseg import engine_choice, quantization
from autoseg.bundle import load_bundle
from autoseg.cli_export import _where_it_serves
from autoseg.data.sample import make_scene
from autoseg.engine_choice import AutoEngine, prepare
from autoseg.engines import Engine, TorchEngine, is_installed
from autoseg.errors import ConfigError, PredictionError
from autoseg.int8_files import find_int8, places_of_int8
from autoseg.predictor import Predictor
from autoseg.quantization import calibration_data, export_int8
from autoseg.training.hardware import Precision

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


CPU = Precision(torch.device("cpu"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where it stands what was accepted."""
    return tmp_path_factory.mktemp("accepted") / "home"


@pytest.fixture(scope="module")
def exported(tmp_path_factory, home):
    """A run whose folder holds a file for each engine."""
    run = run_with_its_data(tmp_path_factory.mktemp("home"))
    bundle = load_bundle(run.model)
    data = calibration_data(bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOSEG_HOME", str(home))
        patch.setattr(quantization, "MAX_DROP", 1.0)  # What has learnt nothing loses by chance.
        for name in ("onnxruntime", "openvino"):
            if is_installed(name):
                suffix = "xml" if name == "openvino" else "onnx"
                export_int8(bundle, run.path / f"int8.{suffix}", name, data)
    return run


@pytest.fixture(autouse=True)
def own_home(exported, home, tmp_path, monkeypatch):
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    # So small a network is as fast in float; what is chosen must not hang on chance.
    monkeypatch.setattr(engine_choice, "_FASTER", 1e9)
    monkeypatch.setattr(engine_choice, "INT8_TOLERANCE", 1.0)  # Its classes are nearly tied.


@pytest.fixture
def run(exported, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(exported.path, tmp_path / "run")


def photo() -> np.ndarray:
    return make_scene(np.random.default_rng(0), (170, 300))[0]


def pixels() -> torch.Tensor:
    part = np.ascontiguousarray(photo()[:96, :128].transpose(2, 0, 1))
    return torch.from_numpy(part)[None]


def prepared(run, name: str) -> Engine:
    """What is used after a look at three images, as "auto" takes it."""
    bundle = load_bundle(run / "model")
    own = TorchEngine(bundle.model, bundle.info.preprocessing, CPU)
    engine, verdict = prepare(bundle, own, name, [pixels()] * 3, int8=True)
    assert engine is not None and verdict.agrees
    return engine


@pytest.mark.parametrize(("name", "file"), FILES)
def test_an_engine_computes_in_int8_if_its_name_says_so_and_else_in_float(run, name, file):
    in_int8, in_float = (
        Predictor.from_pretrained(run, device="cpu", engine=engine)
        for engine in (f"{name} int8", name)
    )
    for predictor, told in ((in_int8, f"{name} int8"), (in_float, name)):
        assert predictor.predict(photo()).engine == predictor.engine == told
    got, wanted = in_int8._forward(pixels()), in_float._forward(pixels())
    # By the same file they would be equal. Pixels need not change their class.
    assert (got - wanted).abs().max() > 1e-3 * wanted.abs().max()
    (run / file).unlink()
    with pytest.raises(ConfigError, match="accepted on this machine"):
        Predictor.from_pretrained(run, device="cpu", engine=f"{name} int8")


@pytest.mark.parametrize(("name", "file"), FILES)
def test_an_accepted_file_is_used_where_it_is_faster_also_the_next_time(run, name, file):
    for _ in range(2):
        assert prepared(run, name).name == f"{name} int8"
    (run / file).unlink()
    assert prepared(run, name).name == name


def test_auto_judges_int8_by_three_images(run, monkeypatch):
    monkeypatch.setattr(engine_choice, "PATIENCE_S", 0.0)
    predictor = Predictor.from_pretrained(run, device="cpu")
    network = predictor._network
    assert isinstance(network, AutoEngine)
    for _ in range(2):
        predictor.predict(photo())
        assert network.preparing is None
    predictor.predict(photo())
    network.preparing.join()
    assert predictor.engine == f"{network._other} int8"


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_file_beside_the_weights_serves_too_but_no_link_to_one(run, name, file):
    for part in run.glob("int8.*"):
        part.rename(run / "model" / part.name)
    bundle = load_bundle(run / "model")
    assert find_int8(bundle, name).path == run / "model" / file
    (run / "model" / file).rename(run / "model" / "elsewhere")
    (run / "model" / file).symlink_to("elsewhere")
    assert find_int8(bundle, name) is None


@pytest.mark.parametrize(("name", "file"), FILES)
def test_other_weights_and_files_of_others_are_left_alone(run, name, file):
    bundle = load_bundle(run / "model")
    (run / f"newer{(run / file).suffix}").write_text("<not a network>")
    assert find_int8(bundle, name).path == run / file
    with torch.no_grad():
        next(bundle.model.parameters()).add_(0.01)
    assert find_int8(bundle, name) is None


@pytest.mark.parametrize(
    ("name", "file"), [*FILES, pytest.param("openvino", "int8.bin", marks=FILES[1].marks)]
)
def test_a_file_that_was_changed_or_accepted_elsewhere_does_not_count(
    run, name, file, tmp_path, monkeypatch
):
    bundle = load_bundle(run / "model")
    content = (run / file).read_bytes()
    (run / file).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert find_int8(bundle, name) is None
    (run / file).write_bytes(content)
    assert find_int8(bundle, name) is not None
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "another"))
    assert find_int8(bundle, name) is None


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_file_that_is_not_faster_is_not_used(run, name, file, monkeypatch):
    monkeypatch.setattr(engine_choice, "_FASTER", 0.0)
    assert prepared(run, name).name == name


@pytest.mark.parametrize(("name", "file"), FILES)
def test_a_file_with_other_masks_is_not_used_and_that_is_told(run, name, file, monkeypatch, caplog):
    monkeypatch.setattr(engine_choice, "INT8_TOLERANCE", -1.0)  # Its masks may be torch's here.
    assert prepared(run, name).name == name
    assert file in caplog.text and "another class" in caplog.text
    asked = Predictor.from_pretrained(run, device="cpu", engine=f"{name} int8")
    for _ in range(2):
        with pytest.raises(PredictionError, match="another class"):
            asked.predict(photo())


def test_the_place_to_put_a_file_is_not_a_folder_that_is_replaced(run, tmp_path):
    places = places_of_int8(load_bundle(run / "model"))
    assert _where_it_serves(tmp_path, places).endswith(f"lies in {run}.")
    assert _where_it_serves(run, places).endswith("where it is faster.")
    snapshot = tmp_path / "models--owner--name" / "snapshots" / ("a" * 40)
    shutil.copytree(run / "model", snapshot)
    told = _where_it_serves(tmp_path, places_of_int8(load_bundle(snapshot)))
    assert "pull" in told and "--out" in told and str(snapshot) not in told
