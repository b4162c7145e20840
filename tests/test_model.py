"""Models of every kind of encoder: build, freeze, train a step, split, load in stock smp."""

import json
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from safetensors.torch import save_file
from torch import nn

from autoseg.config import Geometry, Recipe
from autoseg.encoders import catalogue, families, find_encoder
from autoseg.errors import EncoderError
from autoseg.model import (
    build_model,
    decoders_for,
    encoder_stages,
    freeze_stages,
    model_config,
    parameter_groups,
    split_forward,
    splittable_depths,
    train_mode,
)

# One encoder per way in which timm or smp names and runs its stages.
SCHEMES = [
    "test_resnet.r160_in1k",
    "regnety_004.tv2_in1k",
    "vgg11_bn.tv_in1k",
    "densenet121.ra_in1k",
    "inception_v4.tf_in1k",
    "inception_next_atto.sail_in1k",
    "tf_efficientnet_lite0.in1k",
    "mobilenetv4_conv_small.e2400_r224_in1k",
    "convnext_atto.d2_in1k",
    "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k",
    "pvt_v2_b0.in1k",
    "test_vit.r160_in1k",
    "vit_small_patch16_dinov3.lvd1689m",
]
SMALL = ["test_resnet.r160_in1k", "tf_efficientnet_lite0.in1k", "convnext_atto.d2_in1k"]
QUICK = {*SCHEMES, *(e[0].name for e in families().values() if e[0].params < 1e7)}
ALL = [
    pytest.param(e.name, marks=[] if e.name in QUICK else [pytest.mark.slow]) for e in catalogue()
]
SHAPE = (64, 96)


def build(encoder_name: str, decoder_name: str | None = None, drop_path: float = 0.0) -> nn.Module:
    """A model with random weights; BatchNorm as after training, so that no block is off."""
    torch.manual_seed(0)
    decoder_name = decoder_name or decoders_for(encoder_name)[0]
    model = build_model(encoder_name, decoder_name, 3, pretrained=False, drop_path=drop_path)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def images(batch_size: int = 2) -> torch.Tensor:
    return torch.randn(batch_size, 3, *SHAPE, generator=torch.Generator().manual_seed(1))


def recipe(frozen_depth: int = 0, **values: float) -> Recipe:
    geometry = Geometry(window=SHAPE, box=SHAPE)
    return Recipe("test_resnet.r160_in1k", geometry, frozen_depth=frozen_depth, **values)


def step(model: nn.Module, frozen_depth: int, train_norm: bool) -> None:
    """One real optimizer step."""
    freeze_stages(model, frozen_depth)
    train_mode(model, frozen_depth, train_norm)
    groups = parameter_groups(model, recipe(frozen_depth, encoder_lr_ratio=1.0))
    optimizer = torch.optim.AdamW(groups)
    loss = nn.functional.cross_entropy(model(images()), torch.zeros(2, *SHAPE, dtype=torch.long))
    assert loss.isfinite()
    loss.backward()
    optimizer.step()


def frozen_state(model: nn.Module, frozen_depth: int) -> dict[str, torch.Tensor]:
    """Parameters and buffers of the frozen stages."""
    stages = encoder_stages(model.encoder)[: frozen_depth + 1 if frozen_depth else 0]
    return {
        f"{i}.{j}.{name}": tensor.clone()
        for i, stage in enumerate(stages)
        for j, module in enumerate(stage)
        for name, tensor in module.state_dict().items()
    }


@pytest.mark.parametrize("encoder_name", ALL)
def test_every_encoder_builds_freezes_deeper_and_trains_a_step(encoder_name: str) -> None:
    model = build(encoder_name)
    params = sum(parameter.numel() for parameter in model.encoder.parameters())
    assert params == find_encoder(encoder_name).params
    frozen = [freeze_stages(model, depth) for depth in range(5)]
    if encoder_name.startswith("vgg"):  # its last stage is a pooling layer alone
        frozen.pop()
    assert frozen == sorted(set(frozen))
    assert (frozen[0], frozen[-1]) == (0, params)
    before = frozen_state(model, 2)
    step(model, frozen_depth=2, train_norm=True)
    assert all(torch.equal(before[k], v) for k, v in frozen_state(model, 2).items())
    with torch.no_grad():
        logits = model.eval()(images())
    assert logits.shape == (2, 3, *SHAPE)


