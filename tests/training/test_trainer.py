import math
import time

import numpy as np
import pytest
import torch
from torch import nn
from training_helpers import CPU

from autoseg.errors import TrainingError
from autoseg.training.hardware import Precision
from autoseg.training.schedule import Schedule
from autoseg.training.trainer import Trainer

N_CLASSES = 3


class Fixed:
    """The same batch, or the next rows of it, again and again."""

    def __init__(self, images: torch.Tensor, masks: torch.Tensor) -> None:
        self.images, self.masks, self.at = images, masks, 0

    def draw(self, count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        index = torch.arange(self.at, self.at + count) % len(self.images)
        self.at += count
        return [self.images[index]], self.masks[index]

    def give_back(self) -> bool:
        return False


def source(count: int = 8, identical: bool = False, side: int = 64) -> Fixed:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1 if identical else count, 3, side, side, generator=generator)
    masks = (images.mean(1) * 3).round().clamp(-1, 1).add(1).to(torch.uint8)
    if identical:
        images, masks = images.expand(count, -1, -1, -1), masks.expand(count, -1, -1)
    return Fixed(images, masks)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU(), nn.Conv2d(8, N_CLASSES, 1))


def scores(*values: float):
    """An evaluation that gives five images these IoUs in turn (the last one for ever after)."""
    remaining = list(values)

    def evaluate() -> np.ndarray:
        value = remaining.pop(0) if len(remaining) > 1 else remaining[0]
        right, wrong = round(2000 * value), round(1000 * (1 - value))
        return np.array([[[right, wrong], [wrong, right]]] * 5)

    return evaluate


def trainer(
    model: nn.Module, batch_size: int = 8, evaluate=None, lr: float = 1e-3, precision=CPU
) -> Trainer:
    groups = [{"params": list(model.parameters()), "lr": lr}]
    return Trainer(model, groups, model.train, precision, batch_size, evaluate or scores(0.5))


def updates(model: nn.Module, **options: object) -> torch.Tensor:
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    trained = trainer(model)
    forward = options.pop("forward", lambda inputs: model(inputs[0]))
    for name, value in options.pop("state", {}).items():
        setattr(trained, name, value)
    trained.run(options.pop("source", source()), forward, Schedule(windows=8, warmup_share=0))
    # One step of AdamW is a sign; its first moment keeps the gradient.
    state = trained._optimizer.state
    gradient = torch.cat([state[p]["exp_avg"].flatten() for p in model.parameters()])
    assert (nn.utils.parameters_to_vector(model.parameters()) != before).any()
    return gradient


@pytest.mark.parametrize("passes", [2, 3, 4, 8])
def test_passes_of_equal_windows_give_the_gradient_of_the_whole_batch(passes):
    whole = updates(network(), source=source(identical=True))
    parts = updates(network(), source=source(identical=True), state={"passes": passes})
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("passes", [2, 4, 8])
def test_passes_of_different_windows_give_almost_the_gradient_of_the_whole_batch(passes):
    """Cross-entropy is the same to the last digit; Dice is that of each pass."""
    whole = updates(network())
    parts = updates(network(), state={"passes": passes})
    cosine = torch.nn.functional.cosine_similarity(parts, whole, dim=0)
    assert cosine > 0.99
    assert parts.norm() == pytest.approx(float(whole.norm()), rel=0.1)


def out_of_memory_above(model: nn.Module, limit: int, pixels: int = 2**62):
    """A device whose memory holds `limit` windows of so many pixels; torch's error, injected."""
    sizes = []

    def forward(inputs: list[torch.Tensor]) -> torch.Tensor:
        sizes.append(tuple(inputs[0].shape))
        if len(inputs[0]) > limit or inputs[0][0, 0].numel() > pixels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return model(inputs[0])

    return forward, sizes


@pytest.mark.parametrize(("limit", "passes"), [(4, 2), (3, 4), (2, 4), (1, 8)])
def test_memory_that_runs_out_costs_passes_and_not_the_gradient(limit, passes):
    model = network()
    forward, sizes = out_of_memory_above(model, limit)
    gradient = updates(model, source=source(identical=True), forward=forward)
    whole = updates(network(), source=source(identical=True))
    torch.testing.assert_close(gradient, whole, rtol=1e-3, atol=1e-6)
    assert sum(size[0] for size in sizes if size[0] <= limit) == 8
    assert len([size for size in sizes if size[0] <= limit]) == passes


