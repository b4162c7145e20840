"""An encoder as a line of stages: which to freeze, how fast each learns, where to cut the forward.

Stage 0 is the stem (up to stride 2), stages 1 to 4 end at strides 4, 8, 16 and 32. A plain ViT has
one stride throughout: its stage 0 is the patch embedding, stages 1 to 4 are quarters of its blocks.
`frozen_depth` d freezes the stages 0 to d; 0 freezes nothing and 4 the whole encoder.

smp's own `freeze_encoder` is not used: afterwards `model.eval()` skips the encoder, so that dropout
and stochastic depth stay on while predicting.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from segmentation_models_pytorch.encoders import TimmUniversalEncoder, TimmViTEncoder
from torch import nn

from autoseg.config import MAX_FROZEN_DEPTH, Recipe

N_STAGES = MAX_FROZEN_DEPTH + 1
"""Stem and four stages."""

WEIGHT_DECAY = 0.01
"""AdamW's decay of weights; norms, biases and embeddings have none."""

_NO_DECAY = ("pos_embed", "cls_token", "reg_token", "relative_position_bias_table")

Head = Callable[[torch.Tensor], list[torch.Tensor]]
Tail = Callable[[list[torch.Tensor], tuple[int, int]], torch.Tensor]


@dataclass(frozen=True)
class _Step:
    """One module of a pyramid encoder, in the order of the forward pass."""

    module: nn.Module
    stride: int | None
    """Stride of the feature map that leaves the encoder here; None where none leaves."""


def _steps(encoder: nn.Module) -> list[_Step]:
    """The forward pass of a pyramid encoder as a line of modules."""
    network: Any = encoder.model
    strides = list(network.feature_info.reduction())
    if hasattr(network, "return_layers"):  # FeatureListNet
        tapped = [(module, name in network.return_layers) for name, module in network.items()]
    elif hasattr(network, "_stage_out_idx"):  # EfficientNetFeatures, MobileNetV3Features
        stem = [network.conv_stem, network.bn1]
        stem += [network.act1] if hasattr(network, "act1") else []
        tapped = [(module, False) for module in stem[:-1]]
        tapped.append((stem[-1], 0 in network._stage_out_idx))
        tapped += [
            (block, index in network._stage_out_idx)
            for index, block in enumerate(network.blocks, start=1)
        ]
    else:
        raise ValueError(f"Cannot tell the stages of a {type(network).__name__}.")
    remaining = iter(strides)
    steps = [_Step(module, next(remaining) if is_tap else None) for module, is_tap in tapped]
    assert next(remaining, None) is None, "timm names a feature that no module yields"
    return steps


def _stage_steps(encoder: nn.Module) -> list[list[_Step]]:
    """Cut the line after strides 2, 4, 8, 16, 32; without a 2, stage 0 is what precedes 4."""
    steps = _steps(encoder)
    tap_at = {step.stride: index for index, step in enumerate(steps) if step.stride}
    cuts = [tap_at[2] + 1 if 2 in tap_at else tap_at[4]]
    cuts += [tap_at[2 ** (stage + 1)] + 1 for stage in range(1, N_STAGES - 1)]
    edges = [0, *cuts, len(steps)]
    return [steps[low:high] for low, high in zip(edges, edges[1:], strict=False)]


def encoder_stages(encoder: nn.Module) -> list[list[nn.Module]]:
    """The encoder's modules in five stages, in the order of the forward pass.

    Raises:
        ValueError: The encoder is built in a way that is not known here.
    """
    if isinstance(encoder, TimmViTEncoder):
        network: Any = encoder.model
        quarter = len(network.blocks) // MAX_FROZEN_DEPTH
        stem = [network.patch_embed, network.pos_drop, network.norm_pre]
        blocks = [list(network.blocks[i * quarter : (i + 1) * quarter]) for i in range(4)]
        return [stem, *blocks]
    if isinstance(encoder, TimmUniversalEncoder):
        return [[step.module for step in stage] for stage in _stage_steps(encoder)]
    raise ValueError(f"Cannot tell the stages of a {type(encoder).__name__}.")


