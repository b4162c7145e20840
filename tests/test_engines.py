"""What computes predictions: the runtimes give torch's masks, and "auto" finds the faster one."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_helpers import make_bundle, make_info
from matplotlib import cbook

from autoseg import engine_choice, engine_files
from autoseg.bundle import Bundle, load_bundle
from autoseg.config import Geometry
from autoseg.data.sample import make_scene
from autoseg.engine_choice import AutoEngine, choose_engine
from autoseg.engine_files import engines_folder
from autoseg.engines import TOLERANCE, OpenVinoEngine, TorchEngine, is_installed, load_engine
from autoseg.errors import ConfigError, PredictionError
from autoseg.export import write_onnx
from autoseg.predictor import Predictor
from autoseg.training.hardware import Precision

CPU = Precision(torch.device("cpu"))
RUNTIMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not is_installed(name), reason=f"what {name} needs is not installed"
        ),
    )
    for name in ("onnxruntime", "openvino")
]
needs_openvino = pytest.mark.skipif(
    not is_installed("openvino"), reason="the extra openvino is not installed"
)
needs_runtime = pytest.mark.skipif(
    not (is_installed("openvino") or is_installed("onnxruntime")),
    reason="neither the extra openvino nor onnx is installed",
)


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    geometry = Geometry(window=(64, 96), box=(256, 256))
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model", geometry=geometry)


def photos() -> list[np.ndarray]:
    """A portrait of 1906 that comes with matplotlib, and two scenes of the sample data set."""
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        from PIL import Image  # noqa: PLC0415

        portrait = np.asarray(Image.open(file).convert("RGB"))
    generator = np.random.default_rng(0)
    return [portrait, *(make_scene(generator, (170, 300))[0] for _ in range(2))]


def pixels_of(image: np.ndarray, height: int, width: int) -> torch.Tensor:
    part = np.ascontiguousarray(image[:height, :width].transpose(2, 0, 1))
    return torch.from_numpy(part)[None]


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory):
    """One home for tests of one network: the first of them prepares it for all."""
    return tmp_path_factory.mktemp("shared") / "home"


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("options", [{}, {"flip": True}, {"tile_px": 128}], ids=str)
def test_masks_are_torch_s_within_the_tolerance(folder, name, options, shared_home, monkeypatch):
    monkeypatch.setenv("AUTOSEG_HOME", str(shared_home))
    wanted, got = (
        Predictor.from_pretrained(folder, device="cpu", engine=engine) for engine in ("torch", name)
    )
    assert (wanted.engine, got.engine) == ("torch", name)
    for image in photos():
        one, other = wanted.predict(image, **options), got.predict(image, **options)
        assert (one.mask != other.mask).mean() <= TOLERANCE
        assert np.allclose(one.confidence, other.confidence, atol=0.02)
        assert (one.engine, other.engine) == ("torch", name)


@pytest.fixture(scope="module")
def network(folder, tmp_path_factory):
    """A network as a file for the runtimes, and the same in torch."""
    bundle = load_bundle(folder)
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    write_onnx(bundle, path)
    return path, TorchEngine(bundle.model, bundle.info.preprocessing, CPU)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_takes_any_size_and_keeps_what_it_gave(network, name):
    path, own = network
    engine, image = load_engine(name, path), photos()[0]
    sizes = [(64, 96), (96, 64), *((64, 32 * k) for k in range(1, 7) for _ in range(8)), (64, 96)]
    inputs = [pixels_of(image[k:], *size) for k, size in enumerate(sizes)]
    with torch.inference_mode():
        results = [engine(pixels) for pixels in inputs]
        for pixels, got in zip(inputs, results, strict=True):
            torch.testing.assert_close(got, own(pixels), atol=2e-3, rtol=1e-3)


@needs_openvino
def test_openvino_keeps_networks_of_a_few_sizes_only(network):
    engine = OpenVinoEngine(network[0], threads=1, bf16=False)
    for side in range(32, 32 * 7, 32):
        for _ in range(8):
            engine(torch.zeros(1, 3, 32, side, dtype=torch.uint8))
    assert 1 < len(engine._fixed) <= 4


@pytest.mark.parametrize("name", RUNTIMES)
def test_threads_may_share_a_runtime(network, name):
    path, own = network
    engine, image = load_engine(name, path), photos()[0]
    inputs = [pixels_of(image[8 * k :], 96, 128) for k in range(24)]
    results: list[torch.Tensor | None] = [None] * len(inputs)

    def compute(first: int) -> None:
        for k in range(first, len(inputs), 4):
            results[k] = engine(inputs[k])

    threads = [threading.Thread(target=compute, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with torch.inference_mode():
        for pixels, got in zip(inputs, results, strict=True):
            torch.testing.assert_close(got, own(pixels), atol=2e-3, rtol=1e-3)


def after_preparing(predictor: Predictor, image: np.ndarray) -> Predictor:
    """The predictor once it has found out what is faster."""
    predictor.predict(image)
    network = predictor._network
    assert isinstance(network, AutoEngine) and network.preparing is not None
    network.preparing.join()
    return predictor


@needs_runtime
def test_auto_waits_until_preparing_is_worth_it(folder):
    predictor = Predictor.from_pretrained(folder, device="cpu")
    predictor.predict(photos()[0])
    assert predictor.engine == "torch"
    assert predictor._network.preparing is None
    assert not engines_folder().exists()


@needs_runtime
def test_auto_takes_what_is_faster_and_remembers_it(folder, monkeypatch):
    monkeypatch.setattr(engine_choice, "PATIENCE_S", 0.0)
    image = photos()[0]
    first = after_preparing(Predictor.from_pretrained(folder, device="cpu"), image)
    (record,) = engines_folder().glob("*/verdict.json")
    verdict = json.loads(record.read_text())
    assert verdict["agrees"]
    assert (first.engine != "torch") == verdict["faster"]
    written = (record.parent / "model.onnx").stat().st_mtime_ns
    record.write_text(json.dumps({**verdict, "faster": True}))
    second = after_preparing(Predictor.from_pretrained(folder, device="cpu"), image)
    assert second.engine == ("openvino" if is_installed("openvino") else "onnxruntime")
    assert (record.parent / "model.onnx").stat().st_mtime_ns == written
    wanted = Predictor.from_pretrained(folder, device="cpu", engine="torch").predict(image)
    assert (second.predict(image).mask != wanted.mask).mean() <= TOLERANCE


@needs_runtime
def test_other_weights_have_a_verdict_of_their_own(folder, monkeypatch):
    monkeypatch.setattr(engine_choice, "PATIENCE_S", 0.0)
    monkeypatch.setattr(engine_files, "_MOST_KEPT", 2)
    for shift in range(3):
        predictor = Predictor.from_pretrained(folder, device="cpu")
        with torch.no_grad():
            next(predictor.bundle.model.parameters()).add_(shift / 100)
        after_preparing(predictor, photos()[0])
        assert len(list(engines_folder().glob("*/verdict.json"))) == min(shift + 1, 2)


@needs_runtime
def test_a_damaged_record_is_made_again(folder, monkeypatch):
    monkeypatch.setattr(engine_choice, "PATIENCE_S", 0.0)
    after_preparing(Predictor.from_pretrained(folder, device="cpu"), photos()[0])
    (record,) = engines_folder().glob("*/verdict.json")
    record.write_text("{")
    after_preparing(Predictor.from_pretrained(folder, device="cpu"), photos()[0])
    assert json.loads(record.read_text())["agrees"]


def bundle_of(forward: Callable[[torch.Tensor], torch.Tensor]) -> Bundle:
    """A model that computes whatever is given."""

    class Model(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return forward(images)

    return Bundle(Path(), Model().eval(), make_info(geometry=Geometry(window=(64, 64), scale=1.0)))


def unknown_to_onnx(images: torch.Tensor) -> torch.Tensor:
    return images + torch.linalg.eigvals(images[0, 0, :2, :2]).real.sum()


def frozen_by_tracing(images: torch.Tensor) -> torch.Tensor:
    """Turns the classes round in dark images; the image of the export is black."""
    return images * -1.0 if float(images.mean()) < -0.9 else images * 1.0


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize(
    ("forward", "said"),
    [(unknown_to_onnx, "cannot be exported"), (frozen_by_tracing, "another class than torch")],
)
def test_a_network_that_a_runtime_cannot_compute_stays_with_torch(forward, said, name, monkeypatch):
    monkeypatch.setattr(engine_choice, "PATIENCE_S", 0.0)
    image, bundle = photos()[0][:128, :128], bundle_of(forward)
    wanted = Predictor(bundle, CPU, "torch").predict(image)
    auto = after_preparing(Predictor(bundle, CPU, "auto"), image)
    assert auto.engine == "torch"
    assert np.array_equal(auto.predict(image).mask, wanted.mask)
    with pytest.raises(Exception, match=said) as caught:
        Predictor(bundle, CPU, name).predict(image)
    assert type(caught.value).__module__ == "autoseg.errors"


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", RUNTIMES)
def test_an_engine_that_fails_on_one_image_may_be_tried_on_another(name):
    """One odd image, and the engine was refused for good; so were those that had been stored."""
    bundle, dark = bundle_of(frozen_by_tracing), np.zeros((128, 128, 3), np.uint8)
    with pytest.raises(PredictionError, match="of the first image's pixels another class"):
        Predictor(bundle, CPU, name).predict(photos()[0][:128, :128])
    assert not list(engines_folder().glob("*/verdict.json"))
    (network,) = engines_folder().glob("*/model.onnx")
    (network.parent / "verdict.json").write_text('{"agrees": false}')
    assert Predictor(bundle, CPU, name).predict(dark).engine == name


def test_an_unknown_engine_is_an_error(folder):
    for name in ("warp", "torch int8", "auto int8", "openvino int8 int8"):
        with pytest.raises(ConfigError, match=f"auto, torch, onnxruntime, .*but got '{name}'"):
            Predictor.from_pretrained(folder, engine=name)


@pytest.mark.parametrize(("name", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_without_its_package_the_error_says_what_to_install(folder, monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"autoseg-search\[{extra}\]"):
        Predictor.from_pretrained(folder, engine=name)
    with pytest.raises(ConfigError, match=rf"The engine {name} is .*autoseg-search\[{extra}\]"):
        Predictor.from_pretrained(folder, engine=f"{name} int8")


def test_without_any_package_auto_is_torch(folder, monkeypatch):
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    predictor = Predictor.from_pretrained(folder, device="cpu")
    assert isinstance(predictor._network, TorchEngine)
    assert predictor.predict(photos()[1]).engine == "torch"


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_is_for_the_cpu_and_for_networks_of_any_size(folder, name):
    bundle = load_bundle(folder)
    with pytest.raises(ConfigError, match='device="cpu"'):
        choose_engine(bundle, Precision(torch.device("meta")), name)
    fixed = replace(bundle, tile=bundle.info.preprocessing.geometry.window)
    with pytest.raises(ConfigError, match="one size only"):
        choose_engine(fixed, CPU, name)
    assert choose_engine(fixed, CPU, "auto").name == "torch"


def test_an_image_too_large_for_the_runtime_is_torch_s(folder, caplog):
    """A runtime that fails in the middle of the work costs no prediction, but it is told."""
    predictor = Predictor.from_pretrained(folder, device="cpu")
    network = predictor._network
    if not isinstance(network, AutoEngine):
        pytest.skip("no runtime is installed")
    wanted = predictor.predict(photos()[1])

    def fails(pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("std::bad_alloc")

    network._engine = fails  # A failing runtime cannot be had otherwise.
    got = predictor.predict(photos()[1])
    assert predictor.engine == "torch"
    assert np.array_equal(got.mask, wanted.mask)
    assert "torch goes on: std::bad_alloc" in caplog.text


@needs_openvino
def test_openvino_reports_to_nobody(tmp_path):
    """Its telemetry sends an event at each import and leaves files in the home folder."""
    code = (
        "import sys; from autoseg.engines import import_openvino; import_openvino().Core();"
        "print(sorted(name for name in sys.modules if 'openvino_telemetry' in name))"
    )
    home = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=home)
    assert done.stdout.strip() == "[]", done.stderr
    assert not (tmp_path / "intel").exists()


@needs_runtime
def test_a_program_ends_while_an_engine_is_prepared(folder, tmp_path):
    code = (
        "import sys, numpy as np; from autoseg import engine_choice, Predictor;"
        "engine_choice.PATIENCE_S = 0.0;"
        "predictor = Predictor.from_pretrained(sys.argv[1], device='cpu');"
        "print(predictor.predict(np.zeros((90, 80, 3), np.uint8)).engine)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "torch", "")


USE_ENGINE = """
import os, sys, tempfile
import numpy as np
from autoseg import Predictor
for engine in sys.argv[2:]:
    predictor = Predictor.from_pretrained(sys.argv[1], engine=engine)
    print(predictor.predict(np.zeros((90, 80, 3), np.uint8)).engine)
