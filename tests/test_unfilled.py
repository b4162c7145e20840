"""Networks built around given weights are those that were built and then loaded."""

import pytest
import torch
from test_model import SCHEMES, SHAPE, build, images
from torch import nn

from autoseg.config import Geometry, Recipe
from autoseg.model import build_model, decoders_for
from autoseg.search.encoder_choice import DEFAULT_ENCODERS
from autoseg.training.trial import build_network
from autoseg.unfilled import unfilled

VITS = ["vit_small_patch14_dinov2.lvd142m", "vit_small_patch16_dinov3.lvd1689m"]
PAIRS = [
    *((name, decoders_for(name)[0]) for name in [*SCHEMES, VITS[0]]),
    ("tf_efficientnet_lite0.in1k", "unet"),
    ("convnext_atto.d2_in1k", "segformer"),
]


def recipe(encoder_name: str, decoder_name: str, drop_path: float) -> Recipe:
    geometry = Geometry(window=SHAPE, box=SHAPE)
    return Recipe(encoder_name, geometry, decoder_name=decoder_name, drop_path=drop_path)


@pytest.mark.parametrize(("encoder_name", "decoder_name"), PAIRS)
def test_a_network_built_from_weights_computes_what_a_loaded_one_does(encoder_name, decoder_name):
    """To the last bit, also with stochastic depth and where positions stand in no state dict."""
    wanted = build(encoder_name, decoder_name, drop_path=0.5)
    found = build_network(recipe(encoder_name, decoder_name, 0.5), 3, wanted.state_dict())
    for kind in (nn.Module.named_parameters, nn.Module.named_buffers):
        one, other = dict(kind(wanted)), dict(kind(found))
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert all(one[name].stride() == other[name].stride() for name in one)
        assert all(one[name].requires_grad == other[name].requires_grad for name in one)
    for mode in (True, False):
        logits = []
        for model in (wanted, found):
            torch.manual_seed(2)
            with torch.no_grad():
                logits.append(model.train(mode)(images()))
        assert torch.equal(*logits)


def test_the_weights_given_are_copied():
    weights = build("test_resnet.r160_in1k").state_dict()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    model = build_network(recipe("test_resnet.r160_in1k", "unet", 0.0), 3, weights)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())


def test_weights_that_are_not_complete_are_refused():
    weights = build("test_resnet.r160_in1k").state_dict()
    del weights["segmentation_head.0.bias"]
    with pytest.raises(RuntimeError, match="segmentation_head.0.bias"):
        build_network(recipe("test_resnet.r160_in1k", "unet", 0.0), 3, weights)


@pytest.mark.parametrize("encoder_name", SCHEMES)
def test_random_numbers_go_on_as_if_nothing_had_been_built(encoder_name):
    before = torch.get_rng_state()
    with unfilled():
        build_model(encoder_name, decoders_for(encoder_name)[0], 3, pretrained=False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("encoder_name", [*DEFAULT_ENCODERS["cuda"], *VITS])
def test_none_are_drawn_at_all_for_the_encoders_that_are_searched_most(encoder_name):
    for decoder_name in decoders_for(encoder_name):
        with unfilled():
            before = torch.get_rng_state()
            build_model(encoder_name, decoder_name, 3, pretrained=False)
            assert torch.equal(torch.get_rng_state(), before)


def test_networks_built_afterwards_are_filled_again():
    wanted = build("test_resnet.r160_in1k").state_dict()
    with unfilled(), pytest.raises(KeyError):
        raise KeyError
    again = build("test_resnet.r160_in1k").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in wanted.items())
