"""Weights for the tests' encoder."""

from pathlib import Path

import pytest
from search_helpers import fill_hub_cache


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_hub_cache(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def hub_weights(monkeypatch: pytest.MonkeyPatch, hub_folder: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub_folder))
