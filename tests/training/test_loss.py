import numpy as np
import pytest
import torch

from autoseg.training.loss import segmentation_loss


def by_hand(logits: torch.Tensor, masks: torch.Tensor) -> float:
    """Cross-entropy plus Dice, pixel by pixel in float64."""
    n_classes = logits.shape[1]
    rows = logits.double().permute(0, 2, 3, 1).reshape(-1, n_classes).numpy()
    truth = masks.flatten().numpy()
    rows, truth = rows[truth != 255], truth[truth != 255]
    shares = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    cross_entropy = -np.mean([np.log(s[t]) for s, t in zip(shares, truth, strict=True)])
    losses = []
    for k in set(truth.tolist()):
        both = shares[truth == k, k].sum()
        losses.append(1 - (2 * both + 1) / (shares[:, k].sum() + (truth == k).sum() + 1))
    return float(cross_entropy + np.mean(losses))


def batch(seed: int, n_classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, n_classes, 6, 7, generator=generator)
    masks = torch.randint(0, n_classes, (2, 6, 7), generator=generator, dtype=torch.uint8)
    masks[torch.rand(2, 6, 7, generator=generator) < 0.2] = 255
    return logits, masks


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_cross_entropy_plus_dice(seed):
    logits, masks = batch(seed)
    assert float(segmentation_loss(logits, masks)) == pytest.approx(
        by_hand(logits, masks), rel=1e-5
    )


def test_its_cross_entropy_is_torchs():
    """With one class in the truth and saturated logits, Dice is nought."""
    logits, masks = batch(0)
    loss = segmentation_loss(logits, masks)
    reference = torch.nn.functional.cross_entropy(logits, masks.long(), ignore_index=255)
    assert 0 < float(loss - reference) < 1


def test_classes_absent_from_the_batch_do_not_dilute_dice():
    """smp divides by all classes, so that Dice fades on sets with many."""
    logits, masks = batch(1, n_classes=3)
    more = torch.cat([logits, torch.full((2, 40, 6, 7), -60.0)], dim=1)
    assert float(segmentation_loss(more, masks)) == pytest.approx(
        float(segmentation_loss(logits, masks)), rel=1e-5
    )


def test_ignored_pixels_have_no_gradient_and_no_say():
    logits, masks = batch(2)
    logits.requires_grad_(True)
    segmentation_loss(logits, masks).backward()
    ignored = (masks == 255)[:, None].expand_as(logits)
    assert (logits.grad[ignored] == 0).all() and (logits.grad[~ignored] != 0).any()
    changed = torch.where(ignored, 100.0, logits.detach())
    assert torch.equal(segmentation_loss(changed, masks), segmentation_loss(logits, masks))


def test_a_batch_without_any_truth_costs_nothing():
    logits, masks = batch(3)
    logits.requires_grad_(True)
    loss = segmentation_loss(logits, torch.full_like(masks, 255))
    loss.backward()
    assert float(loss.detach()) == 0 and (logits.grad == 0).all()


def test_a_perfect_prediction_costs_almost_nothing():
    _, masks = batch(4)
    masks[masks == 255] = 0
    logits = 50 * torch.nn.functional.one_hot(masks.long(), 4).permute(0, 3, 1, 2).float()
    assert float(segmentation_loss(logits, masks)) < 1e-4


def test_half_precision_logits_are_summed_in_float32():
    logits, masks = batch(5)
    loss = segmentation_loss(logits.bfloat16(), masks)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(by_hand(logits, masks), rel=0.02)
