import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundle_helpers import make_bundle, make_info, make_model
from PIL import Image
from safetensors.torch import save_file
from smp_helpers import make_smp

import autoseg
from autoseg import cli
from autoseg.bundle import save_bundle
from autoseg.errors import ConfigError
from autoseg.search.encoder_choice import DEFAULT_ENCODERS


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    rng = np.random.default_rng(0)
    for name in ("a.png", "sub/a.png", "b.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for k in range(12):
        image = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"{k}.png")
        mask = (image[:, :, 0] > 128).astype(np.uint8) * 255
        Image.fromarray(mask).save(tmp_path / "data" / "masks" / f"{k}.png")
    return tmp_path / "data"


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command line; gives its exit status, stdout and stderr."""

    def call(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["autoseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.run(time.monotonic())
        return (ended.value.code or 0, *capfd.readouterr())

    return call


def test_a_model_of_stock_smp_predicts_and_what_was_guessed_is_said(run, photos, tmp_path):
    model = make_smp(tmp_path / "stock", classes=1)
    status, out, _ = run("predict", model, photos, "--out", tmp_path / "masks", "--device", "cpu")
    assert status == 0 and "images are taken at their own size" in out
    with Image.open(tmp_path / "masks" / "b.png") as file:
        assert file.size == (70, 50) and np.asarray(file).max() <= 1


def test_help_says_what_is_searched_where_no_encoder_is_named():
    """It said "all with weights here", of a catalogue of dozens."""
    done = subprocess.run(
        [sys.executable, "-m", "autoseg", "search", "--help"],
        capture_output=True, text=True, env={**os.environ, "COLUMNS": "300", "TERM": "dumb"},
    )  # fmt: skip
    numbers = {4: "four", 6: "six"}
    said = [numbers[len(DEFAULT_ENCODERS[device])] for device in ("cpu", "cuda")]
    assert f"else {said[0]}, on a GPU {said[1]}, as far as their weights are here" in done.stdout
    assert "else from names and masks" in done.stdout


def test_help_answers_in_half_a_second():
    """Processor time, the best of four: other work on the same cores is not counted."""
    seconds = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "autoseg", "--help"], capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0 and b"predict" in done.stdout
    assert min(seconds) < 0.5


def test_the_page_of_the_root_calls_itself_by_its_own_name():
    """It said "Usage: app.py app [OPTIONS]", which would have been an error."""
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, root / "app.py", "-h"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Usage: app.py [OPTIONS]" in done.stdout and "--share" in done.stdout


def test_the_version(run):
    assert run("--version") == (0, f"autoseg {autoseg.__version__}\n", "")


def test_check_prints_the_verdict(run, dataset):
    status, out, _ = run("check", dataset)
    assert status == 0
    assert "12 pairs" in out and "255" in out and "Splits" in out


def test_check_as_json(run, dataset):
    status, out, _ = run("check", dataset, "--json", "--map", "0=soil", "--map", "255=leaf")
    value = json.loads(out)
    assert status == 0
    assert value["classes"]["names"] == ["soil", "leaf"]
    assert value["verdict"]["pairs"] == 12
    assert sum(value["splits"].values()) == 12


def test_an_error_is_text_on_stderr_without_traceback(run, tmp_path):
    status, out, err = run("check", tmp_path / "nowhere")
    assert (status, out) == (1, "")
    assert err.startswith("Error: ") and "nowhere" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("check", "x", "--map", "255"), "VALUE=CLASS"),
        (("search", "x", "--budget", "soon"), "'soon' is no duration"),
        (("search", "x", "--budget", "6m", "--max-side", "3"), "max_side"),
        (("search", "x", "--budget", "6m", "--max-latency", "soon"), "20ms"),
        (("predict", "x", "y", "--out", "z", "--format", "gif"), "--format wants some of index"),
        (("predict", "x", "y", "--out", "z"), "y holds no images"),
    ],
)
def test_a_wrong_argument_is_explained(run, arguments, text):
    status, _, err = run(*arguments)
    assert status == 1 and text in err


@pytest.mark.parametrize(
    ("options", "idle"),
    [
        (("--encoders", "resnet18", "--trials", "3"), "--encoders, --trials"),
        (("--max-side", "256", "--no-warm-start"), "--max-side, --no-warm-start"),
    ],
)
def test_options_of_a_search_are_refused_where_a_model_is_trained_on(
    run, model, dataset, tmp_path, monkeypatch, options, idle
):
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    status, _, err = run("search", dataset, "--budget", "60s", "--start-from", model, *options)
    assert status == 1 and f"no use for {idle}." in err
    assert not (tmp_path / "home" / "runs").exists()


def test_python_names_its_own_arguments_where_they_have_no_use(model, dataset):
    with pytest.raises(ConfigError, match=r"\(start_from\).* no use for n_trials, warm_start\."):
        autoseg.search(dataset, budget="60s", start_from=model, n_trials=3, warm_start=False)


def test_an_unknown_encoder_is_refused_before_the_data_is_read(run, dataset, tmp_path):
    run_folder = tmp_path / "run"
    status, _, err = run(
        "search", dataset, "--budget", "60s", "--encoders", "resnet99", "--run", run_folder
    )
    assert status == 1 and "no encoder 'resnet99'" in err
    assert not run_folder.exists()


@pytest.mark.parametrize("kind", ["missing", "broken", "another's"])
def test_a_wrong_weights_file_is_refused_before_the_data_is_read(run, dataset, tmp_path, kind):
    file, run_folder = tmp_path / "weights.safetensors", tmp_path / "run"
    if kind == "broken":
        file.write_bytes(b"no tensors")
    if kind == "another's":
        save_file({"conv.weight": torch.zeros(3)}, file)
    status, _, err = run(
        "search", dataset, "--budget", "60s", "--weights", f"resnet18.a1_in1k={file}",
        "--run", run_folder,
    )  # fmt: skip
    assert status == 1 and str(file) in " ".join(err.split()) and "resnet18" in err
    assert not run_folder.exists()


def test_predict_keeps_sub_folders_and_sizes(run, model, photos, tmp_path):
    status, out, _ = run("predict", model, photos, "--out", tmp_path / "masks")
    assert status == 0 and "3 of 3" in out
    masks = sorted(path for path in (tmp_path / "masks").rglob("*") if path.is_file())
    relative = [path.relative_to(tmp_path / "masks").as_posix() for path in masks]
    assert relative == ["a.png", "b.png", "sub/a.png"]
    for path in masks:
        with Image.open(path) as image:
            assert (image.mode, image.size) == ("L", (70, 50))


def test_predict_writes_every_format(run, model, photos, tmp_path):
    formats = "index,color,overlay,coco,polygons,confidence"
    status, _, err = run(
        "predict", model, photos / "a.png", "--out", tmp_path / "masks", "--format", formats,
        "--flip",
    )  # fmt: skip
    assert status == 0, err
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [
        "a.coco.json", "a.color.png", "a.confidence.png", "a.geojson", "a.overlay.png", "a.png",
    ]  # fmt: skip


def test_predict_says_once_that_a_model_takes_no_mirrored_images(run, photos, tmp_path):
    info = make_info()
    info = replace(info, recipe=replace(info.recipe, flip="none"))
    model = save_bundle(tmp_path / "model", make_model(info), info)
    status, out, err = run("predict", model, photos, "--out", tmp_path / "masks", "--flip")
    assert status == 1 and err.count("trained without mirrored images") == 1
    assert not (tmp_path / "masks").exists()


def test_one_bad_image_does_not_keep_the_others_from_being_predicted(run, model, photos, tmp_path):
    (photos / "0.png").write_bytes(b"broken")
    status, out, err = run("predict", model, photos, "--out", tmp_path / "masks")
    assert status == 1
    assert "3 of 4" in out and "0.png" in err
    assert len(list((tmp_path / "masks").rglob("*.png"))) == 3


def test_predict_takes_the_name_of_a_run(run, model, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    shutil.copytree(model, tmp_path / "home" / "runs" / "leaves-1" / "model")
    assert run("predict", "leaves-1", photos, "--out", tmp_path / "masks")[0] == 0
    status, _, err = run("predict", "leaves-2", photos, "--out", tmp_path / "masks")
    assert status == 1 and "leaves-2 does not exist" in err


def test_export_writes_an_onnx_file(run, model, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    status, out, _ = run("export", model, "--out", tmp_path / "model.onnx")
    assert status == 0 and "MB" in out and (tmp_path / "model.onnx").is_file()


def test_export_writes_files_for_openvino(run, model, tmp_path):
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    status, out, _ = run("export", model, "--to", "openvino", "--out", tmp_path / "model.xml")
    assert status == 0 and "model.bin" in out
    assert sorted(file.name for file in tmp_path.glob("model.*")) == ["model.bin", "model.xml"]


def test_predict_says_what_computed(run, model, photos, tmp_path):
    status, out, _ = run("predict", model, photos, "--out", tmp_path / "masks", "--engine", "torch")
    assert status == 0 and "Computed by torch." in out
    status, _, err = run("predict", model, photos, "--out", tmp_path / "masks", "--engine", "warp")
    assert status == 1 and "openvino" in err


def test_the_module_and_the_function_run_the_same_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "autoseg", "check", "nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("Error: ")
