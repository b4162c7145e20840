"""The loss: cross-entropy and Dice."""

import torch

from autoseg.config import IGNORE_INDEX

_SMOOTH = 1.0
"""Pixels added to both sides of the Dice quotient, so that a few pixels make no spike."""


def segmentation_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus soft Dice, both in float32.

    Compound losses are the robust choice over data sets (Ma et al. 2021, "Loss odyssey in medical
    image segmentation"). The Dice term is the mean over the classes that are in the batch: smp's
    divides by all classes, which weakens it where there are many.

    Args:
        logits: (N, K, H, W).
        masks: (N, H, W) integers; `IGNORE_INDEX` is left out.

    Returns:
        A scalar; 0 if every pixel is ignored.
    """
    logits = logits.float()
    targets = masks.long()
    kept = targets != IGNORE_INDEX
    log_probabilities = logits.log_softmax(1)
    safe = torch.where(kept, targets, 0)
    picked = log_probabilities.gather(1, safe[:, None])[:, 0]
    cross_entropy = -(picked * kept).sum() / kept.sum().clamp(min=1)

    weight = kept[:, None].float()
    probabilities = log_probabilities.exp() * weight
    hits = torch.zeros_like(probabilities).scatter_(1, safe[:, None], weight)
    intersection = (probabilities * hits).sum((0, 2, 3))
    total = probabilities.sum((0, 2, 3)) + hits.sum((0, 2, 3))
    present = (hits.sum((0, 2, 3)) > 0).float()
    dice = (2 * intersection + _SMOOTH) / (total + _SMOOTH)
    return cross_entropy + ((1 - dice) * present).sum() / present.sum().clamp(min=1)
