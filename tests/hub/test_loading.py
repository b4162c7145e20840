"""`Predictor.from_pretrained` with a repository, in this process, against the Hub of the tests."""

import numpy as np
import pytest
from bundle_helpers import make_bundle
from loopback_hub import ALICE

from autoseg.errors import BundleError, HubAccessError, HubNotFoundError
from autoseg.predictor import Predictor

IMAGE = np.random.default_rng(0).integers(0, 256, (80, 110, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture(autouse=True)
def this_machine(hub, tmp_path, monkeypatch):
    """A machine that knows no Hub but this one, and nobody is signed in."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    address = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["alice/leaves", "alice/leaves@main", "hf://alice/leaves"])
def test_a_model_on_the_hub_predicts_like_its_folder(hub, folder, name):
    hub.add_repo("alice/leaves", files_of(folder))
    there = Predictor.from_pretrained(name).predict(IMAGE)
    here = Predictor.from_pretrained(folder).predict(IMAGE)
    assert np.array_equal(there.mask, here.mask)
    assert np.array_equal(there.confidence, here.confidence)


def test_a_folder_of_that_name_wins(hub, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "leaves").symlink_to(folder)
    assert Predictor.from_pretrained("alice/leaves").class_names[0] == "background"
    assert hub.requests == []


def test_a_private_model_needs_its_token(hub, folder):
    hub.add_repo("alice/leaves", files_of(folder), private=True)
    with pytest.raises((HubAccessError, HubNotFoundError), match="alice/leaves"):
        Predictor.from_pretrained("alice/leaves")
    assert Predictor.from_pretrained("alice/leaves", token=ALICE.token).class_names


def test_a_revision_goes_with_a_repository_only(hub, folder):
    hub.add_repo("alice/leaves", files_of(folder))
    with pytest.raises(BundleError, match="`revision`"):
        Predictor.from_pretrained(folder, revision="main")
    with pytest.raises(BundleError, match="v1"):
        Predictor.from_pretrained("alice/leaves@v1", revision="v2")
    with pytest.raises(HubNotFoundError, match="v9"):
        Predictor.from_pretrained("alice/leaves", revision="v9")


def test_a_loaded_model_is_pushed_and_pulled_as_it_is(hub, folder, monkeypatch):
    predictor = Predictor.from_pretrained(folder)
    pushed = predictor.push_to_hub("alice/leaves", tag="v1", token=ALICE.token)
    assert pushed.changed and pushed.tag == "v1"
    monkeypatch.setenv("HF_TOKEN", ALICE.token)
    there = Predictor.from_pretrained("alice/leaves", revision="v1").predict(IMAGE)
    assert np.array_equal(there.mask, predictor.predict(IMAGE).mask)


def test_a_pulled_model_is_saved_as_a_folder_of_its_own(hub, folder, tmp_path):
    hub.add_repo("alice/leaves", files_of(folder))
    pulled = Predictor.from_pretrained("alice/leaves")
    saved = pulled.save_pretrained(tmp_path / "mine")
    assert not any(file.is_symlink() for file in saved.iterdir())
    assert files_of(saved) == files_of(folder)
    mask = Predictor.from_pretrained(saved).predict(IMAGE).mask
    assert np.array_equal(mask, pulled.predict(IMAGE).mask)


def test_a_damaged_model_on_the_hub_is_named_without_the_path_of_the_cache(hub, folder, tmp_path):
    files = files_of(folder)
    files["model.safetensors"] = files["model.safetensors"][:-8]
    hub.add_repo("alice/leaves", files)
    with pytest.raises(BundleError, match="alice/leaves on the Hub cannot be used") as caught:
        Predictor.from_pretrained("alice/leaves")
    assert str(tmp_path) not in str(caught.value) and "author" in str(caught.value)
