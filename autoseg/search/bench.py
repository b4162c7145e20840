"""The warm workbench of one search process: data, precisions and decoder starts."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from autoseg.checkpoint import Weights, load_weights, save_weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe
from autoseg.data.batches import Pixels
from autoseg.search.budget import Plan
from autoseg.search.planning import DECODER_EPOCHS
from autoseg.search.resources import free_memory_bytes
from autoseg.training.hardware import Precision, free_memory, is_out_of_memory
from autoseg.training.schedule import Schedule
from autoseg.training.trainer import OnBest, OnEvaluation
from autoseg.training.trial import TrainingData, TrainResult, Trial

_RAM_SHARE = 0.25
"""Share of the free memory that cached features may take."""

MOST_VIEWS = 10
"""Windows of one training image whose features are cached at most."""

_GPU_SHARE = 0.4
"""Share of a GPU's free memory that images may be kept in for the whole search."""


@dataclass
class Bench:
    """What trials of one search share.

    A decoder trained on the frozen encoder is made once per encoder and decoder; every trial of
    the pair starts from it.
    """

    data: TrainingData
    """Cached data and splits."""
    plan: Plan
    """Lengths and costs."""
    device: torch.device
    """Where trials run."""
    seed: int
    """Seed of the search."""
    folder: Path
    """Where decoder starts are kept for a resumed run."""
    keep_going: Callable[[], bool]
    """Whether training may go on: no stop was asked, and time is left where training has none of
    its own."""
    _starts: dict[str, TrainResult] = field(default_factory=dict)
    _pixels: Pixels | None = None
    """Shared by all trials, and by copies of this bench with other splits."""

    def __post_init__(self) -> None:
        if self._pixels is None:
            on_gpu = self.device.type != "cpu"
            max_bytes = int(_GPU_SHARE * free_memory_bytes(self.device)) if on_gpu else 0
            window = self.plan.space.geometry.window
            self._pixels = Pixels(self.data.cache, self.device, max_bytes, window)

    def with_splits(self, train: tuple[int, ...], val: tuple[int, ...], name: str) -> "Bench":
        """The same for other images, with decoder starts of its own, which are kept under a name.

        Args:
            train: Images to learn from.
            val: Images to score.
            name: Of the folder for its decoder starts.
        """
        data = replace(self.data, train=train, val=val)
        return replace(self, data=data, folder=self.folder / name, _starts={})

    def precision(self, encoder_name: str) -> Precision:
        """The precision that was faster for an encoder when the run was calibrated."""
        return Precision(self.device, self.plan.costs[encoder_name].bf16)

    def open_trial(self, recipe: Recipe, seed: int, weights: Weights | None = None) -> Trial:
        """Build a recipe's network, from `weights` or pretrained."""
        precision = self.precision(recipe.encoder_name)
        return Trial(recipe, self.data, precision, seed, weights, self._images())

    def _images(self) -> Pixels:
        """What trials cut windows from: on a GPU once they are there, if there is room."""
        assert self._pixels is not None
        try:
            self._pixels.keep(self.data.train)
            self._pixels.keep(self.data.val)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.give_back()
        return self._pixels

    def give_back(self) -> None:
        """Keep no images on the device from now on: what comes needs the memory more."""
        assert self._pixels is not None
        self._pixels.give_back()
        free_memory(self.device)

    def decoder_schedule(self, encoder_name: str) -> Schedule:
        """The decoder phase every trial of an encoder starts from."""
        windows, _ = self.plan.decoder_length(encoder_name)
        return Schedule(windows=windows, cooldown_share=0.3, evaluations=(1.0,))

    def train_decoder(
        self,
        trial: Trial,
        schedule: Schedule,
        on_evaluation: OnEvaluation = lambda _: True,
        on_best: OnBest = lambda _: None,
        on_average: OnBest = lambda _: None,
    ) -> TrainResult:
        """Train a trial's decoder on cached features, within the plan's memory and time.

        Where memory holds fewer windows than planned, the result says so: of few windows a decoder
        learns too much by heart.
        """
        max_bytes = int(_RAM_SHARE * free_memory_bytes(self.device))
        name = trial.recipe.encoder_name
        result = trial.train_decoder(
            schedule,
            self._n_features(name, schedule),
            max_bytes,
            on_evaluation=on_evaluation,
            on_best=on_best,
            on_average=on_average,
            keep_going=self.keep_going,
        )
        _, planned = self.plan.decoder_length(name)
        if result.short_features is None or result.short_features >= planned:
            return result
        note = (
            f"Memory was short: the decoder learnt from {result.short_features:,} windows instead "
            f"of {planned:,}."
        )
        return replace(result, note=note)

    def _n_features(self, encoder_name: str, schedule: Schedule) -> int:
        """Windows whose features a phase caches: as planned, and more if it has a time to fill.

        Then each is seen as often as in the plan, as far as there are `MOST_VIEWS`. Measured with
        EfficientNet-Lite0 on 40 images, 4,000 windows: ten of each image instead of two gave 0.7
        points of macro-imagewise IoU more on dsb2018 (four seeds, 0.4 to 0.9) and on coffee_leaf
        (three seeds, -0.3 to 2.1); twenty gave no more than ten.
        """
        _, planned = self.plan.decoder_length(encoder_name)
        if schedule.seconds is None:
            return planned
        cost = self.plan.costs[encoder_name]
        in_time = int(schedule.seconds / (cost.head_s + DECODER_EPOCHS * cost.decoder_s))
        return max(planned, min(in_time, MOST_VIEWS * len(self.data.train)))

    def decoder_start(self, recipe: Recipe) -> TrainResult | None:
        """The decoder that fine-tuning of this encoder and decoder starts from.

        None where the encoder cannot be cut off from the decoder, or no time was left.
        """
        key = f"{recipe.encoder_name}+{recipe.decoder_name}"
        file = self.folder / f"{key}.safetensors"
        if key not in self._starts:
            frozen = replace(
                recipe, frozen_depth=MAX_FROZEN_DEPTH, decoder_lr=1e-3, layer_decay=1.0
            )
            trial = self.open_trial(frozen, self.seed)
            try:
                if not trial.can_cache_features:
                    return None
                if file.is_file():
                    start = self._rescore(trial, load_weights(file))
                else:
                    start = self.train_decoder(trial, self.decoder_schedule(recipe.encoder_name))
                    # One cut short by a stop must not be what a resumed search starts from.
                    if start.reason == "complete":
                        save_weights(file, start.weights)
            finally:
                trial.close()
            # Weights that are on disk are not kept: memory must not grow with the pairs.
            self._starts[key] = replace(start, weights={}) if file.is_file() else start
        start = self._starts[key]
        return start if start.weights else replace(start, weights=load_weights(file))

    def _rescore(self, trial: Trial, weights: Weights) -> TrainResult:
        """A decoder start of an earlier attempt, scored again: cheaper than storing its curve."""
        trial.model.load_state_dict(weights)
        # Only one that was trained to its end is on disk; no windows would say untrained.
        windows, _ = self.plan.decoder_length(trial.recipe.encoder_name)
        return replace(trial.scored(), windows=windows)
