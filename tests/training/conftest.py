"""Cached data that every trial here shares."""

import pytest
from training_helpers import make_data

from autoseg.training.trial import TrainingData


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    return make_data(tmp_path_factory.mktemp("training"))