@pytest.mark.parametrize("train_norm", [False, True])
@pytest.mark.parametrize("frozen_depth", range(5))
@pytest.mark.parametrize("encoder_name", SMALL)
def test_a_step_moves_all_that_is_not_frozen_and_nothing_else(
    encoder_name: str, frozen_depth: int, train_norm: bool
) -> None:
    model = build(encoder_name)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    frozen = frozen_state(model, frozen_depth)
    step(model, frozen_depth, train_norm)
    assert all(torch.equal(frozen[k], v) for k, v in frozen_state(model, frozen_depth).items())
    free = {name for name, p in model.named_parameters() if p.requires_grad}
    kept = {id(b) for s in _frozen_stages(model, frozen_depth) for m in s for b in m.buffers()}
    if not train_norm:  # The decoder's statistics are always learnt.
        kept |= {id(buffer) for buffer in model.encoder.buffers()}
    free |= {n for n, b in model.named_buffers() if "running" in n and id(b) not in kept}
    moved = {n for n, t in model.state_dict().items() if not torch.equal(before[n], t)}
    assert {name for name in moved if "num_batches" not in name} == free


def _frozen_stages(model: nn.Module, frozen_depth: int) -> list[list[nn.Module]]:
    return encoder_stages(model.encoder)[: frozen_depth + 1 if frozen_depth else 0]


@pytest.mark.parametrize("encoder_name", SCHEMES)
def test_two_evaluations_agree_after_training_with_stochastic_depth(encoder_name: str) -> None:
    """smp's `freeze_encoder` fails this: afterwards `model.eval()` passes the encoder over."""
    model = build(encoder_name, drop_path=0.5)
    freeze_stages(model, 4)
    train_mode(model, frozen_depth=4, train_norm=False)
    x = images()
    with torch.no_grad():
        frozen = [_flat(model.encoder(x)) for _ in range(2)]
        model.eval()
        first, second = model(x), model(x)
    assert all(torch.equal(a, b) for a, b in zip(*frozen, strict=True))
    assert torch.equal(first, second)


def _flat(features: object) -> list[torch.Tensor]:
    if isinstance(features, torch.Tensor):
        return [features]
    return [tensor for feature in features for tensor in _flat(feature)]


@pytest.mark.parametrize("encoder_name", ["resnet18.a1_in1k", "convnext_atto.d2_in1k"])
def test_stochastic_depth_acts_in_training_only_where_nothing_is_frozen(encoder_name: str) -> None:
    model = build(encoder_name, drop_path=0.9)
    train_mode(model, frozen_depth=0, train_norm=False)
    with torch.no_grad():
        assert not torch.equal(model.encoder(images())[-1], model.encoder(images())[-1])


@pytest.mark.parametrize("encoder_name", SCHEMES)
def test_split_forward_equals_the_model_at_each_depth(encoder_name: str) -> None:
    model = build(encoder_name).eval()
    x = images()
    with torch.no_grad():
        expected = model(x)
        for depth in splittable_depths(model):
            head, tail = split_forward(model, depth)
            kept = head(x)
            assert torch.equal(tail(kept, SHAPE), expected), depth
            assert torch.equal(tail(kept, SHAPE), expected), "the tail changed what was kept"


@pytest.mark.parametrize("decoder_name", ["unet", "segformer"])
@pytest.mark.parametrize("encoder_name", [*SMALL, "vgg11_bn.tv_in1k"])
def test_split_forward_equals_the_model_with_each_decoder(
    encoder_name: str, decoder_name: str
) -> None:
    model = build(encoder_name, decoder_name).eval()
    with torch.no_grad():
        expected = model(images())
        for depth in splittable_depths(model):
            head, tail = split_forward(model, depth)
            assert torch.equal(tail(head(images()), SHAPE), expected), depth


@pytest.mark.parametrize("encoder_name", [*SMALL, "swin_tiny_patch4_window7_224", "test_vit"])
def test_split_forward_equals_the_model_in_bfloat16_channels_last(encoder_name: str) -> None:
    model = build(encoder_name).eval().to(memory_format=torch.channels_last)
    x = images().to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        expected = model(x)
        for depth in splittable_depths(model):
            head, tail = split_forward(model, depth)
            assert torch.equal(tail(head(x), SHAPE), expected), depth


def test_split_forward_keeps_only_what_the_decoder_reads() -> None:
    model = build("test_resnet.r160_in1k", "fpn").eval()
    for depth in range(1, 5):
        kept = split_forward(model, depth)[0](images())
        assert [SHAPE[0] // k.shape[-2] for k in kept] == [
            2 ** (d + 1) for d in range(1, depth + 1)
        ]
        assert not any(tensor.requires_grad for tensor in kept)


@pytest.mark.parametrize("encoder_name", ["test_resnet.r160_in1k", "test_vit.r160_in1k"])
def test_the_tail_trains_as_the_model_does(encoder_name: str) -> None:
    """Gradients through the tail equal those of the whole model with the same stages frozen."""
    gradients = []
    for split in (False, True):
        model = build(encoder_name)
        freeze_stages(model, 2)
        model.eval()  # no dropout in the decoder, so that both see the same
        head, tail = split_forward(model, 2)
        logits = tail(head(images()), SHAPE) if split else model(images())
        logits.square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=lambda m, name=name: name + m)