def _stage_parameters(encoder: nn.Module) -> list[list[tuple[str, nn.Parameter]]]:
    """Every parameter of the encoder, by stage; what is in no module (embeddings) is stage 0."""
    stage_of = {
        id(parameter): stage
        for stage, modules in enumerate(encoder_stages(encoder))
        for module in modules
        for parameter in module.parameters()
    }
    grouped: list[list[tuple[str, nn.Parameter]]] = [[] for _ in range(N_STAGES)]
    for name, parameter in encoder.named_parameters():
        last = N_STAGES - 1 if ".norm." in f".{name}" else 0
        grouped[stage_of.get(id(parameter), last)].append((name, parameter))
    return grouped


def _check_depth(frozen_depth: int) -> None:
    if not 0 <= frozen_depth <= MAX_FROZEN_DEPTH:
        raise ValueError(
            f"`0 <= frozen_depth <= {MAX_FROZEN_DEPTH}` must hold, but got {frozen_depth}."
        )


def freeze_stages(model: nn.Module, frozen_depth: int) -> int:
    """Freeze the encoder's stages 0 to `frozen_depth`, in place; 0 freezes nothing.

    Stages beyond it are thawed. Modules keep their mode: see `train_mode`.

    Args:
        model: smp model.
        frozen_depth: In [0, 4]; 4 is the whole encoder.

    Returns:
        Frozen parameters, counted in scalars.

    Raises:
        ValueError: `frozen_depth` is outside [0, 4].
    """
    _check_depth(frozen_depth)
    frozen = 0
    for stage, parameters in enumerate(_stage_parameters(cast(nn.Module, model.encoder))):
        is_frozen = frozen_depth > 0 and stage <= frozen_depth
        for _, parameter in parameters:
            parameter.requires_grad_(not is_frozen)
            frozen += parameter.numel() if is_frozen else 0
    return frozen


def _frozen_modules(model: nn.Module, frozen_depth: int) -> list[nn.Module]:
    """The modules that `frozen_depth` freezes."""
    encoder = cast(nn.Module, model.encoder)
    if frozen_depth == 0:
        return []
    if frozen_depth == MAX_FROZEN_DEPTH:
        return [encoder]
    stages = encoder_stages(encoder)[: frozen_depth + 1]
    return [module for stage in stages for module in stage]


def train_mode(model: nn.Module, frozen_depth: int, train_norm: bool) -> None:
    """Put the model in training mode, its frozen stages in evaluation mode.

    Args:
        model: smp model.
        frozen_depth: As given to `freeze_stages`.
        train_norm: Whether BatchNorm in the encoder's other stages uses batch statistics.
    """
    _check_depth(frozen_depth)
    model.train()
    if not train_norm:
        for module in cast(nn.Module, model.encoder).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    for module in _frozen_modules(model, frozen_depth):
        module.eval()


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """AdamW's groups of the parameters that are not frozen.

    Decoder and head learn at `decoder_lr`; encoder stage s at `decoder_lr * encoder_lr_ratio *
    layer_decay ** (4 - s)`.

    Args:
        model: smp model, after `freeze_stages`.
        recipe: Learning rates.

    Returns:
        Groups with `name`, `params`, `lr` and `weight_decay`.
    """
    encoder = cast(nn.Module, model.encoder)
    parts: list[tuple[str, float, list[tuple[str, nn.Parameter]]]] = []
    for stage, parameters in enumerate(_stage_parameters(encoder)):
        decay = recipe.layer_decay ** (N_STAGES - 1 - stage)
        lr = recipe.decoder_lr * recipe.encoder_lr_ratio * decay
        parts.append((f"encoder.{stage}", lr, parameters))
    rest = [(n, p) for n, p in model.named_parameters() if not n.startswith("encoder.")]
    parts.append(("decoder", recipe.decoder_lr, rest))
    return [group for name, lr, parameters in parts for group in _groups(name, lr, parameters)]


