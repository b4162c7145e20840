"""Where a trainer's batches come from: augmented windows, or cached features of frozen stages."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from autoseg.data.augmentation import Augmenter
from autoseg.data.batches import Windows
from autoseg.errors import TrainingError
from autoseg.preprocessing import Preprocessing
from autoseg.training.hardware import Precision, autotuned, free_memory, is_out_of_memory


class BatchSource(Protocol):
    """Batches for `Trainer`; `forward` turns the inputs of a batch into logits."""

    def draw(self, count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The next `count` samples: inputs, each (count, ...), and masks (count, h, w) uint8."""
        ...

    def give_back(self) -> bool:
        """Free memory of the device that batches can be drawn without; False: there is none."""
        ...


class WindowSource:
    """Augmented, standardised windows: inputs are `[images (N, 3, h, w)]`."""

    def __init__(self, windows: Windows, augment: Augmenter, preprocessing: Preprocessing) -> None:
        self.windows = windows
        self.augment = augment
        self.preprocessing = preprocessing

    def draw(self, count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The next `count` windows, channels last."""
        images, masks = self.windows.draw(count)
        images, masks = self.augment(images, masks)
        normal = self.preprocessing.normalize(images)
        return [normal.contiguous(memory_format=torch.channels_last)], masks

    def give_back(self) -> bool:
        """Keep the images off the device from now on; False if none were there."""
        return self.windows.pixels.give_back()


class FeatureSource:
    """Features of frozen stages, computed once per window and drawn many times.

    Args:
        source: Windows to compute features of.
        head: The frozen stages: images (N, 3, h, w) -> feature maps (N, C, h', w').
        precision: Device and autocast of the head.
        seed: Seed of the order in which features are drawn.
    """

    def __init__(
        self,
        source: WindowSource,
        head: Callable[[torch.Tensor], list[torch.Tensor]],
        precision: Precision,
        seed: int,
    ) -> None:
        self._source = source
        self._head = head
        self._precision = precision
        self._rng = np.random.default_rng(seed)
        self._features: list[list[torch.Tensor]] = []
        self._masks: list[torch.Tensor] = []
        self._formats: list[torch.memory_format] = []
        self._order = np.empty(0, dtype=np.int64)
        self.is_short = False
        """Whether memory holds fewer windows than were wanted."""

    def __len__(self) -> int:
        return len(self._masks)

    @autotuned(True)  # Every batch has the same shape.
    def fill(
        self,
        count: int,
        batch_size: int,
        max_bytes: int,
        keep_going: Callable[[], bool] = lambda: True,
    ) -> None:
        """Compute features of `count` windows, or as many as fit into `max_bytes`.

        Args:
            count: Windows wanted.
            batch_size: Windows per forward pass.
            max_bytes: Memory for features and masks.
            keep_going: Asked before each pass but the first; False ends the filling.
        """
        used = 0
        while len(self) < count and (used == 0 or keep_going()):
            inputs, masks = self._source.draw(min(batch_size, count - len(self)))
            features = self._features_of(inputs[0])
            if features is None:
                given_back = self._source.give_back()
                free_memory(self._precision.device)
                if given_back:
                    continue
                if used:
                    self.is_short = True
                    break  # What there is so far fits, and so does training on it.
                if batch_size == 1:
                    raise TrainingError(
                        "Memory ran out on one window of the frozen encoder. Choose a smaller "
                        "encoder or `max_side`, or close other programs that use the device."
                    )
                batch_size //= 2
                continue
            self._formats = [_memory_format(feature) for feature in features]
            for k in range(len(masks)):
                # Clones: a view would keep the whole batch alive.
                self._features.append([feature[k].clone() for feature in features])
                self._masks.append(masks[k].clone())
            bytes_each = sum(f[0].nbytes for f in features) + masks[0].nbytes
            used += bytes_each * len(masks)
            if used + bytes_each * batch_size > max_bytes:
                self.is_short = len(self) < count
                break

    def give_back(self) -> bool:
        """Keep the images off the device; the features stay."""
        return self._source.give_back()

    def _features_of(self, images: torch.Tensor) -> list[torch.Tensor] | None:
        """Feature maps of a batch; None if memory ran out."""
        try:
            with torch.no_grad(), self._precision.training_autocast():
                return self._head(images)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None

    def draw(self, count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The next `count` cached windows: every one comes once before any comes again."""
        while len(self._order) < count:
            self._order = np.concatenate([self._order, self._rng.permutation(len(self))])
        chosen, self._order = self._order[:count].tolist(), self._order[count:]
        columns = zip(*(self._features[k] for k in chosen), strict=True)
        inputs = [
            torch.stack(column).contiguous(memory_format=layout)
            for column, layout in zip(columns, self._formats, strict=True)
        ]
        return inputs, torch.stack([self._masks[k] for k in chosen])


def _memory_format(features: torch.Tensor) -> torch.memory_format:
    """The format the head yields; a ViT's tokens (N, P, C) have one only."""
    if features.ndim != 4 or features.is_contiguous():
        return torch.contiguous_format
    return torch.channels_last
