"""One recipe on one data set: the decoder alone on cached features, then the whole network."""

import functools
import gc
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from autoseg.checkpoint import Weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe
from autoseg.data.augmentation import Augmenter
from autoseg.data.batches import Pixels, Windows
from autoseg.data.cache import Cache
from autoseg.depthwise import ease_grouped_convolutions
from autoseg.encoders import find_encoder
from autoseg.model import (
    build_model,
    freeze_stages,
    parameter_groups,
    split_forward,
    splittable_depths,
    train_mode,
)
from autoseg.preprocessing import Preprocessing
from autoseg.training.compilation import Compilation, Note
from autoseg.training.compile_gains import case_of
from autoseg.training.hardware import (
    Precision,
    free_memory,
    peak_memory_bytes,
    reset_peak_memory,
    wait_for,
)
from autoseg.training.schedule import Schedule
from autoseg.training.sources import FeatureSource, WindowSource
from autoseg.training.trainer import (
    EndReason,
    Evaluation,
    KeepGoing,
    OnBest,
    OnEvaluation,
    PhaseResult,
    Trainer,
)
from autoseg.training.validation import validation_confusions
from autoseg.unfilled import unfilled

FILLING_SHARE = 0.5
"""Share of a schedule's time that computing features may take."""


@dataclass(frozen=True)
class TrainingData:
    """What every trial of a search trains and is scored on."""

    cache: Cache
    """Images and masks at working size."""
    train: tuple[int, ...]
    """Images to train on."""
    val: tuple[int, ...]
    """Images to score."""
    num_classes: int
    """K, background included."""


@dataclass(frozen=True)
class TrainResult:
    """A trained network and how it got there."""

    recipe: Recipe
    reason: EndReason
    """Why it ended."""
    evaluations: tuple[Evaluation, ...]
    """The curve, in order."""
    best: Evaluation | None
    """The evaluation that `weights` had."""
    weights: Weights
    """Averaged weights of the best evaluation, float32, on the CPU."""
    windows: int
    """Windows trained on; 0: untrained, or only scored."""
    seconds: float
    """Wall-clock time, evaluations included, in seconds."""
    images_per_s: float
    """Windows per second of training steps."""
    peak_memory_bytes: int | None
    """Of the GPU; None on a CPU."""
    parameters: int
    """Parameters of the network."""
    passes: int
    """Passes one step was cut into because memory was short."""
    short_features: int | None = None
    """Windows whose features memory held, if these are fewer than were wanted; None: it held all.
    """
    note: str = ""
    """What else is to be known of it, one sentence."""


def preprocessing_of(recipe: Recipe) -> Preprocessing:
    """How a recipe's network sees images."""
    encoder = find_encoder(recipe.encoder_name)
    return Preprocessing(recipe.geometry, encoder.mean, encoder.std)


def tile_of(recipe: Recipe) -> tuple[int, int] | None:
    """Largest input (height, width) of a recipe's network that scores or predicts: a plain ViT
    wants the size it was trained at. None: as large as is sensible.
    """
    is_vit = find_encoder(recipe.encoder_name).kind == "vit"
    return recipe.geometry.window if is_vit else None


def build_network(
    recipe: Recipe, num_classes: int, weights: Weights | None = None
) -> torch.nn.Module:
    """The network of a recipe, on the CPU.

    Args:
        recipe: What to build.
        num_classes: K, background included.
        weights: All of its weights, which are copied; None: pretrained encoder, new decoder.
    """
    build = functools.partial(
        build_model,
        recipe.encoder_name,
        recipe.decoder_name,
        num_classes,
        drop_path=recipe.drop_path,
    )
    if weights is None:
        return build(pretrained=True)
    # Random weights would be overwritten; drawing them took 40 to 98 % of the time.
    with unfilled():
        model = build(pretrained=False)
    model.load_state_dict(weights)
    return model


