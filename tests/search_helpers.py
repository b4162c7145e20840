"""Real searches on tiny data: the tests' encoder, with weights in a Hub cache of its own."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from autoseg.config import Geometry, SearchConfig
from autoseg.data.cache import build_cache
from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.search.run_folder import RunFolder
from autoseg.training.trial import TrainingData

ENCODER = "test_resnet.r160_in1k"

SEARCH = """
import sys, torch
from pathlib import Path
torch.set_num_threads(1)
from autoseg.config import SearchConfig
from autoseg.pipeline import run_search
source, folder, budget = sys.argv[1:4]
config = SearchConfig(float(budget), encoders=("test_resnet",), n_trials=20, max_side=64)
run_search(Path(source), config, Path(folder))
"""


def fill_hub_cache(folder: Path, encoder_name: str = ENCODER, scale: float = 1.0) -> Path:
    """A Hub cache that holds random weights of an encoder, as a download would leave it.

    Args:
        folder: The cache; what it holds stays, of this encoder too.
        encoder_name: The encoder.
        scale: Factor of all weights; 0 makes an encoder that tells nothing of an image.
    """
    repository = folder / f"models--timm--{encoder_name}"
    snapshot = repository / "snapshots" / ("0" * 40)
    if (snapshot / "model.safetensors").is_file():
        return folder
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    torch.manual_seed(0)
    weights = timm.create_model(encoder_name, pretrained=False).state_dict()
    save_file({n: scale * t for n, t in weights.items()}, snapshot / "model.safetensors")
    return folder


def tiny_data(
    folder: Path, geometry: Geometry, size: tuple[int, int] = (32, 48), n_val: int = 3
) -> TrainingData:
    """Five generated images to train on and some to score by, small enough for real trials.

    Args:
        folder: Where images and cache are made.
        geometry: The working size.
        size: Height and width of the images, in pixels.
        n_val: Images to score by, at most 3.
    """
    dataset = check_dataset(make_sample_dataset(folder / "set", 8, size=size))
    cache = build_cache(dataset, geometry, folder / "cache")
    val = tuple(range(5, 5 + n_val))
    return TrainingData(cache, tuple(range(5)), val, dataset.classes.num_classes)


SPLITS = {"train": 14, "val": 10, "test": 12}

IGNORED_MARGIN = 2
"""Pixels at each border of a photo that are to be ignored."""


def make_photos(folder: Path) -> Path:
    """Photos in given splits, so few that a trial of some epochs takes about a second; a margin of
    each is to be ignored, as in many data sets.
    """
    for seed, (split, count) in enumerate(SPLITS.items()):
        make_sample_dataset(folder / split, count, seed, size=(64, 96))
        (folder / split / "classes.txt").replace(folder / "classes.txt")
        for mask in (folder / split / "masks").iterdir():
            ignore_margin(mask)
    return folder


def ignore_margin(mask: Path) -> None:
    """Set the pixels at the border of a stored mask to 255."""
    width = IGNORED_MARGIN
    with Image.open(mask) as file:
        values = np.array(file)
    inner = values[width:-width, width:-width].copy()
    values[:] = 255
    values[width:-width, width:-width] = inner
    Image.fromarray(values).save(mask)


def config(budget_s: float, **changes: object) -> SearchConfig:
    """Of a search that tries several recipes, however few steps a busy machine has time for."""
    asked = {"encoders": ("test_resnet",), "n_trials": 20, "max_side": 64}
    return SearchConfig(budget_s, **{**asked, **changes})


@dataclass(frozen=True)
class Room:
    """What the searches of one test module share."""

    photos: Path
    home: Path
    cache: Path
    """A Hub cache with the encoder's weights."""


@contextmanager
def search_room(folder: Path) -> Iterator[Room]:
    """Make a room, in which every search of this process runs meanwhile."""
    room = Room(make_photos(folder / "set"), folder / "home", fill_hub_cache(folder / "hub"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOSEG_HOME", str(room.home))
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(room.cache))
        yield room


def start(room: Room, folder: Path, budget_s: float) -> "subprocess.Popen[str]":
    """A search in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SEARCH, str(room.photos), str(folder), str(budget_s)],
        env={**os.environ, "HF_HUB_CACHE": str(room.cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    """Poll while the process lives."""
    while not condition():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


def finished_trials(run: RunFolder) -> int:
    return sum(trial.status in ("complete", "pruned") for trial in run.trials())


def once(condition: Callable[[], object], then: Callable[[], object]) -> threading.Thread:
    """Do something as soon as a condition holds, while the search runs."""

    def wait() -> None:
        while not condition():
            time.sleep(0.02)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread
