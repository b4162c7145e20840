"""The training loop of one network; it knows nothing of searches."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from autoseg.errors import TrainingError
from autoseg.metrics import clearly_better, iou, macro_imagewise
from autoseg.training.average import WeightAverage
from autoseg.training.hardware import (
    Precision,
    autotuned,
    free_memory,
    is_out_of_memory,
    wait_for,
)
from autoseg.training.loss import segmentation_loss
from autoseg.training.schedule import Schedule
from autoseg.training.sources import BatchSource

Forward = Callable[[list[torch.Tensor]], torch.Tensor]
OnEvaluation = Callable[["Evaluation"], bool]
OnBest = Callable[[dict[str, torch.Tensor]], None]
KeepGoing = Callable[[], bool]
EndReason = Literal["complete", "pruned", "stopped"]

MAX_GRADIENT_NORM = 1.0

AVERAGE_EVERY_S = 30.0
"""Time between two looks at the averaged weights while no evaluation is due, in seconds."""

AVERAGE_SHARE = 0.05
"""Share of the training that such looks may take."""


@dataclass(frozen=True)
class Evaluation:
    """The averaged weights on the validation split."""

    progress: float
    """Share of the schedule, in [0, 1]."""
    windows: int
    """Windows seen in this phase."""
    seconds: float
    """Wall-clock time of this phase so far, evaluations included, in seconds."""
    train_loss: float
    """Mean since the last evaluation."""
    confusions: np.ndarray
    """(n, K, K) int64, one per validation image."""

    @property
    def score(self) -> float:
        """macro-imagewise IoU, in [0, 1]: the objective of the search; 0 if nothing is scored."""
        score = float(macro_imagewise(iou, self.confusions))
        return score if math.isfinite(score) else 0.0


@dataclass(frozen=True)
class PhaseResult:
    """How one phase went; the chosen averaged weights are in the network."""

    reason: EndReason
    evaluations: tuple[Evaluation, ...]
    best: Evaluation | None
    """The evaluation whose weights the network now has; None if there was none."""
    windows: int
    seconds: float
    step_seconds: float
    """Time in steps alone, without evaluations, until the device had done them, in seconds."""


class Trainer:
    """Steps of AdamW on a network, with averaged weights, in as many passes as memory takes.

    Args:
        model: Network on its device, in channels-last.
        parameter_groups: AdamW groups, each with its peak `lr`.
        set_train_mode: Puts the network into training mode, frozen stages aside.
        precision: Device and autocast.
        batch_size: Windows per step.
        evaluate: Confusion matrices of the validation images under the present weights.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        parameter_groups: list[dict[str, object]],
        set_train_mode: Callable[[], None],
        precision: Precision,
        batch_size: int,
        evaluate: Callable[[], np.ndarray],
    ) -> None:
        self.model = model
        self.precision = precision
        self.batch_size = batch_size
        self.passes = 1
        self.shrink = 1.0
        self._set_train_mode = set_train_mode
        self._evaluate = evaluate
        self._optimizer = torch.optim.AdamW(
            parameter_groups, fused=precision.device.type in ("cuda", "cpu")
        )
        self._peak_rates = [group["lr"] for group in self._optimizer.param_groups]
        # Float16 gradients vanish unless the loss is scaled; for other types it does nothing. With
        # a fused optimizer it waits for no result on the device.
        self._scaler = torch.amp.GradScaler(
            precision.device.type, enabled=precision.training_dtype == torch.float16
        )
        self._trained = [p for group in self._optimizer.param_groups for p in group["params"]]
        self.average = WeightAverage(model)

    @autotuned(True)  # Every batch has the same shape.
    def run(
        self,
        source: BatchSource,
        forward: Forward,
        schedule: Schedule,
        *,
        on_evaluation: OnEvaluation = lambda _: True,
        on_best: OnBest = lambda _: None,
        on_average: OnBest = lambda _: None,
        keep_going: KeepGoing = lambda: True,
    ) -> PhaseResult:
        """Train over one schedule; afterwards the network has its last averaged weights, or
        earlier ones that were clearly better on the validation split.

        Args:
            source: Batches.
            forward: Inputs of a batch -> logits.
            schedule: Length, learning rate and evaluations.
            on_evaluation: Told of every evaluation; False ends the phase as "pruned".
            on_best: Given the averaged weights whenever they are the ones to keep so far.
            on_average: Given the averaged weights now and then between evaluations, which nobody
                has scored; they are the network's own, and change after the call.
            keep_going: Asked before every step; False ends the phase as "stopped", with a last
                evaluation unless there is one already.

        Raises:
            TrainingError: The loss is not a number, or not even one small window fits.
        """
        started = steps_began = time.monotonic()
        windows, step_seconds, look_after_s = 0, 0.0, AVERAGE_EVERY_S
        losses: list[torch.Tensor] = []
        evaluations: list[Evaluation] = []
        best_weights: dict[str, torch.Tensor] = {}
        best: Evaluation | None = None
        pending = list(schedule.evaluations)
        reason: EndReason = "complete"
        self._set_train_mode()
        while pending:
            progress = schedule.progress(windows, time.monotonic() - started)
            if progress < 1.0:
                if not keep_going():
                    reason = "stopped"
                    if evaluations:
                        break
                    pending = [progress]
                else:
                    self._set_rates(schedule.factor(progress))
                    losses.append(self._step(source, forward))
                    windows += self.batch_size
                    progress = schedule.progress(windows, time.monotonic() - started)
            if progress < pending[0]:
                if time.monotonic() - steps_began >= look_after_s:
                    step_seconds += self._seconds_since(steps_began)
                    look_after_s = self._show(on_average)
                    steps_began = time.monotonic()
                continue
            pending = [share for share in pending if share > progress]
            step_seconds += self._seconds_since(steps_began)
            evaluation = self._score(progress, windows, started, losses)
            losses.clear()
            evaluations.append(evaluation)
            # Later weights are better ones, the more so after a cooldown, and a few validation
            # images are no evidence against that.
            if best is None or not clearly_better(best.confusions, evaluation.confusions):
                best, best_weights = evaluation, self._averaged_weights()
                on_best(best_weights)
            goes_on = on_evaluation(evaluation)
            steps_began = time.monotonic()
            if not goes_on:
                reason = "pruned"
                break
        step_seconds += self._seconds_since(steps_began)
        if best_weights:
            self.model.load_state_dict(best_weights)
        return PhaseResult(
            reason, tuple(evaluations), best, windows, time.monotonic() - started, step_seconds
        )

    @autotuned(True)
    def time_steps(self, source: BatchSource, forward: Forward, n_steps: int) -> list[float]:
        """Seconds of each of `n_steps` + 1 steps, the first of which warms up."""
        self._set_train_mode()
        self._set_rates(0.01)
        times = []
        for _ in range(n_steps + 1):
            started = time.monotonic()
            float(self._step(source, forward))  # Waits for the device.
            times.append(time.monotonic() - started)
        return times

    def _seconds_since(self, began: float) -> float:
        """Time of steps, those included that the device has been given and is still at."""
        wait_for(self.precision.device)
        return time.monotonic() - began

    def _set_rates(self, factor: float) -> None:
        for group, peak in zip(self._optimizer.param_groups, self._peak_rates, strict=True):
            group["lr"] = peak * factor

    def _score(
        self, progress: float, windows: int, started: float, losses: list[torch.Tensor]
    ) -> Evaluation:
        """Score the averaged weights; only here, and just before, the device is waited for."""
        loss = float(torch.stack(losses).mean()) if losses else float("nan")
        if losses and not math.isfinite(loss):
            raise TrainingError("The loss became not a number: the learning rate is too high.")
        self.model.eval()
        with self.average.in_place(), autotuned(False):  # Images may have many shapes.
            confusions = self._evaluate()
        self._set_train_mode()
        return Evaluation(progress, windows, time.monotonic() - started, loss, confusions)

    def _show(self, on_average: OnBest) -> float:
        """Give the averaged weights away, without a copy; seconds after which it may be again."""
        began = time.monotonic()
        with self.average.in_place():
            on_average(dict(self.model.state_dict()))
        return max(AVERAGE_EVERY_S, (time.monotonic() - began) / AVERAGE_SHARE)

    def _averaged_weights(self) -> dict[str, torch.Tensor]:
        with self.average.in_place():
            return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def _step(self, source: BatchSource, forward: Forward) -> torch.Tensor:
        """One optimizer step on one batch; memory that runs out costs passes, then size."""
        inputs, masks = source.draw(self.batch_size)
        while True:
            try:
                loss = self._accumulate(inputs, masks, forward)
                break
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler: its traceback would keep the tensors of the failed pass.
            self._recover(source, inputs)
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._trained, MAX_GRADIENT_NORM)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self.average.update()
        return loss

    def _accumulate(
        self, inputs: list[torch.Tensor], masks: torch.Tensor, forward: Forward
    ) -> torch.Tensor:
        """Gradients of the batch's loss in `passes` parts; returns the detached loss."""
        total = torch.zeros((), device=masks.device)
        for part in torch.arange(len(masks)).tensor_split(self.passes):
            span = slice(int(part[0]), int(part[-1]) + 1)
            parts, targets = self._shrunk([tensor[span] for tensor in inputs], masks[span])
            with self.precision.training_autocast():
                logits = forward(parts)
            loss = segmentation_loss(logits, targets) * (len(part) / len(masks))
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _shrunk(
        self, inputs: list[torch.Tensor], masks: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """A part of the windows, anywhere in them, where whole ones no longer fit into memory."""
        if self.shrink == 1.0:
            return inputs, masks
        height, width = (max(64, int(s * self.shrink) // 32 * 32) for s in masks.shape[-2:])
        room = (masks.shape[-2] - height, masks.shape[-1] - width)
        top, left = (int(torch.randint(0, max(0, free) + 1, ())) for free in room)
        rows, columns = slice(top, top + height), slice(left, left + width)
        return [inputs[0][..., rows, columns]], masks[..., rows, columns]

    def _recover(self, source: BatchSource, inputs: list[torch.Tensor]) -> None:
        """Make room for the next attempt, or make it smaller."""
        self._optimizer.zero_grad(set_to_none=True)
        given_back = source.give_back()
        free_memory(self.precision.device)
        if given_back:
            return
        if self.passes < self.batch_size:
            self.passes = min(2 * self.passes, self.batch_size)
        elif len(inputs) == 1 and self.shrink > 0.3:
            self.shrink *= 0.75
        else:
            raise TrainingError(
                "Memory ran out even with one small window per pass. Choose a smaller encoder "
                "or `max_side`, or close other programs that use the device."
            )
