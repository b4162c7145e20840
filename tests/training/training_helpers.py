"""Cached data and networks small enough to train in a test."""

from pathlib import Path

import torch

from autoseg.checkpoint import Weights
from autoseg.config import Geometry, Recipe
from autoseg.data.cache import build_cache
from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.model import build_model
from autoseg.training.hardware import Precision
from autoseg.training.trial import TrainingData

CPU = Precision(torch.device("cpu"))
GEOMETRY = Geometry(window=(64, 96), scale=1.0)


def make_data(folder: Path, n_images: int = 12) -> TrainingData:
    dataset = check_dataset(make_sample_dataset(folder / "set", n_images, size=(64, 96)))
    cache = build_cache(dataset, GEOMETRY, folder / "cache")
    n_train = n_images * 2 // 3
    return TrainingData(
        cache, tuple(range(n_train)), tuple(range(n_train, n_images)), dataset.classes.num_classes
    )


def tiny_recipe(**changes: object) -> Recipe:
    values = {"batch_size": 4, "augmentation": "light", **changes}
    return Recipe("test_resnet.r160_in1k", GEOMETRY, **values)


def random_weights(seed: int = 0, decoder: str = "fpn") -> Weights:
    """Start weights that need no pretrained file."""
    torch.manual_seed(seed)
    model = build_model("test_resnet.r160_in1k", decoder, 5, pretrained=False)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