def _groups(
    name: str, lr: float, parameters: list[tuple[str, nn.Parameter]]
) -> Iterator[dict[str, Any]]:
    """One group with weight decay and one without; empty ones are left out."""
    trained = [(key, parameter) for key, parameter in parameters if parameter.requires_grad]
    plain = [p for key, p in trained if p.ndim <= 1 or key.endswith(_NO_DECAY)]
    exempt = {id(parameter) for parameter in plain}
    decayed = [parameter for _, parameter in trained if id(parameter) not in exempt]
    if decayed:
        yield {"name": name, "params": decayed, "lr": lr, "weight_decay": WEIGHT_DECAY}
    if plain:
        yield {"name": f"{name}.plain", "params": plain, "lr": lr, "weight_decay": 0.0}


def splittable_depths(model: nn.Module) -> tuple[int, ...]:
    """The frozen depths at which `split_forward` can cut this model."""
    if isinstance(model.encoder, TimmUniversalEncoder):
        return tuple(range(MAX_FROZEN_DEPTH + 1))
    return (0, MAX_FROZEN_DEPTH)


def split_forward(model: nn.Module, frozen_depth: int) -> tuple[Head, Tail]:
    """Cut the forward pass behind the frozen stages, so that what they yield can be kept.

    `tail(head(images), (height, width))` equals `model(images)`. The head runs without gradients
    and in evaluation mode; it yields only the feature maps that the rest of the model reads.

    Args:
        model: smp model.
        frozen_depth: One of `splittable_depths(model)`; 0 leaves the whole model to the tail.

    Raises:
        ValueError: The encoder cannot be cut there.
    """
    if frozen_depth not in splittable_depths(model):
        raise ValueError(
            f"This encoder can be cut at {splittable_depths(model)}, but got {frozen_depth=}."
        )
    if frozen_depth == 0:
        return lambda images: [images], lambda features, shape: cast(
            torch.Tensor, model(features[0])
        )
    return _split_pyramid(model, frozen_depth)


def _split_pyramid(model: nn.Module, frozen_depth: int) -> tuple[Head, Tail]:
    """`split_forward` for encoders that are a line of modules."""
    network: Any = model
    stages = _stage_steps(network.encoder)
    frozen = [step for stage in stages[: frozen_depth + 1] for step in stage]
    rest = [step for stage in stages[frozen_depth + 1 :] for step in stage]
    is_nhwc = network.encoder._is_channel_last
    lowest_stride = 4 if type(model).__name__ == "FPN" else 2

    def run(
        steps: list[_Step], x: torch.Tensor, features: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        for step in steps:
            x = step.module(x)
            if step.stride is not None and step.stride >= lowest_stride:
                features.append(x.permute(0, 3, 1, 2).contiguous() if is_nhwc else x)
        return features

    @torch.no_grad()
    def head(images: torch.Tensor) -> list[torch.Tensor]:
        for step in frozen:
            if step.module.training:
                step.module.eval()
        return run(frozen, images, [])

    def tail(features: list[torch.Tensor], shape: tuple[int, int]) -> torch.Tensor:
        deepest = features[-1].permute(0, 2, 3, 1) if is_nhwc else features[-1]
        maps = run(rest, deepest, list(features))
        # Decoders read only the shape of the image and of a missing stride 2.
        for stride in (2, 1):
            if len(maps) < 6 - stride // 2:
                size = (maps[0].shape[0], 0, shape[0] // stride, shape[1] // stride)
                maps.insert(0, maps[0].new_empty(size))
        return cast(torch.Tensor, network.segmentation_head(network.decoder(maps)))

    return head, tail
