"""An encoder as a line of stages: which to freeze, how fast each learns, where to cut the forward.

Stage 0 is the stem (up to stride 2), stages 1 to 4 end at strides 4, 8, 16 and 32. A plain ViT has
one stride throughout: its stage 0 is the patch embedding, stages 1 to 4 are quarters of its blocks.
`frozen_depth` d freezes the stages 0 to d; 0 freezes nothing and 4 the whole encoder.

A stage ends where its feature map leaves the encoder. So VGG's last one, a pooling layer, has no
parameters (depth 3 freezes as many as 4), and Inception-v4's third ends amid the stride-16 blocks.

smp's own `freeze_encoder` is not used: afterwards `model.eval()` skips the encoder, so that dropout
and stochastic depth stay on while predicting.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.encoders import TimmUniversalEncoder, TimmViTEncoder
from segmentation_models_pytorch.encoders.inceptionresnetv2 import InceptionResNetV2Encoder
from segmentation_models_pytorch.encoders.inceptionv4 import InceptionV4Encoder
from timm.models import FeatureListNet, VisionTransformer
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
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


# The forward pass of `InceptionResNetV2Encoder`: module, stride of the map that leaves behind it.
_INCEPTION_RESNET: tuple[tuple[str, int | None], ...] = (
    *(("conv2d_1a", None), ("conv2d_2a", None), ("conv2d_2b", 2)),
    *(("maxpool_3a", None), ("conv2d_3b", None), ("conv2d_4a", 4)),
    *(("maxpool_5a", None), ("mixed_5b", None), ("repeat", 8)),
    *(("mixed_6a", None), ("repeat_1", 16)),
    *(("mixed_7a", None), ("repeat_2", None), ("block8", None), ("conv2d_7b", 32)),
)


def _steps(encoder: nn.Module) -> list[_Step]:
    """The forward pass of a pyramid encoder as a line of modules."""
    if isinstance(encoder, InceptionV4Encoder):
        strides = dict(zip(encoder._out_indexes, (2, 4, 8, 16, 32), strict=True))
        return [_Step(module, strides.get(i)) for i, module in enumerate(encoder.features)]
    if isinstance(encoder, InceptionResNetV2Encoder):
        return [_Step(getattr(encoder, name), stride) for name, stride in _INCEPTION_RESNET]
    if not isinstance(encoder, TimmUniversalEncoder):
        raise ValueError(f"Cannot tell the stages of a {type(encoder).__name__}.")
    network: Any = encoder.model
    if isinstance(network, FeatureListNet):
        tapped = [(module, name in network.return_layers) for name, module in network.items()]
    elif isinstance(network, EfficientNetFeatures | MobileNetV3Features):
        stem = [network.conv_stem, network.bn1]
        stem += [network.act1] if isinstance(network, MobileNetV3Features) else []
        tapped = [(module, False) for module in stem[:-1]]
        tapped.append((stem[-1], 0 in network._stage_out_idx))
        tapped += [
            (block, index in network._stage_out_idx)
            for index, block in enumerate(network.blocks, start=1)
        ]
    else:
        raise ValueError(f"Cannot tell the stages of a {type(network).__name__}.")
    remaining = iter(network.feature_info.reduction())
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
    return [steps[low:high] for low, high in itertools.pairwise(edges)]


def encoder_stages(encoder: nn.Module) -> list[list[nn.Module]]:
    """The encoder's modules in five stages, in the order of the forward pass.

    Raises:
        ValueError: The encoder is built in a way that is not known here.
    """
    if not isinstance(encoder, TimmViTEncoder):
        return [[step.module for step in stage] for stage in _stage_steps(encoder)]
    children = dict(cast(nn.Module, encoder.model).named_children())
    names = list(children)
    blocks = list(cast(nn.Sequential, children["blocks"]))
    edges = [len(blocks) * quarter // MAX_FROZEN_DEPTH for quarter in range(N_STAGES)]
    stages = [blocks[low:high] for low, high in itertools.pairwise(edges)]
    before, after = names[: names.index("blocks")], names[names.index("blocks") + 1 :]
    stages[-1] = stages[-1] + [children[name] for name in after]
    return [[children[name] for name in before], *stages]


def _stage_parameters(encoder: nn.Module) -> list[list[tuple[str, nn.Parameter]]]:
    """Every parameter of the encoder, by stage; a ViT's embeddings, in no module, are stage 0."""
    stage_of = {
        id(parameter): stage
        for stage, modules in enumerate(encoder_stages(encoder))
        for module in modules
        for parameter in module.parameters()
    }
    grouped: list[list[tuple[str, nn.Parameter]]] = [[] for _ in range(N_STAGES)]
    for name, parameter in encoder.named_parameters():
        grouped[stage_of.get(id(parameter), 0)].append((name, parameter))
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
    encoder: Any = model.encoder
    if isinstance(encoder, TimmViTEncoder) and not isinstance(encoder.model, VisionTransformer):
        return (0, MAX_FROZEN_DEPTH)  # rotary embeddings go from block to block
    return tuple(range(N_STAGES))


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
        return lambda images: [images], lambda kept, shape: cast(torch.Tensor, model(kept[0]))
    is_vit = isinstance(model.encoder, TimmViTEncoder)
    run_head, tail = (_split_vit if is_vit else _split_pyramid)(model, frozen_depth)
    frozen = _frozen_modules(model, frozen_depth)

    @torch.no_grad()
    def head(images: torch.Tensor) -> list[torch.Tensor]:
        for module in frozen:
            if module.training:
                module.eval()
        return run_head(images)

    return head, tail


