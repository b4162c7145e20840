"""The pages of the Spaces: what they show, what they answer to programs, and where no model is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from bundle_helpers import make_bundle, make_report
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from space_helpers import plain_environment, running_space

from autoseg.config import ClassInfo
from autoseg.errors import ConfigError
from autoseg.examples import draw_example
from autoseg.predictor import Predictor
from autoseg.ui import space, space_models
from autoseg.ui.space_models import Models, load_model
from autoseg.ui.space_results import answer_compare, answer_predict, predict_all

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "leaves")


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("models") / "roots", num_classes=5)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def read_png(path: str | Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


def test_predict_answers_with_the_predictors_own_mask_and_the_classes(bundle, image, results):
    models = Models([load_model(str(bundle))])
    mask_file, found = answer_predict(models, results, str(image), False)
    expected = Predictor.from_pretrained(bundle).predict(image)
    assert np.array_equal(read_png(mask_file), expected.mask)
    assert (found["model"], found["width"], found["height"]) == ("leaves", 90, 60)
    assert sum(row["pixels"] for row in found["classes"]) == 90 * 60
    for row in found["classes"]:
        assert row["pixels"] == int((expected.mask == row["index"]).sum())
        assert row["name"] == expected.class_names[row["index"]]
    assert json.loads(json.dumps(found))["seconds"] >= 0


def test_the_mirrored_image_is_averaged_where_asked_for(bundle, image, results):
    models = Models([load_model(str(bundle))])
    mask_file, _ = answer_predict(models, results, str(image), True)
    expected = Predictor.from_pretrained(bundle).predict(image, flip=True)
    assert np.array_equal(read_png(mask_file), expected.mask)


def test_compare_answers_for_every_model_and_says_which_is_missing(bundle, other, image, results):
    models = Models([load_model(str(bundle)), load_model("nothing at all"), load_model(str(other))])
    masks, found = answer_compare(models, results, str(image), False)
    assert [row["model"] for row in found] == ["leaves", "nothing at all", "roots"]
    assert [row["mask"] for row in found] == [0, None, 1]
    assert "owner/name" in found[1]["error"]
    for folder, mask in zip((bundle, other), masks, strict=True):
        assert np.array_equal(read_png(mask), Predictor.from_pretrained(folder).predict(image).mask)


def test_a_file_that_is_no_image_is_an_error_as_it_stands(bundle, results, tmp_path):
    (tmp_path / "x.png").write_text("no image")
    with pytest.raises(gr.Error, match="does not decode"):
        answer_predict(Models([load_model(str(bundle))]), results, str(tmp_path / "x.png"), False)
    with pytest.raises(gr.Error, match="no image"):
        answer_compare(Models([load_model(str(bundle))]), results, None, False)


def test_every_result_has_its_files(bundle, image, results):
    (result,) = predict_all(Models([load_model(str(bundle))]), results, str(image))
    assert result.files is not None
    assert json.loads(result.files.coco.read_text())["image"]["file_name"] == "photo.png"
    assert read_png(result.files.overlay).shape == (60, 90, 3)


def test_many_models_keep_all_their_results(bundle, image, results):
    """A gallery of more than 20 removed the first while it made the last."""
    made = predict_all(Models([load_model(str(bundle))] * 22), results, str(image))
    assert all(result.files and result.files.mask.is_file() for result in made)


def test_a_model_that_is_not_there_is_a_page_that_says_so(monkeypatch, hub, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    model = load_model("alice/nothing")
    assert model.predictor is None and "alice/nothing" in model.problem
    assert "secret HF_TOKEN" in model.problem
    for kind in ("predict", "gallery"):
        assert model.problem in shown(kind, [model])
    assert f"{hub.endpoint}/alice/nothing" in space_models.card(model)


def shown(kind: space.PageKind, models: list[space_models.SpaceModel]) -> str:
    """All HTML of a page, as people read it."""
    page = space.build(kind, models)
    text = " ".join(
        str(block.value) for block in page.blocks.values() if isinstance(block, gr.HTML)
    )
    return text.replace("&#x27;", "'")


@pytest.mark.parametrize("kind", ["predict", "gallery"])
def test_no_model_at_all_is_a_page_that_says_so(kind, monkeypatch):
    monkeypatch.setenv("AUTOSEG_MODELS", " , ")
    assert "AUTOSEG_MODELS" in shown(kind, list(space_models.models_of_environment()))


def test_an_unknown_kind_of_page_is_an_error():
    with pytest.raises(ConfigError, match="kind"):
        space.build("other", [])


def test_the_card_shows_scores_with_intervals_and_escapes_names(bundle):
    (bundle / "report.json").write_text(json.dumps(make_report(("a", "b"))))
    card = space_models.card(load_model(str(bundle)))
    assert "50.0 %" in card and "75.0 to 85.0" in card
    assert "&lt;b&gt;" in card and "*odd* <b>" not in card


@pytest.mark.parametrize(
    ("split", "untouched", "said"),
    [
        ("test", True, "50 test images that neither"),
        ("validation", False, "expect somewhat less"),
        ("folds", False, "had not seen it"),
    ],
)
def test_the_card_says_what_its_scores_are_worth(bundle, split, untouched, said):
    report = {**make_report(("a", "b")), "split": split, "untouched": untouched}
    (bundle / "report.json").write_text(json.dumps(report))
    assert said in space_models.card(load_model(str(bundle)))


@pytest.mark.parametrize(
    "report",
    [
        "[]",
        "{",
        '{"model": 1}',
        '{"model": {"scores": {"macro_iou": 2}}}',
        '{"model": {"scores": {"macro_iou": {"low": 1%s, "high": 1}}}}' % ("0" * 400),
        '{"model": {"scores": {"macro_iou": {"low": 1%s, "high": 1}}}}' % ("0" * 5000),
        '{"model": {"scores": {"macro_iou": {"low": NaN, "high": Infinity}}}}',
    ],
)
def test_a_report_that_makes_no_sense_is_left_out(bundle, report):
    (bundle / "report.json").write_text(report)
    card = space_models.card(load_model(str(bundle)))
    assert "50.0 %" in card and "<small>" not in card


def test_examples_are_the_images_of_the_models_pictures(other):
    grey = np.full((120, 160, 3), 90, np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    (other / "examples").mkdir()
    picture = draw_example(grey, mask, mask, ClassInfo(("a", "b"), ((0, 0, 0), (255, 0, 0))))
    (other / "examples" / "example_1.jpg").write_bytes(picture)
    (other / "examples" / "example_2.jpg").write_text("broken")
    ((name, pixels),) = space_models.examples([load_model(str(other))])
    assert name == "example_1"
    assert pixels.shape[1] / pixels.shape[0] == pytest.approx(4 / 3, rel=0.02)


def test_examples_take_little_memory_whatever_was_pushed(tmp_path):
    """64 photographs at their full size stayed in memory."""
    folder = make_bundle(tmp_path / "leaves") / "examples"
    folder.mkdir()
    Image.new("L", (4000, 3000)).save(folder / "a.jpg")
    for k in range(12):
        Image.new("L", (1206, 430)).save(folder / f"drawn_{k:02}.jpg")
        Image.new("L", (1600, 1200)).save(folder / f"photo_{k:02}.jpg")
    shown = space_models.examples([load_model(str(folder.parent))])
    assert [name for name, _ in shown] == [f"drawn_{k:02}" for k in range(8)]
    assert all(pixels.base is None for _, pixels in shown)
    for file in folder.glob("drawn_*.jpg"):
        file.unlink()
    shown = space_models.examples([load_model(str(folder.parent))])
    assert {pixels.shape for _, pixels in shown} == {(768, 1024, 3)}


@pytest.mark.parametrize(
    ("how", "variable", "count"),
    [
        ({}, "", 1),
        ({"private": True}, "", 0),
        ({"gated": True}, "", 0),
        ({"private": True}, "1", 1),
    ],
)
def test_pictures_of_a_closed_model_are_not_shown_by_accident(
    monkeypatch, hub, tmp_path, how, variable, count
):
    """A public page of a private model showed the pictures of its data."""
    folder = make_bundle(tmp_path / "leaves")
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    picture = tmp_path / "picture.jpg"
    Image.new("RGB", (60, 40)).save(picture)
    hub.add_repo("alice/leaves", {**files, "examples/example_1.jpg": picture.read_bytes()}, **how)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    address = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_alice")
    monkeypatch.setenv("AUTOSEG_EXAMPLES", variable)
    model = load_model("alice/leaves")
    assert model.predictor is not None
    assert len(space_models.examples([model])) == count


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # gradio_client's.
def test_the_folder_of_one_model_runs_from_the_projects_root(bundle, image, tmp_path):
    """On the path Python finds the folder `spaces` too, which is not ZeroGPU's package."""
    environment = {
        **plain_environment(), "PYTHONPATH": str(ROOT), "AUTOSEG_MODELS": str(bundle)
    }  # fmt: skip
    log = tmp_path / "log"
    with running_space("predict", log, environment=environment, cwd=ROOT) as url:
        client = Client(url, verbose=False)
        mask_file, found = client.predict(handle_file(str(image)), api_name="/predict")
        expected = Predictor.from_pretrained(bundle).predict(image)
        assert np.array_equal(read_png(mask_file), expected.mask)
        assert found["classes"][0]["share"] > 0
        (tmp_path / "x.png").write_text("no image")
        with pytest.raises(AppError, match="does not decode"):
            client.predict(handle_file(str(tmp_path / "x.png")), api_name="/predict")
        endpoints = client.view_api(return_format="dict")["named_endpoints"]
        assert list(endpoints) == ["/predict"]
        client.close()


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # gradio_client's.
def test_the_folder_of_the_gallery_runs_from_itself(bundle, other, image, tmp_path):
    environment = {
        **plain_environment(), "PYTHONPATH": str(ROOT), "AUTOSEG_MODELS": f"{bundle}, {other}"
    }  # fmt: skip
    with running_space("gallery", tmp_path / "log", environment=environment) as url:
        client = Client(url, verbose=False)
        masks, found = client.predict(handle_file(str(image)), True, api_name="/compare")
        assert [row["mask"] for row in found] == [0, 1]
        for folder, mask in zip((bundle, other), masks, strict=True):
            expected = Predictor.from_pretrained(folder).predict(image, flip=True)
            assert np.array_equal(read_png(mask), expected.mask)
        client.close()


