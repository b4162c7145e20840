"""What can go wrong while a trial is made a model, in words for the user."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from autoseg.bundle_files import check_weights
from autoseg.checkpoint import Weights, load_weights
from autoseg.errors import BundleError, DatasetError, PredictionError, RunError
from autoseg.files import is_disk_full
from autoseg.model import build_model
from autoseg.search.run_folder import RunFolder, TrialRecord
from autoseg.smp_models import weightless
from autoseg.training.hardware import is_out_of_memory


@contextmanager
def reading(source: Path) -> Iterator[None]:
    """Tell a file that cannot be read inside this block.

    Args:
        source: What is read, where the system names no file.

    Raises:
        DatasetError: A file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"{error.filename or source} cannot be read: {error.strerror or error}."
        ) from error


@contextmanager
def writing(folder: Path, way_out: str) -> Iterator[None]:
    """Tell a folder that takes no files inside this block.

    Args:
        folder: The folder.
        way_out: What the user can do, as a sentence.

    Raises:
        RunError: It takes none.
    """
    try:
        yield
    except OSError as error:
        why = "the disk is full" if is_disk_full(error) else error.strerror or str(error)
        raise RunError(f"{folder} cannot be written: {why}. {way_out}") from error


@contextmanager
def telling_of_memory_to_predict(device: torch.device) -> Iterator[None]:
    """Tell that memory ran out inside this block.

    Raises:
        PredictionError: It did, on that device or beside it.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        elsewhere = "" if device.type == "cpu" else ", or use the CPU (in a terminal: --device cpu)"
        raise PredictionError(
            f"There is too little memory on {device} to predict the images that the trial is "
            f"judged on. Close other programs that take it{elsewhere}."
        ) from error


def sound_weights(run: RunFolder, trial: TrialRecord, num_classes: int) -> Weights:
    """Weights of a trial, after a check that they are exactly those of its network.

    Raises:
        RunError: They are not.
        OSError: They cannot be read.
    """
    file, recipe = run.weights(trial.number), trial.recipe
    try:
        with weightless():
            model = build_model(
                recipe.encoder_name, recipe.decoder_name, num_classes, pretrained=False
            )
            check_weights(file, model)
    except BundleError as error:
        raise RunError(
            f"The weights of trial {trial.number} are damaged, so no model can be made of it. "
            f"{error} Take another trial of {run.name}, or search again."
        ) from error
    return load_weights(file)
