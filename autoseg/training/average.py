"""Exponential moving average of a network's weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

MAX_DECAY = 0.995


class WeightAverage:
    """Averaged copy of the floating-point weights and buffers that training changes.

    The window grows with training, to about a tenth of the steps so far, so that early scores
    are not held back by the first weights (Morales-Brotons et al. 2024, arXiv 2411.18704).
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._live = [
            tensor
            for tensor in (*model.parameters(), *model.buffers())
            if tensor.is_floating_point()
            and (tensor.requires_grad or not isinstance(tensor, torch.nn.Parameter))
        ]
        self._average = [tensor.detach().clone() for tensor in self._live]
        self.steps = 0

    def update(self) -> None:
        """Move the average towards the present weights."""
        decay = min(MAX_DECAY, (1 + self.steps) / (10 + self.steps))
        live = [tensor.detach() for tensor in self._live]
        torch._foreach_lerp_(self._average, live, 1 - decay)
        self.steps += 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the averaged weights inside this block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for tensor, average in zip(self._live, self._average, strict=True):
                present = tensor.detach().clone()
                tensor.copy_(average)
                average.copy_(present)
