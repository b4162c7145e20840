"""From a model on the Hub to a mask or a Space that answers, installed from the wheel alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_helpers import make_bundle
from gradio_client import Client, handle_file
from loopback_hub import LoopbackHub
from PIL import Image
from space_helpers import plain_environment, running_space

from autoseg.hub.connection import Connection, connect
from autoseg.hub.push import PushOptions, plan_push, push
from autoseg.hub.spaces import Deployed, DeployOptions, deploy, plan_deploy
from autoseg.predictor import Predictor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # Installing torch.
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),  # gradio_client's.
]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_deployed_space_answers_with_the_predictors_mask(wheel_environment, hub, image, tmp_path):
    """A private model: the Space reads it with a secret of its own."""
    alice = connect("hf_alice", endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
    bundle = push_model(alice, tmp_path / "leaves", "alice/leaves", public=False)
    done = make_space(alice, "alice/leaves", secrets={"HF_TOKEN": "hf_reader"})
    space = clone_space(hub, done, tmp_path)
    # What the Hub would install is what is installed here.
    wheel_environment.run(
        "-m", "pip", "install", "--no-index", "-r", space / "requirements.txt",
        cwd=space, environment=plain_environment(),
    )  # fmt: skip
    with running_space(
        "app", tmp_path / "log", environment=variables(hub, done, tmp_path),
        python=wheel_environment.python, folder=space.parent,
    ) as url:  # fmt: skip
        client = Client(url, verbose=False)
        mask_file, found = client.predict(handle_file(str(image)), api_name="/predict")
        client.close()
    assert found["model"] == "alice/leaves"
    assert np.array_equal(
        read_png(mask_file), Predictor.from_pretrained(bundle).predict(image).mask
    )


def test_a_deployed_gallery_answers_for_each_model(wheel_environment, hub, image, tmp_path):
    alice = connect("hf_alice", endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
    bundles = [
        push_model(alice, tmp_path / "leaves", "alice/leaves"),
        push_model(alice, tmp_path / "roots", "alice/roots", num_classes=5),
    ]
    done = make_space(alice, "alice/leaves", "alice/roots@main")
    space = clone_space(hub, done, tmp_path)
    with running_space(
        "app", tmp_path / "log", environment=variables(hub, done, tmp_path),
        python=wheel_environment.python, folder=space.parent,
    ) as url:  # fmt: skip
        client = Client(url, verbose=False)
        masks, found = client.predict(handle_file(str(image)), api_name="/compare")
        client.close()
    assert [row["model"] for row in found] == ["alice/leaves", "alice/roots"]
    for bundle, mask in zip(bundles, masks, strict=True):
        assert np.array_equal(read_png(mask), Predictor.from_pretrained(bundle).predict(image).mask)


def test_the_wheel_alone_pulls_a_model_and_predicts(wheel_environment, hub, image, tmp_path):
    alice = connect("hf_alice", endpoint=hub.endpoint, cache_dir=tmp_path / "cache")
    bundle = push_model(alice, tmp_path / "leaves", "alice/leaves")
    environment = hub.environment(tmp_path / "hf")
    environment.pop("PYTHONPATH", None)
    environment["AUTOSEG_HOME"] = str(tmp_path / "autoseg")
    wheel_environment.run(
        "-m", "autoseg", "predict", "alice/leaves", image, "--out", tmp_path / "masks",
        cwd=tmp_path, environment=environment,
    )  # fmt: skip
    wanted = Predictor.from_pretrained(bundle).predict(image).mask
    assert np.array_equal(read_png(tmp_path / "masks" / "photo.png"), wanted)


def push_model(alice: Connection, folder: Path, repo_id: str, **options: Any) -> Path:
    """A model that was pushed, its folder."""
    public = options.pop("public", True)
    bundle = make_bundle(folder, **options)
    push(plan_push(bundle, repo_id, alice, PushOptions(public=public)), alice)
    return bundle


def make_space(
    alice: Connection, *models: str, secrets: Mapping[str, str] | None = None
) -> Deployed:
    plan = plan_deploy(models, alice, DeployOptions(secrets=secrets or {}))
    done = deploy(plan, alice, poll_s=0.01)
    assert done.stage == "RUNNING"
    return done


def clone_space(hub: LoopbackHub, done: Deployed, tmp_path: Path) -> Path:
    """The Space's files in a folder called "app", as the Hub's machine has them."""
    folder = tmp_path / "home" / "app"
    folder.mkdir(parents=True)
    for name, content in hub.files(done.repo_id, "space").items():
        (folder / name).write_bytes(content)
    return folder


def variables(hub: LoopbackHub, done: Deployed, tmp_path: Path) -> dict[str, str]:
    """What the Hub sets for the Space's process."""
    record = hub.space(done.repo_id)
    environment = {**hub.environment(tmp_path / "hf"), **record.variables, **record.secrets}
    environment.pop("PYTHONPATH", None)
    return environment


def read_png(path: str | Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)
