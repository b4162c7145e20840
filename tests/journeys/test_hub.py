"""From a model on this machine to its mask on another, by the command line, over a real Hub."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bundle_helpers import make_info, make_model, make_report
from loopback_hub import ALICE, BOB, READER, LoopbackHub
from PIL import Image

from autoseg.bundle import save_bundle
from autoseg.card import render_card
from autoseg.predictor import Predictor

ROOT = Path(__file__).parents[2]
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)


class Machine:
    """A user's computer: a home of its own, a login, commands in processes of their own."""

    def __init__(self, hub: LoopbackHub, home: Path, token: str | None, *, xet: bool) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.environment = {
            **hub.environment(home / "hf", token, xet=xet),
            "AUTOSEG_HOME": str(home / "autoseg"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "error::DeprecationWarning:autoseg",
        }

    def run(self, *command: object, ok: bool = True) -> str:
        """What a command of autoseg prints."""
        return self.python("-m", "autoseg", *map(str, command), ok=ok)

    def python(self, *arguments: str, ok: bool = True) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert (done.returncode == 0) == ok, done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    info = make_info()
    report = make_report(info.classes.names)
    path = tmp_path_factory.mktemp("model") / "model"
    return save_bundle(path, make_model(info), info, report=report, card=render_card(info, report))


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("images") / "image.png"
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    # It fits the working size, so that resizing takes no part in what the snippets compare.
    Image.fromarray(coarse).resize((128, 96), Image.Resampling.BICUBIC).save(path)
    return path


BOTH_WAYS = pytest.mark.parametrize(
    "xet",
    [pytest.param(True, id="xet"), pytest.param(False, id="lfs", marks=pytest.mark.slow)],
    indirect=True,
)
"""For what transfers files: by chunks that the Hub has not got yet, and as whole files."""


@pytest.fixture
def xet(request) -> bool:
    return bool(getattr(request, "param", True))


@pytest.fixture
def hub(tmp_path: Path, xet: bool) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path / "hub", xet=xet) as running:
        yield running


@pytest.fixture
def alice(hub, tmp_path, xet) -> Machine:
    return Machine(hub, tmp_path / "alice", ALICE.token, xet=xet)


@pytest.fixture
def bob(hub, tmp_path, xet) -> Machine:
    return Machine(hub, tmp_path / "bob", BOB.token, xet=xet)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(file)


@BOTH_WAYS
def test_a_pushed_model_gives_others_the_same_mask(hub, alice, bob, folder, image):
    said = alice.run("push", folder, "alice/leaves", "--public", "--tag", "v1")
    assert f"{hub.endpoint}/alice/leaves" in said
    bob.run("predict", "alice/leaves", image)
    wanted = Predictor.from_pretrained(folder).predict(image).mask
    assert np.array_equal(read(bob.home / "predictions" / "image.png"), wanted)
    hub.close()  # From now on there is no Hub: what was pulled is still there.
    bob.run("predict", "alice/leaves", image, "--out", "again")
    assert np.array_equal(read(bob.home / "again" / "image.png"), wanted)


@pytest.mark.slow
def test_both_snippets_of_the_card_run_as_they_stand(hub, alice, bob, folder, image):
    alice.run("push", folder, "alice/leaves", "--public")
    (bob.home / "image.png").write_bytes(image.read_bytes())
    card = hub.files("alice/leaves")["README.md"].decode()
    snippets = SNIPPET.findall(card)
    names = ["prediction.mask" if "import autoseg" in code else "mask" for code in snippets]
    assert sorted(names) == ["mask", "prediction.mask"]
    masks = []
    for k, (code, name) in enumerate(zip(snippets, names, strict=True)):
        bob.python("-c", f"{code}\nnp = __import__('numpy')\nnp.save('{k}.npy', {name})")
        masks.append(np.load(bob.home / f"{k}.npy", allow_pickle=False))
    wanted = Predictor.from_pretrained(folder).predict(image).mask
    for mask in masks:
        assert mask.shape == wanted.shape
        assert (mask != wanted).mean() < 0.001


