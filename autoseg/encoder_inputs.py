"""Which pixels an encoder was pretrained on, by the name that stock smp gives the encoder."""

import re
from dataclasses import dataclass

import timm

_TIMM_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)?")
"""An architecture and its pretrained tag. "hf-hub:", paths and addresses do not match."""

_DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

_HALF_ENCODERS = ("inceptionresnetv2", "inceptionv4", "xception", "timm-tf_efficientnet_lite")


@dataclass(frozen=True)
class EncoderInput:
    """What an encoder of smp or timm expects."""

    mean: tuple[float, float, float]
    """Per channel, of RGB images in [0, 1]."""
    std: tuple[float, float, float]
    """Per channel, of RGB images in [0, 1]."""
    size: tuple[int, int] | None = None
    """Height and width in pretraining, in pixels, where timm records them."""
    licence: str = ""
    """Licence of the pretrained weights, where timm records it."""


def is_timm_encoder(name: str) -> bool:
    """Whether timm itself has an encoder of that name; nothing is asked of a network.

    Args:
        name: With or without a pretrained tag, without smp's prefix "tu-".
    """
    if not _TIMM_NAME.fullmatch(name) or not timm.is_model(name):
        return False
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError:  # It has the architecture, but not with this tag.
        return False
    return True


def encoder_input(encoder_name: str, weights: str | None) -> EncoderInput:
    """The pixels an encoder was pretrained on.

    Args:
        encoder_name: As smp writes it, "tu-" before the names of timm; checked before.
        weights: smp's name of the pretrained weights, e.g. "imagenet"; None: not known.

    Source: `pretrained_settings` of smp 0.4, the last version that has them without a network. They
    are of three kinds, all of them RGB in [0, 1].
    """
    if encoder_name.startswith("tu-"):
        config = timm.get_pretrained_cfg(encoder_name[3:])
        if config is None or len(config.mean) != 3:
            return EncoderInput(*_IMAGENET)
        (red, green, blue), (red_std, green_std, blue_std) = config.mean, config.std
        return EncoderInput(
            (red, green, blue),
            (red_std, green_std, blue_std),
            size=(config.input_size[1], config.input_size[2]) if config.input_size else None,
            licence=config.license or "",
        )
    if encoder_name.startswith(_HALF_ENCODERS) or weights == "advprop":
        return EncoderInput(*_HALF)
    return EncoderInput(*(_DPN if encoder_name.startswith("dpn") else _IMAGENET))
