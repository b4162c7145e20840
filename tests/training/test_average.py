import pytest
import torch
from torch import nn

from autoseg.training.average import WeightAverage


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_the_average_of_a_constant_is_the_constant():
    model = network()
    average, before = WeightAverage(model), weights(network())
    for _ in range(50):
        average.update()
    with average.in_place():
        assert same(weights(model), before)


def test_the_network_has_its_own_weights_again_after_the_block():
    model = network()
    average = WeightAverage(model)
    with torch.no_grad():
        for tensor in (*model.parameters(), model[1].running_mean):
            tensor.add_(1)
    before = weights(model)
    with pytest.raises(RuntimeError, match="inside"):
        with average.in_place():
            assert not same(weights(model), before)
            raise RuntimeError("inside")
    assert same(weights(model), before)
    with average.in_place():
        pass
    assert same(weights(model), before)


def test_the_average_is_a_weighted_mean_of_the_steps_that_forgets_the_first():
    """Independent of the code: the weights of all steps are found from unit impulses."""
    n_steps = 60
    shares = []
    for impulse in range(n_steps):
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        average = WeightAverage(model)
        for step in range(n_steps):
            nn.init.constant_(model.weight, float(step == impulse))
            average.update()
        with average.in_place():
            shares.append(model.weight.item())
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(1, abs=1e-3)  # Nothing is left of the first weights.
    assert sum(shares[-n_steps // 3 :]) > 0.8  # The window is a share of the steps so far.
    assert shares[-1] < 0.2


def test_frozen_weights_are_not_copied_but_norm_statistics_are_averaged():
    model = network()
    model[0].requires_grad_(False)
    average = WeightAverage(model)
    assert (
        sum(t.numel() for t in average._average)
        == sum(t.numel() for t in (*model[1].parameters(), *model[2].parameters())) + 2 * 4
    )
    with torch.no_grad():
        model[1].running_mean.fill_(10)
    average.update()
    with average.in_place():
        assert 0 < float(model[1].running_mean[0]) <= 10