@BOTH_WAYS
@pytest.mark.slow
def test_a_second_push_of_the_same_model_changes_nothing(hub, alice, folder):
    alice.run("push", folder, "alice/leaves")
    commits = len(hub.repository("alice/leaves").commits)
    assert "exactly this already" in alice.run("push", folder, "alice/leaves")
    assert len(hub.repository("alice/leaves").commits) == commits


@pytest.mark.slow
def test_a_dry_run_shows_files_and_card_and_makes_nothing(hub, alice, folder):
    said = alice.run("push", folder, "alice/leaves", "--dry-run")
    assert "model.safetensors" in said and 'from_pretrained("alice/leaves")' in said
    assert all("create" not in path and "commit" not in path for _, path, _ in hub.requests)


@pytest.mark.slow
def test_a_private_model_is_hidden_from_others(alice, bob, folder, image):
    alice.run("push", folder, "alice/leaves")
    said = bob.run("predict", "alice/leaves", image, ok=False)
    assert "alice/leaves" in said and BOB.token not in said
    assert not (bob.home / "predictions").exists()
    alice.run("predict", "alice/leaves", image)


@BOTH_WAYS
@pytest.mark.slow
def test_a_pull_says_what_it_is_and_copies_it(alice, bob, folder, image):
    alice.run("push", folder, "alice/leaves", "--public")
    said = bob.run("pull", "alice/leaves", "--out", "leaves")
    assert "stem" in said
    config = json.loads((bob.home / "leaves" / "config.json").read_text())
    assert config["_autoseg"]["classes"]["names"][0] == "background"
    bob.run("predict", "leaves", image)


@pytest.mark.slow
def test_a_push_that_may_not_be_says_so_and_shows_no_token(hub, tmp_path, bob, folder, xet):
    reader = Machine(hub, tmp_path / "reader", READER.token, xet=xet)
    nobody = Machine(hub, tmp_path / "nobody", None, xet=xet)
    for machine, said in ((reader, "write"), (bob, "alice"), (nobody, "hf auth login")):
        text = machine.run("push", folder, "alice/leaves", ok=False)
        assert said in text
        assert not any(token in text for token in (READER.token, BOB.token))


@pytest.mark.slow
def test_a_space_is_made_by_one_command(hub, alice, folder):
    alice.run("push", folder, "alice/leaves", "--public")
    hub.script_space("alice/leaves", ["BUILDING", "RUNNING"])
    said = alice.run("deploy", "alice/leaves", "--public")
    assert "RUNNING" in said and "/spaces/alice/leaves" in said
    assert {"app.py", "requirements.txt", "README.md"} <= set(hub.files("alice/leaves", "space"))
    assert "nothing had changed" in alice.run("deploy", "alice/leaves", "--public")


@pytest.mark.slow
def test_a_space_that_does_not_build_says_why(hub, alice, folder):
    alice.run("push", folder, "alice/leaves", "--public")
    hub.script_space("alice/leaves", ["BUILDING", "BUILD_ERROR"], logs="No matching distribution")
    said = alice.run("deploy", "alice/leaves", "--public", ok=False)
    assert "No matching distribution" in said


@pytest.mark.slow
def test_a_secret_comes_from_the_environment_only(alice):
    said = alice.run("deploy", "alice/leaves", "--secret", "HF_TOKEN=NOT_SET", ok=False)
    assert "NOT_SET" in said


@pytest.mark.slow
def test_a_push_says_who_can_see_it_and_how_it_is_loaded(hub, alice, folder):
    """Making a repository public used to say "holds exactly this already"."""
    said = alice.run("push", folder, "alice/leaves", "--tag", "v1")
    assert "It is private" in said and 'revision="v1"' in said
    assert "public now" in alice.run("push", folder, "alice/leaves", "--public")
    assert not hub.repository("alice/leaves").private


@pytest.mark.slow
def test_a_token_given_as_the_name_of_a_variable_is_not_repeated(alice):
    said = alice.run("deploy", "alice/leaves", "--secret", "HF_TOKEN=hf_pasted", ok=False)
    assert "hf_pasted" not in said and "MY_TOKEN" in said
