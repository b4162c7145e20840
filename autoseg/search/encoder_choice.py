"""Which encoders are searched, and where their weights come from."""

from pathlib import Path

import torch

from autoseg.config import SearchConfig
from autoseg.encoders import (
    available_encoders,
    find_encoder,
    use_weights_file,
    weights_at_hand,
)
from autoseg.errors import EncoderError
from autoseg.model import build_model, decoders_for
from autoseg.search.planning import FEW_IMAGES

DEFAULT_ENCODERS = {
    "cpu": (
        "tf_efficientnet_lite0.in1k",
        "tf_efficientnet_lite1.in1k",
        "tf_efficientnet_lite2.in1k",
        "resnet18.a1_in1k",
    ),
    "cuda": (
        "tf_efficientnet_lite0.in1k",
        "tf_efficientnet_lite1.in1k",
        "tf_efficientnet_lite2.in1k",
        "resnet18.a1_in1k",
        "resnet50.a1_in1k",
        "convnext_tiny.in12k_ft_in1k",
    ),
}
"""Encoders searched when none are named, the reference first, then by rising size."""

FEW_IMAGES_ENCODER = "vit_small_patch14_dinov2.lvd142m"
"""Joins those where images are few, wholly frozen.

A light decoder on a ViT that learnt without labels is strong there: on a benchmark of few-shot
segmentation a linear layer on DINOv2 kept 97 % of what fine-tuning it scored (the project's notes
on the algorithm, 1.2). Its licence is Apache-2.0; that of DINOv3 has terms of its own.
"""


def check_weights_files(config: SearchConfig) -> None:
    """Build each network whose weights the user gave as a file, to see that they are its own.

    Raises:
        EncoderError: A name is unknown, or a file is not there or does not hold its weights.
    """
    _use_weights_files(config)
    for name, path in config.weights_files:
        encoder, file = find_encoder(name), str(Path(path))
        try:
            build_model(encoder.name, decoders_for(encoder.name)[0], 2, pretrained=True)
        except EncoderError as error:
            told = str(error)
            raise EncoderError(told if file in told else f"{file}: {told}") from error


def _use_weights_files(config: SearchConfig) -> None:
    for name, path in config.weights_files:
        use_weights_file(find_encoder(name), Path(path))


def default_encoders(config: SearchConfig, device: torch.device) -> tuple[str, ...]:
    """The encoders of a search: those asked for, else those of this device with weights here.

    The first is the reference: of those asked for the smallest. Where it is slower for one image
    than `--max-latency` allows, the next one that is not takes its place (`make_plan`).

    Nothing is downloaded for a default, on a GPU neither: one whose weights are not installed,
    given or in the Hub's cache is left out (`weights_at_hand`).

    Raises:
        EncoderError: A name is unknown, or weights cannot be had or used.
    """
    _use_weights_files(config)
    if config.encoders:
        asked = available_encoders(config.allow_noncommercial, config.encoders)
        return tuple(e.name for e in sorted(asked, key=lambda e: e.params))
    given = tuple(find_encoder(name).name for name, _ in config.weights_files)
    names = dict.fromkeys(DEFAULT_ENCODERS.get(device.type, DEFAULT_ENCODERS["cpu"]) + given)
    return tuple(name for name in names if weights_at_hand(find_encoder(name)))


def few_images_encoders(config: SearchConfig, n_train: int) -> tuple[str, ...]:
    """The encoder that joins wholly frozen where images are few and its weights are here; or none.

    As a default it is never downloaded. Where the user named encoders there are no others, and one
    whose weights the user gave is searched like any other. A former model keeps its own encoder.

    Args:
        config: What the user asked.
        n_train: Images to train on.
    """
    given = {find_encoder(name).name for name, _ in config.weights_files}
    is_open = not config.encoders and config.start_from is None
    if not is_open or n_train >= FEW_IMAGES or FEW_IMAGES_ENCODER in given:
        return ()
    return (FEW_IMAGES_ENCODER,) if weights_at_hand(find_encoder(FEW_IMAGES_ENCODER)) else ()
