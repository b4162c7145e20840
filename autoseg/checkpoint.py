"""Weights on disk as safetensors: whole or not there, and never a pickle."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save

from autoseg.files import replacing

Weights = dict[str, torch.Tensor]


def save_weights(path: Path, weights: Weights) -> None:
    """Write a state dict; a full disk leaves what was there before."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(contiguous))  # `save_file` hides that a disk is full.


def load_weights(path: Path) -> Weights:
    """Read a state dict."""
    return load_file(path)