def test_every_window_of_the_batch_is_seen_once_after_the_recovery():
    model, data = network(), source()
    forward, _ = out_of_memory_above(model, 3)
    seen = []

    def remember(inputs: list[torch.Tensor]) -> torch.Tensor:
        logits = forward(inputs)
        seen.append(inputs[0].clone())
        return logits

    trainer(model).run(data, remember, Schedule(windows=8))
    assert torch.equal(torch.cat(seen), data.images)


def test_the_recovered_size_is_kept_for_the_next_steps():
    model = network()
    forward, sizes = out_of_memory_above(model, 2)
    trained = trainer(model)
    trained.run(source(), forward, Schedule(windows=40))
    assert trained.passes == 4 and trained.batch_size == 8
    assert sum(size[0] > 2 for size in sizes) == 2  # 8, then 4: both before the first step.


def test_images_on_the_device_make_room_before_the_batch_is_cut():
    model, data = network(), source()
    kept, sizes = [True], []
    data.give_back = lambda: bool(kept) and kept.pop()

    def forward(inputs: list[torch.Tensor]) -> torch.Tensor:
        sizes.append(len(inputs[0]))
        if kept or len(inputs[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return model(inputs[0])

    trained = trainer(model)
    trained.run(data, forward, Schedule(windows=8))
    assert sizes == [8, 8, 4, 4] and trained.passes == 2


def test_a_single_window_that_does_not_fit_is_cut():
    model = network()
    forward, sizes = out_of_memory_above(model, 1, pixels=64 * 64)
    trained = trainer(model)
    result = trained.run(source(side=128), forward, Schedule(windows=16))
    assert result.reason == "complete" and result.windows == 16
    assert trained.passes == 8 and trained.shrink < 1
    assert sizes[-1][2:] == (64, 64)


def test_memory_that_never_suffices_ends_the_trial_with_a_clear_error():
    model = network()
    forward, sizes = out_of_memory_above(model, 0)
    with pytest.raises(TrainingError, match="Memory ran out even with one small window"):
        trainer(model).run(source(side=128), forward, Schedule(windows=8))
    assert sizes[-1] == (1, 3, 64, 64)


def test_other_errors_pass():
    def forward(inputs: list[torch.Tensor]) -> torch.Tensor:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        trainer(network()).run(source(), forward, Schedule(windows=8))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_trial(value):
    model = network()
    with pytest.raises(TrainingError, match="not a number"):
        trainer(model).run(source(), lambda inputs: model(inputs[0]) * value, Schedule(windows=16))


def run(evaluate, shares=(0.25, 0.5, 0.75, 1.0), **options):
    model = network()
    trained = trainer(model, evaluate=evaluate)
    schedule = Schedule(windows=160, evaluations=shares)
    result = trained.run(source(), lambda inputs: model(inputs[0]), schedule, **options)
    return model, result


def test_evaluations_come_when_the_schedule_says():
    _, result = run(scores(0.1, 0.2, 0.3, 0.4))
    assert [e.windows for e in result.evaluations] == [40, 80, 120, 160]
    assert [e.progress for e in result.evaluations] == [0.25, 0.5, 0.75, 1.0]
    assert [e.score for e in result.evaluations] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert result.reason == "complete" and result.windows == 160
    assert 0 < result.step_seconds <= result.seconds
    losses = [e.train_loss for e in result.evaluations]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("best", range(4))
def test_the_network_ends_with_the_weights_of_its_best_evaluation(best):
    values = [0.3, 0.3, 0.3, 0.3]
    values[best] = 0.6
    seen: list[torch.Tensor] = []
    told: list[dict[str, torch.Tensor]] = []
    model = network()
    evaluate = scores(*values)

    def spy() -> np.ndarray:
        seen.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
        return evaluate()

    trained = trainer(model, evaluate=spy)
    schedule = Schedule(windows=160, evaluations=(0.25, 0.5, 0.75, 1.0))
    result = trained.run(source(), lambda inputs: model(inputs[0]), schedule, on_best=told.append)
    assert result.best is result.evaluations[best]
    final = nn.utils.parameters_to_vector(model.parameters())
    assert torch.equal(final, seen[best])
    assert all(torch.equal(told[-1][name], t) for name, t in model.state_dict().items())
    assert not any(torch.equal(seen[best], other) for k, other in enumerate(seen) if k != best)


def test_an_evaluation_may_end_the_phase():
    _, result = run(scores(0.1), on_evaluation=lambda evaluation: evaluation.progress < 0.5)
    assert result.reason == "pruned"
    assert [e.progress for e in result.evaluations] == [0.25, 0.5]


def test_a_stop_before_the_first_evaluation_still_ends_with_one():
    steps = iter([True, True, True, False])
    _, result = run(scores(0.4), keep_going=lambda: next(steps))
    assert result.reason == "stopped" and result.windows == 24
    assert [e.progress for e in result.evaluations] == [24 / 160]
    assert result.best is result.evaluations[0]


def test_a_stop_before_the_first_step_scores_the_weights_as_they_are():
    model, result = run(scores(0.4), keep_going=lambda: False)
    assert result.reason == "stopped" and result.windows == 0 and len(result.evaluations) == 1
    assert math.isnan(result.evaluations[0].train_loss)
    for tensor, start in zip(model.parameters(), network().parameters(), strict=True):
        assert torch.equal(tensor, start)


def test_a_stop_later_keeps_the_best_so_far():
    steps = iter([True] * 12 + [False])
    _, result = run(scores(0.4, 0.2), keep_going=lambda: next(steps))
    assert result.reason == "stopped" and [e.score for e in result.evaluations] == pytest.approx(
        [0.4, 0.2]
    )
    assert result.best is result.evaluations[0]


@pytest.mark.alone
def test_a_schedule_of_seconds_ends_in_time():
    model = network()

    def slow(inputs: list[torch.Tensor]) -> torch.Tensor:
        time.sleep(0.02)
        return model(inputs[0])

    schedule = Schedule(seconds=0.6, cooldown_share=0.4, evaluations=(0.5, 1.0))
    started = time.monotonic()
    result = trainer(model).run(source(), slow, schedule)
    assert 0.6 <= time.monotonic() - started < 1.2
    assert result.reason == "complete" and len(result.evaluations) == 2
    assert result.evaluations[-1].progress == 1


def test_training_learns():
    model = network()
    trained = trainer(model, lr=1e-2)
    result = trained.run(
        source(),
        lambda inputs: model(inputs[0]),
        Schedule(windows=1600, evaluations=(0.1, 1.0)),
    )
    first, last = (e.train_loss for e in result.evaluations)
    assert last < 0.5 * first


@pytest.mark.parametrize("users", [False, True])
def test_cudnn_tries_its_algorithms_in_steps_and_not_in_scoring(monkeypatch, users):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", users)
    model, seen = network(), {"steps": set(), "scoring": set()}

    def forward(inputs: list[torch.Tensor]) -> torch.Tensor:
        seen["steps"].add(torch.backends.cudnn.benchmark)
        return model(inputs[0])

    def evaluate() -> np.ndarray:
        seen["scoring"].add(torch.backends.cudnn.benchmark)
        return scores(0.5)()

    trained = trainer(model, evaluate=evaluate)
    trained.run(source(), forward, Schedule(windows=32, evaluations=(0.5, 1.0)))
    trained.time_steps(source(), forward, 1)
    assert seen == {"steps": {True}, "scoring": {False}}
    assert torch.backends.cudnn.benchmark is users


def test_the_time_of_steps_is_without_that_of_scoring():
    def slow(*_: object) -> np.ndarray:
        time.sleep(0.5)
        return scores(0.5)()

    model = network()
    result = trainer(model, evaluate=slow).run(
        source(),
        lambda inputs: (time.sleep(0.05), model(inputs[0]))[1],
        Schedule(windows=32, evaluations=(0.5, 1.0)),
        on_evaluation=lambda _: slow() is not None,
        on_best=slow,
    )
    assert 0.2 <= result.step_seconds <= result.seconds - 6 * 0.5


def looking_after_every_step(monkeypatch):
    monkeypatch.setattr("autoseg.training.trainer.AVERAGE_EVERY_S", 0.0)
    monkeypatch.setattr("autoseg.training.trainer.AVERAGE_SHARE", 1e9)


def test_the_averaged_weights_are_shown_between_evaluations_and_training_stays_as_it_is(
    monkeypatch,
):
    undisturbed, _ = run(scores(0.5), shares=(0.5, 1.0))
    looking_after_every_step(monkeypatch)
    shown: list[dict[str, torch.Tensor]] = []

    def on_average(weights: dict[str, torch.Tensor]) -> None:
        shown.append({name: tensor.clone() for name, tensor in weights.items()})

    model, result = run(scores(0.5), shares=(0.5, 1.0), on_average=on_average)
    n_steps = 160 // 8
    assert len(result.evaluations) == 2 and len(shown) == n_steps - 2
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    # The last one shown is a step before the end: near what the network ends with.
    end = model[0].weight.detach()
    steps = [float((weights["0.weight"] - end).norm()) for weights in shown]
    assert steps[-1] < 0.2 * steps[0]


def test_the_time_of_steps_is_without_that_of_looking_and_looking_stays_a_small_share(monkeypatch):
    looking_after_every_step(monkeypatch)
    monkeypatch.setattr("autoseg.training.trainer.AVERAGE_SHARE", 0.5)
    model, looks = network(), []

    def on_average(_: dict[str, torch.Tensor]) -> None:
        looks.append(time.sleep(0.2))

    result = trainer(model, evaluate=scores(0.5)).run(
        source(),
        lambda inputs: (time.sleep(0.05), model(inputs[0]))[1],
        Schedule(windows=8 * 16),
        on_average=on_average,
    )
    assert 2 <= len(looks) <= 5  # One at first, then one after 0.4 seconds of steps.
    assert 16 * 0.05 <= result.step_seconds <= result.seconds - 0.2 * len(looks)


def test_steps_after_the_last_evaluation_count_when_training_is_stopped():
    steps = iter([True] * 20 + [False])
    model = network()
    result = trainer(model).run(
        source(),
        lambda inputs: (time.sleep(0.02), model(inputs[0]))[1],
        Schedule(windows=320, evaluations=(0.25, 1.0)),
        keep_going=lambda: next(steps),
    )
    assert result.reason == "stopped" and result.windows == 160
    assert result.step_seconds >= 20 * 0.02


FP16 = Precision(torch.device("cpu"), fp16=True)


def test_training_in_float16_survives_gradients_that_overflow_and_learns():
    """The first scale is far too large on purpose: those steps are skipped, whole."""
    model = network()
    start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    trained = trainer(model, lr=1e-2, precision=FP16)
    trained._scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)

    def forward(inputs: list[torch.Tensor]) -> torch.Tensor:
        return model(inputs[0])

    trained.run(source(side=32), forward, Schedule(windows=40, warmup_share=0))
    assert torch.equal(nn.utils.parameters_to_vector(model.parameters()), start)
    assert trained._scaler.get_scale() == 2.0**35
    result = trained.run(source(side=32), forward, Schedule(windows=800, evaluations=(0.1, 1.0)))
    first, last = (e.train_loss for e in result.evaluations)
    assert last < 0.6 * first
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in model.parameters())