def _split_pyramid(model: nn.Module, frozen_depth: int) -> tuple[Head, Tail]:
    """`split_forward` for encoders that are a line of modules; keeps one map per stride."""
    network: Any = model
    stages = _stage_steps(network.encoder)
    frozen = [step for stage in stages[: frozen_depth + 1] for step in stage]
    rest = [step for stage in stages[frozen_depth + 1 :] for step in stage]
    is_nhwc = getattr(network.encoder, "_is_channel_last", False)
    lowest_stride = 4 if isinstance(model, smp.FPN) else 2

    def run(steps: list[_Step], x: torch.Tensor) -> list[torch.Tensor]:
        maps = []
        for step in steps:
            x = step.module(x)
            if step.stride is not None and step.stride >= lowest_stride:
                maps.append(x.permute(0, 3, 1, 2).contiguous() if is_nhwc else x)
        return maps

    def head(images: torch.Tensor) -> list[torch.Tensor]:
        return run(frozen, images)

    def tail(kept: list[torch.Tensor], shape: tuple[int, int]) -> torch.Tensor:
        deepest = kept[-1].permute(0, 2, 3, 1) if is_nhwc else kept[-1]
        maps = [*kept, *run(rest, deepest)]
        # Of the image, and of a stride 2 that an encoder lacks, decoders read only the shape.
        for stride in (2, 1)[len(maps) - 4 :]:
            size = (len(maps[0]), 0, shape[0] // stride, shape[1] // stride)
            maps.insert(0, maps[0].new_empty(size))
        return cast(torch.Tensor, network.segmentation_head(network.decoder(maps)))

    return head, tail


def _split_vit(model: nn.Module, frozen_depth: int) -> tuple[Head, Tail]:
    """`split_forward` for plain ViTs; keeps a map and prefix tokens per quarter of the blocks."""
    network: Any = model
    vit: Any = network.encoder.model
    n_prefix = network.encoder._num_prefix_tokens
    quarters = [[b for b in stage if b in vit.blocks] for stage in encoder_stages(network.encoder)]

    def run(blocks: list[nn.Module], x: torch.Tensor) -> torch.Tensor:
        for block in blocks:
            x = block(x)
        return x

    def pair(x: torch.Tensor, height: int, width: int) -> list[torch.Tensor]:
        tokens = x[:, n_prefix:].reshape(len(x), height, width, -1)
        return [tokens.permute(0, 3, 1, 2).contiguous(), x[:, :n_prefix]]

    def head(images: torch.Tensor) -> list[torch.Tensor]:
        if frozen_depth == MAX_FROZEN_DEPTH:
            maps, prefixes = network.encoder(images)
            return [tensor for both in zip(maps, prefixes, strict=True) for tensor in both]
        height, width = vit.patch_embed.dynamic_feat_size(images.shape[-2:])
        x = vit.norm_pre(vit.patch_drop(vit._pos_embed(vit.patch_embed(images))))
        kept = []
        for blocks in quarters[1 : frozen_depth + 1]:
            x = run(blocks, x)
            kept += pair(x, height, width)
        return kept

    def tail(kept: list[torch.Tensor], shape: tuple[int, int]) -> torch.Tensor:
        pairs = list(kept)
        height, width = kept[-2].shape[-2:]
        x = torch.cat([kept[-1], kept[-2].flatten(2).transpose(1, 2)], dim=1)
        for blocks in quarters[frozen_depth + 1 :]:
            x = run(blocks, x)
            pairs += pair(x, height, width)
        decoded = network.decoder(pairs[0::2], pairs[1::2])
        return cast(torch.Tensor, network.segmentation_head(decoded))

    return head, tail
