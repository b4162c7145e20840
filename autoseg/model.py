"""A segmentation model from an encoder and a slim decoder, as stock smp builds it."""

from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn

from autoseg.config import DecoderName
from autoseg.encoders import Encoder, find_encoder, load_weights
from autoseg.errors import EncoderError
from autoseg.freezing import (
    encoder_stages,
    freeze_stages,
    parameter_groups,
    split_forward,
    splittable_depths,
    train_mode,
)

__all__ = [
    "build_model",
    "decoders_for",
    "encoder_stages",
    "freeze_stages",
    "model_config",
    "parameter_groups",
    "split_forward",
    "splittable_depths",
    "train_mode",
]

_MODEL_CLASSES = {"fpn": "FPN", "unet": "Unet", "segformer": "Segformer", "dpt": "DPT"}


def decoders_for(encoder_name: str) -> tuple[DecoderName, ...]:
    """The decoders that fit an encoder, the default first.

    Where the encoder has a map of half the image's size, a U-Net takes it up, whose borders are
    finer than those of an FPN's logits at a quarter. Measured with EfficientNet-Lite0 at equal
    working size and pixels of windows (`tests/benchmarks/results/ablations.jsonl`, one seed each),
    U-Net less FPN, macro / macro-imagewise IoU: sides of 160 pixels, 40 million, coffee_leaf +1.5 /
    -0.2, dsb2018 +1.2 / +2.3; 120 million +1.1 / -0.2 and +0.1 / +1.1. Its step takes a fifth more
    multiply-adds, but it needs smaller images: six minutes on two cores came to 93.7 / 94.5 and
    92.2 / 90.4 with sides of 128 pixels, with an FPN and sides of 256 to 93.1 / 92.5 and 91.1 /
    89.1 (seed 0; slower steps, more augmentation).
    """
    encoder = find_encoder(encoder_name)
    if encoder.kind == "vit":
        return ("dpt",)
    return ("unet", "fpn", "segformer") if encoder.has_half_size else ("fpn", "unet", "segformer")


def _decoder_widths(encoder: Encoder, decoder_name: str) -> dict[str, Any]:
    """Channels of a slim decoder, so that it does not cost more than the encoder.

    Source: measured multiply-adds of smp's decoders; the default FPN is 81 % of a forward pass with
    EfficientNet-Lite0, one of 128/64 channels 52 %.
    """
    if decoder_name == "fpn":
        pyramid = 128 if encoder.params < 15e6 else 192 if encoder.params < 40e6 else 256
        return {
            "decoder_pyramid_channels": pyramid,
            "decoder_segmentation_channels": pyramid // 2,
        }
    if decoder_name == "unet":
        return {"decoder_channels": [128, 64, 32, 16, 8]}
    if decoder_name == "segformer":
        return {"decoder_segmentation_channels": 128}
    return {
        "decoder_intermediate_channels": [96, 192, 384, 384],
        "decoder_fusion_channels": 128,
    }


def model_config(encoder_name: str, decoder_name: str, num_classes: int) -> dict[str, Any]:
    """What stock `smp.from_pretrained` needs in `config.json` to build the model.

    Raises:
        EncoderError: The encoder is unknown, or the decoder does not fit it.
    """
    encoder = find_encoder(encoder_name)
    if decoder_name not in decoders_for(encoder_name):
        raise EncoderError(
            f"{encoder.name} goes with the decoders {', '.join(decoders_for(encoder_name))}, "
            f"but got {decoder_name!r}."
        )
    return {
        "_model_class": _MODEL_CLASSES[decoder_name],
        "encoder_name": encoder.smp_name,
        "encoder_depth": 4 if encoder.kind == "vit" else 5,
        "encoder_weights": None,
        "in_channels": 3,
        "classes": num_classes,
        **_decoder_widths(encoder, decoder_name),
        **encoder.create_kwargs,
    }


def build_model(
    encoder_name: str,
    decoder_name: str,
    num_classes: int,
    *,
    pretrained: bool,
    drop_path: float = 0.0,
    weights_file: Path | None = None,
) -> nn.Module:
    """Build an smp model: images (N, 3, H, W), H and W multiples of 32 -> logits (N, K, H, W).

    Args:
        encoder_name: Name in the catalogue.
        decoder_name: One of `decoders_for(encoder_name)`.
        num_classes: K, background included.
        pretrained: Whether the encoder gets its pretrained weights.
        drop_path: Stochastic depth rate; encoders without residual blocks ignore it.
        weights_file: safetensors file to take the pretrained weights from.

    Raises:
        EncoderError: The encoder is unknown, its weights cannot be had, or the decoder does not
            fit it.
    """
    encoder = find_encoder(encoder_name)
    config = model_config(encoder_name, decoder_name, num_classes)
    model_class = getattr(smp, config.pop("_model_class"))
    # It changes no weights, so a saved model does without it.
    extra = {"drop_path_rate": drop_path} if drop_path and encoder.drop_path else {}
    model: nn.Module = model_class(**config, **extra)
    if pretrained:
        _load_encoder(model, encoder, load_weights(encoder, weights_file=weights_file))
    return model


def _load_encoder(model: nn.Module, encoder: Encoder, weights: dict[str, torch.Tensor]) -> None:
    """Copy weights under the full timm model's names into the feature extractor."""
    module: Any = model.encoder
    network = module if encoder.smp_native else module.model
    # timm's feature extractors take Sequentials apart: "stages.0.x" becomes "stages_0.x".
    flattened = {name.replace(".", "_", 1): tensor for name, tensor in weights.items()}
    chosen = {}
    for name, tensor in network.state_dict().items():
        found = weights.get(name, flattened.get(name))
        if found is None or found.shape != tensor.shape:
            state = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise EncoderError(
                f"The weights are not those of {encoder.name}: {name} is {state}, "
                f"expected shape {tuple(tensor.shape)}."
            )
        chosen[name] = found
    network.load_state_dict(chosen)