print(*(name for name in os.listdir(tempfile.gettempdir()) if name.startswith("autoseg-engines")))
"""


@pytest.mark.parametrize("name", RUNTIMES)
def test_where_the_home_takes_no_files_an_engine_has_a_temporary_folder(folder, name, tmp_path):
    (tmp_path / "home").write_text("in the way")
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", USE_ENGINE, str(folder), name, name],
        capture_output=True, text=True, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")},
    )  # fmt: skip
    first, second, kept = done.stdout.splitlines()
    assert (first, second, done.stderr) == (name, name, "")
    assert kept.startswith("autoseg-engines-") and not list((tmp_path / "tmp").glob("autoseg-*"))


@needs_openvino
def test_an_engine_that_is_kept_serves_a_home_that_is_only_read(folder, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    code = [sys.executable, "-c", USE_ENGINE, str(folder), "openvino"]
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", home], capture_output=True).returncode:
        pytest.skip("only root may mount")
    try:
        for options in ("rw", "ro"):
            subprocess.run(["mount", "-o", f"remount,{options}", home], check=True)
            done = subprocess.run(code, capture_output=True, text=True)
            assert (done.stdout, done.stderr) == ("openvino\n\n", "")
    finally:
        subprocess.run(["umount", "-l", home], check=True)


def test_an_engine_that_was_asked_for_and_fails_says_what_to_do(folder, monkeypatch, tmp_path):
    if not is_installed("onnxruntime"):
        pytest.skip("the extra onnx is not installed")
    (tmp_path / "home").write_text("in the way")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    predictor = Predictor.from_pretrained(folder, device="cpu", engine="onnxruntime")
    with pytest.raises(PredictionError, match='Use engine="torch"'):
        predictor.predict(photos()[1])
