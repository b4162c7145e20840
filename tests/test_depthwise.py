"""Gradients of grouped convolutions in bfloat16, against torch's own in float32."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import nn

from autoseg import depthwise
from autoseg.depthwise import ease_grouped_convolutions

CHANNELS = 8


def gradients(module: nn.Module, images: torch.Tensor, dtype: torch.dtype | None) -> list:
    """The output, and the gradients of the images and of all weights, in float32."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        output = module(images)
    weights = torch.linspace(-1, 1, output.numel()).view_as(output)
    (output.float() * weights).sum().backward()
    return [output, images.grad, *(parameter.grad for parameter in module.parameters())]


def assert_alike(found: list, wanted: list) -> None:
    """Equal within what bfloat16 rounds."""
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert (one.float() - other).abs().max() < 0.02 * other.abs().max()


@pytest.fixture
def calls(monkeypatch):
    """How often the gradients were ours."""
    seen: list[torch.dtype] = []
    forward = depthwise._Depthwise.forward

    def counted(ctx, images, *others):
        seen.append(images.dtype)
        return forward(ctx, images, *others)

    monkeypatch.setattr(depthwise._Depthwise, "forward", staticmethod(counted))
    return seen


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7, (3, 5), (7, 1)])
@pytest.mark.parametrize("stride", [1, 2, (1, 2)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_gradients_of_a_depthwise_convolution_are_those_of_float32(calls, kernel, stride, bias):
    torch.manual_seed(0)
    sides = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    padding = tuple(side // 2 for side in sides)
    module = nn.Conv2d(CHANNELS, CHANNELS, kernel, stride, padding, groups=CHANNELS, bias=bias).to(
        memory_format=torch.channels_last
    )
    images = torch.randn(3, CHANNELS, 11, 9).to(memory_format=torch.channels_last)
    wanted = gradients(copy.deepcopy(module), images, None)
    ease_grouped_convolutions(module)
    assert_alike(gradients(module, images, torch.bfloat16), wanted)
    assert calls == [torch.bfloat16]


@pytest.mark.parametrize("side", [8, 9, 12])
@pytest.mark.parametrize("kernel", [3, 5])
def test_so_are_those_of_one_that_pads_as_tensorflow_does(calls, side, kernel):
    torch.manual_seed(0)
    module = Conv2dSame(CHANNELS, CHANNELS, kernel, stride=2, groups=CHANNELS, bias=False)
    images = torch.randn(2, CHANNELS, side, side)
    wanted = gradients(copy.deepcopy(module), images, None)
    ease_grouped_convolutions(module)
    assert_alike(gradients(module, images, torch.bfloat16), wanted)
    assert calls == [torch.bfloat16]


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(CHANNELS, CHANNELS, 3, groups=2),
        nn.Conv2d(CHANNELS, 2 * CHANNELS, 3, groups=CHANNELS),
        nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS, dilation=2),
        nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS, padding="same"),
        nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS, padding=1, padding_mode="reflect"),
    ],
)
def test_other_grouped_convolutions_leave_bfloat16_for_their_gradients(calls, module):
    torch.manual_seed(0)
    images = torch.randn(2, CHANNELS, 9, 9)
    wanted = gradients(copy.deepcopy(module), images, None)
    ease_grouped_convolutions(module)
    found = gradients(module, images, torch.bfloat16)
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one, other)  # In bfloat16 none would be.
    assert calls == []


@pytest.mark.parametrize("frozen", ["weight", "images"])
def test_what_is_frozen_gets_no_gradient(frozen):
    module = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
    ease_grouped_convolutions(module)
    module.requires_grad_(frozen != "weight")
    images = torch.randn(2, CHANNELS, 9, 9, requires_grad=frozen != "images")
    with torch.autocast("cpu", torch.bfloat16):
        module(images).float().sum().backward()
    assert (module.weight.grad is None) == (frozen == "weight")
    assert (images.grad is None) == (frozen == "images")


def test_without_gradients_or_bfloat16_nothing_changes(calls):
    module = nn.Conv2d(CHANNELS, CHANNELS, 5, padding=2, groups=CHANNELS)
    plain = copy.deepcopy(module)
    ease_grouped_convolutions(module)
    images = torch.randn(2, CHANNELS, 9, 9)
    assert torch.equal(module(images), plain(images))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(images), plain(images))
    assert calls == []