SPACES_PACKAGE = """
import multiprocessing

asked = []

def GPU(duration):
    def decorate(function):
        asked.append(duration)

        def lent(*arguments):
            fork = multiprocessing.get_context("fork")
            queue = fork.Queue()
            process = fork.Process(target=lambda: queue.put(function(*arguments)))
            process.start()
            answer = queue.get(timeout=60)
            process.join()
            return answer

        return lent
    return decorate
"""
"""What matters of ZeroGPU's package: calls run in a process of their own."""


def run_python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NO_PROXY": "*", **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


IMPORTED = "import autoseg.ui, sys; print(sys.modules.get('spaces'), 'gradio' in sys.modules)"


def test_predictions_come_back_from_zero_gpus_processes(tmp_path, bundle, image):
    """The package is there before torch, which it changes."""
    package = tmp_path / "site" / "spaces"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SPACES_PACKAGE)
    code = f"""
import autoseg.ui, sys
assert "torch" not in sys.modules and "spaces" in sys.modules
import numpy as np
from autoseg.predictor import Predictor
from autoseg.ui.space_models import Models, SpaceModel
predictor = Predictor.from_pretrained({str(bundle)!r}, device="cpu")
models = Models([SpaceModel("a", None, predictor), SpaceModel("b", None, None, "is not there")])
made, problem = models.predict(np.zeros((40, 50, 3), np.uint8), flip=False)
print(sys.modules["spaces"].asked, made.mask.shape, problem)
"""
    path = os.pathsep.join([str(ROOT), str(package.parent)])
    environment = {"PYTHONPATH": path, "SPACES_ZERO_GPU": "true", "OMP_NUM_THREADS": "1"}
    assert run_python(code, **environment).strip() == "[40] (40, 50) is not there"


def test_zero_gpus_package_is_left_alone_elsewhere():
    assert run_python(IMPORTED, PYTHONPATH=str(ROOT)).split() == ["None", "False"]
