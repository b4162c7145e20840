"""Settings of the whole suite, the Hub on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from loopback_hub import LoopbackHub

torch.set_num_threads(1)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LoopbackHub]:
    """An empty Hub with Xet, whose users are those of `loopback_hub`."""
    with LoopbackHub(tmp_path / "hub") as running:
        yield running


@pytest.fixture(autouse=True)
def own_weights_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of weights that a test gives are given for it alone, not for its whole process."""
    monkeypatch.setattr("autoseg.encoders._local_files", {})