def test_training_in_float16_is_nearly_that_in_float32():
    moved = []
    for precision in (CPU, FP16):
        model = network()
        start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        trained = trainer(model, precision=precision)
        trained.run(source(), lambda inputs, m=model: m(inputs[0]), Schedule(windows=80))
        moved.append(nn.utils.parameters_to_vector(model.parameters()).detach() - start)
    assert torch.nn.functional.cosine_similarity(*moved, dim=0) > 0.99


def test_float16_that_overflows_forwards_ends_the_trial():
    model = network()
    with torch.no_grad():
        model[2].weight.mul_(1e6)
    with pytest.raises(TrainingError, match="not a number"):
        trainer(model, precision=FP16).run(
            source(), lambda inputs: model(inputs[0]), Schedule(windows=16)
        )


@pytest.mark.parametrize("limit", [4, 1])
def test_memory_that_runs_out_in_float16_costs_passes_alone(limit):
    model = network()
    forward, _ = out_of_memory_above(model, limit)
    trained = trainer(model, precision=FP16)
    result = trained.run(source(), forward, Schedule(windows=80, warmup_share=0))
    assert trained.passes == 8 // limit and math.isfinite(result.evaluations[-1].train_loss)
    state = trained._optimizer.state[next(model.parameters())]
    assert state["exp_avg"].isfinite().all() and state["exp_avg"].abs().max() > 0
