"""What the check of a data set found, as far as a search's length depends on it, kept in a file."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import make_splits
from autoseg.errors import DatasetError
from autoseg.files import replacing

_ARRAYS = ("sizes", "class_pixels", "class_boundary", "train", "val", "test")


@dataclass(frozen=True)
class Facts:
    """What the check of a data set knows of it, as far as a search's length depends on it."""

    class_names: tuple[str, ...]
    sizes: np.ndarray
    """(N, 2) height and width of each image, in pixels."""
    class_pixels: np.ndarray
    """(N, K) pixels of each class."""
    class_boundary: np.ndarray
    """(N, K) pixel edges between a class and others."""
    train: np.ndarray
    """Images to train on, as positions."""
    val: np.ndarray
    """Images to choose by."""
    test: np.ndarray
    """Images to judge by; empty where there are too few."""

    @staticmethod
    def of(dataset: CheckedDataset) -> "Facts":
        """The facts of a checked data set.

        Raises:
            DatasetError: Its given splits leave too few images to train.
        """
        splits, statistics = make_splits(dataset, seed=0), dataset.statistics
        return Facts(
            class_names=dataset.classes.names,
            sizes=statistics.sizes,
            class_pixels=statistics.class_pixels,
            class_boundary=statistics.class_boundary,
            train=np.array(splits.train, dtype=np.int64),
            val=np.array(splits.val, dtype=np.int64),
            test=np.array(splits.test, dtype=np.int64),
        )

    def save(self, path: Path) -> None:
        """Write them as a numpy archive, whole or not at all."""
        content = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        np.savez_compressed(content, class_names=np.array(self.class_names), **arrays)
        with replacing(path) as temporary:
            temporary.write_bytes(content.getvalue())

    @staticmethod
    def load(path: Path) -> "Facts":
        """Read what `save` wrote.

        Raises:
            DatasetError: The file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                names = tuple(str(name) for name in stored["class_names"])
                return Facts(names, **{name: stored[name] for name in _ARRAYS})
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DatasetError(
                f"{path} cannot be read ({error}). Check the data set again."
            ) from error