class Trial:
    """A network in training; phases may follow one another.

    Args:
        recipe: What to train.
        data: What to train on.
        precision: Device and autocast.
        seed: Seed of weights, windows and augmentation.
        weights: Weights to start from; None: pretrained encoder, new decoder.
        pixels: Where windows are cut from, if other trials share it.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        precision: Precision,
        seed: int,
        weights: Weights | None = None,
        pixels: Pixels | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.recipe = recipe
        self.data = data
        self.precision = precision
        self.preprocessing = preprocessing_of(recipe)
        self._seed = seed
        model = build_network(recipe, data.num_classes, weights)
        if precision.device.type == "cpu":
            ease_grouped_convolutions(model)
        self.model = model.to(precision.device).to(memory_format=torch.channels_last)
        self._pixels = pixels or Pixels(data.cache, precision.device)
        self._source = WindowSource(
            Windows(self._pixels, data.train, recipe.geometry.window, seed),
            Augmenter(recipe.augmentation, recipe.flip, seed),
            self.preprocessing,
        )
        reset_peak_memory(precision.device)

    @property
    def can_cache_features(self) -> bool:
        """Whether the decoder can be trained on features of the frozen encoder."""
        return MAX_FROZEN_DEPTH in splittable_depths(self.model)

    def train_decoder(
        self,
        schedule: Schedule,
        n_features: int,
        max_bytes: int,
        *,
        on_evaluation: OnEvaluation = lambda _: True,
        on_best: OnBest = lambda _: None,
        on_average: OnBest = lambda _: None,
        keep_going: KeepGoing = lambda: True,
    ) -> TrainResult:
        """Train decoder and head on features of the frozen encoder, computed once.

        Starting fine-tuning from such a decoder keeps its first random gradients from spoiling
        the pretrained features (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features",
        arXiv 2202.10054).

        Args:
            schedule: Length and evaluations; computing the features is part of its time.
            n_features: Windows whose features are cached, if there is time for them.
            max_bytes: Memory for them.
            on_evaluation: See `Trainer.run`.
            on_best: See `Trainer.run`.
            on_average: See `Trainer.run`.
            keep_going: See `Trainer.run`.
        """
        freeze_stages(self.model, MAX_FROZEN_DEPTH)
        self.model.eval()
        head, tail = split_forward(self.model, MAX_FROZEN_DEPTH)
        features = FeatureSource(self._source, head, self.precision, self._seed)
        began = time.monotonic()
        filling_s = math.inf if schedule.seconds is None else FILLING_SHARE * schedule.seconds
        features.fill(
            n_features,
            self.recipe.batch_size,
            max_bytes,
            lambda: keep_going() and time.monotonic() - began < filling_s,
        )
        if schedule.seconds is not None:
            left_s = schedule.seconds - (time.monotonic() - began)
            schedule = replace(schedule, seconds=max(0.0, left_s))
        window = self.recipe.geometry.window
        trainer = self._trainer(MAX_FROZEN_DEPTH)
        phase = trainer.run(
            features,
            lambda inputs: tail(inputs, window),
            schedule,
            on_evaluation=on_evaluation,
            on_best=on_best,
            on_average=on_average,
            keep_going=keep_going,
        )
        result = self._result(phase, trainer.passes)
        return replace(result, short_features=len(features) if features.is_short else None)

    def fine_tune(
        self,
        schedule: Schedule,
        *,
        on_evaluation: OnEvaluation = lambda _: True,
        on_best: OnBest = lambda _: None,
        on_average: OnBest = lambda _: None,
        keep_going: KeepGoing = lambda: True,
        compilation: Compilation | None = None,
    ) -> TrainResult:
        """Train all but the recipe's frozen stages.

        Args:
            schedule: Length and evaluations.
            on_evaluation: See `Trainer.run`.
            on_best: See `Trainer.run`.
            on_average: See `Trainer.run`.
            keep_going: See `Trainer.run`.
            compilation: Of this trial's network, for its steps; None: it is not compiled.
        """
        freeze_stages(self.model, self.recipe.frozen_depth)
        trainer = self._trainer(self.recipe.frozen_depth)
        network = self.model if compilation is None else compilation
        phase = trainer.run(
            self._source,
            lambda inputs: network(inputs[0]),
            schedule,
            on_evaluation=on_evaluation,
            on_best=on_best,
            on_average=on_average,
            keep_going=keep_going,
        )
        return self._result(phase, trainer.passes)

    def compilation(self, home: Path, seconds: float, note: Note) -> Compilation:
        """What compiles the network in a fine-tuning of so many seconds, on a GPU, if that pays.

        Args:
            home: `AUTOSEG_HOME`, which knows what it brought before.
            seconds: From now on.
            note: See `Compilation`.
        """
        case = case_of(self.recipe, self.data.num_classes, self.precision)
        batch_size, device = self.recipe.batch_size, self.precision.device
        return Compilation(self.model, batch_size, device, case, home, seconds, note)

    def evaluate(self, indices: Sequence[int]) -> np.ndarray:
        """Confusion matrices of cached images under the present weights, (n, K, K)."""
        self.model.eval()
        return validation_confusions(
            self.model,
            self.data.cache,
            indices,
            self.preprocessing,
            self.data.num_classes,
            self.precision,
            self._pixels,
            tile_of(self.recipe),
        )

    def time_step(self, n_steps: int) -> float:
        """Seconds of a fine-tuning step per window, best of `n_steps` after one that warms up.

        Changes the weights: for calibration.
        """
        freeze_stages(self.model, self.recipe.frozen_depth)
        trainer = self._trainer(self.recipe.frozen_depth)
        times = trainer.time_steps(self._source, lambda inputs: self.model(inputs[0]), n_steps)
        return min(times[1:]) / self.recipe.batch_size

    def time_decoder(self, n_steps: int) -> tuple[float, float]:
        """Seconds per window of the frozen encoder's forward pass and of a decoder step on
        cached features; a decoder that cannot be cut off costs a whole forward pass each.
        """
        batch = self.recipe.batch_size
        if not self.can_cache_features:
            return 0.0, self.time_step(n_steps)
        freeze_stages(self.model, MAX_FROZEN_DEPTH)
        self.model.eval()
        head, tail = split_forward(self.model, MAX_FROZEN_DEPTH)
        features = FeatureSource(self._source, head, self.precision, self._seed)
        features.fill(batch, batch, 2**62)  # The first pass warms up.
        wait_for(self.precision.device)
        started = time.monotonic()
        features.fill(2 * batch, batch, 2**62)
        wait_for(self.precision.device)
        head_s = (time.monotonic() - started) / batch
        trainer = self._trainer(MAX_FROZEN_DEPTH)
        window = self.recipe.geometry.window
        times = trainer.time_steps(features, lambda inputs: tail(inputs, window), n_steps)
        return head_s, min(times[1:]) / batch

    def scored(self) -> TrainResult:
        """The present weights and their score, without training."""
        evaluation = Evaluation(1.0, 0, 0.0, float("nan"), self.evaluate(self.data.val))
        phase = PhaseResult("complete", (evaluation,), evaluation, 0, 0.0, 0.0)
        return self._result(phase, passes=1)

    def close(self) -> None:
        """Give all memory back."""
        del self.model, self._source
        gc.collect()
        free_memory(self.precision.device)

    def _trainer(self, frozen_depth: int) -> Trainer:
        return Trainer(
            self.model,
            parameter_groups(self.model, self.recipe),
            lambda: train_mode(self.model, frozen_depth, self.recipe.train_norm),
            self.precision,
            self.recipe.batch_size,
            lambda: self.evaluate(self.data.val),
        )

    def _result(self, phase: PhaseResult, passes: int) -> TrainResult:
        weights = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in self.model.state_dict().items()
        }
        epochs = phase.windows / max(1, len(self.data.train))
        return TrainResult(
            recipe=replace(self.recipe, epochs=epochs) if epochs else self.recipe,
            reason=phase.reason,
            evaluations=phase.evaluations,
            best=phase.best,
            weights=weights,
            windows=phase.windows,
            seconds=phase.seconds,
            images_per_s=phase.windows / max(1e-9, phase.step_seconds),
            peak_memory_bytes=peak_memory_bytes(self.precision.device),
            parameters=sum(p.numel() for p in self.model.parameters()),
            passes=passes,
        )