def test_the_head_stays_in_evaluation_mode() -> None:
    model = build("tf_efficientnet_lite0.in1k", drop_path=0.5)
    head, _ = split_forward(model, 3)
    model.train()
    before = frozen_state(model, 3)
    first, second = head(images()), head(images())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(before[k], v) for k, v in frozen_state(model, 3).items())


def test_split_where_the_encoder_cannot_be_cut_is_refused() -> None:
    model = build("vit_small_patch16_dinov3.lvd1689m")
    with pytest.raises(ValueError, match=r"\(0, 4\)"):
        split_forward(model, 2)


@pytest.mark.parametrize("frozen_depth", [-1, 5])
def test_depth_outside_0_to_4_is_refused(frozen_depth: int) -> None:
    model = build("test_resnet.r160_in1k")
    with pytest.raises(ValueError, match="0 <= frozen_depth <= 4"):
        freeze_stages(model, frozen_depth)
    with pytest.raises(ValueError, match="0 <= frozen_depth <= 4"):
        train_mode(model, frozen_depth, train_norm=False)


@pytest.mark.parametrize("encoder_name", SCHEMES)
def test_stages_hold_every_parameter_once(encoder_name: str) -> None:
    encoder = build(encoder_name).encoder
    modules = [module for stage in encoder_stages(encoder) for module in stage]
    held = [id(parameter) for module in modules for parameter in module.parameters()]
    assert len(held) == len(set(held))
    loose = {name for name, p in encoder.named_parameters() if id(p) not in held}
    assert loose <= {"model.pos_embed", "model.cls_token", "model.reg_token"}


@pytest.mark.parametrize("encoder_name", [n for n in SCHEMES if "vit" not in n])
def test_stages_in_line_reproduce_the_encoder_and_end_at_their_stride(encoder_name: str) -> None:
    encoder = build(encoder_name).encoder.eval()
    is_nhwc = encoder_name.startswith("swin")
    x = images()
    with torch.no_grad():
        expected = encoder(x)[-1]
        for index, stage in enumerate(encoder_stages(encoder)):
            for module in stage:
                x = module(x)
            if index or encoder.out_channels[1]:  # a stem of stride 4 has a layout of its own
                height = x.shape[1] if is_nhwc else x.shape[2]
                assert height == SHAPE[0] // 2 ** (index + 1)
    assert torch.equal(x.permute(0, 3, 1, 2) if is_nhwc else x, expected)


@pytest.mark.parametrize("encoder_name", SCHEMES)
def test_every_free_parameter_learns_in_one_group(encoder_name: str) -> None:
    model = build(encoder_name)
    freeze_stages(model, 1)
    groups = parameter_groups(model, recipe(1))
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    free = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
    assert sorted(grouped) == sorted(free)
    for group in groups:
        if group["weight_decay"]:
            assert all(parameter.ndim > 1 for parameter in group["params"])


def test_rates_fall_from_the_decoder_to_the_stem() -> None:
    model = build("test_resnet.r160_in1k")
    values = {"decoder_lr": 1e-2, "encoder_lr_ratio": 0.5, "layer_decay": 0.8}
    rates = {g["name"]: g["lr"] for g in parameter_groups(model, recipe(0, **values))}
    assert rates["decoder"] == rates["decoder.plain"] == 1e-2
    for stage in range(5):
        assert rates[f"encoder.{stage}"] == pytest.approx(0.5e-2 * 0.8 ** (4 - stage))


@pytest.mark.parametrize(
    ("encoder_name", "decoder_name"),
    [
        ("tf_efficientnet_lite0.in1k", "fpn"),
        ("resnet18.a1_in1k", "unet"),
        ("convnext_atto.d2_in1k", "segformer"),
        ("inception_v4.tf_in1k", "fpn"),
        ("swin_tiny_patch4_window7_224.ms_in22k_ft_in1k", "fpn"),
        ("vit_small_patch14_dinov2.lvd142m", "dpt"),
        ("vit_small_patch16_dinov3.lvd1689m", "dpt"),
    ],
)
def test_stock_smp_loads_the_configuration_and_gives_the_same_logits(
    encoder_name: str, decoder_name: str, tmp_path: Path
) -> None:
    model = build(encoder_name, decoder_name, drop_path=0.1).eval()
    config = model_config(encoder_name, decoder_name, 3)
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    loaded = smp.from_pretrained(str(tmp_path)).eval()
    with torch.no_grad():
        assert torch.equal(loaded(images()), model(images()))


@pytest.mark.parametrize("encoder_name", ["test_vit.r160_in1k", "resnet18.a1_in1k"])
def test_decoder_that_does_not_fit_is_refused_with_those_that_do(encoder_name: str) -> None:
    wrong = "fpn" if find_encoder(encoder_name).kind == "vit" else "dpt"
    with pytest.raises(EncoderError, match=", ".join(decoders_for(encoder_name))):
        build_model(encoder_name, wrong, 2, pretrained=False)
