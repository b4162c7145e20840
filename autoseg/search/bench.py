"""The warm workbench of one search process: data, precisions and decoder starts."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from autoseg.checkpoint import Weights, load_weights, save_weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe
from autoseg.search.budget import Plan
from autoseg.training.hardware import Precision
from autoseg.training.schedule import Schedule
from autoseg.training.trainer import OnBest, OnEvaluation
from autoseg.training.trial import TrainingData, TrainResult, Trial

_RAM_SHARE = 0.25
"""Share of the free memory that cached features may take."""


def free_memory_bytes(device: torch.device) -> int:
    """Memory nobody uses: the GPU's, or the machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # No such name on this system.
        return 4 * 2**30


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
    """Whether training may go on: no stop was asked and time is left."""
    _starts: dict[str, TrainResult] = field(default_factory=dict)

    def precision(self, encoder_name: str) -> Precision:
        """The precision that was faster for an encoder when the run was calibrated."""
        return Precision(self.device, self.plan.costs[encoder_name].bf16)

    def open_trial(self, recipe: Recipe, seed: int, weights: Weights | None = None) -> Trial:
        """Build a recipe's network, from `weights` or pretrained."""
        resident = int(0.4 * free_memory_bytes(self.device)) if self.device.type != "cpu" else 0
        return Trial(
            recipe, self.data, self.precision(recipe.encoder_name), seed, weights, resident
        )

    def decoder_schedule(self, share: float = 1.0) -> Schedule:
        """The decoder phase every trial of a pair starts from, or a share of it."""
        windows = max(1, round(self.plan.decoder_windows * share))
        return Schedule(windows=windows, cooldown_share=0.3, evaluations=(1.0,))

    def train_decoder(
        self,
        trial: Trial,
        schedule: Schedule,
        on_evaluation: OnEvaluation = lambda _: True,
        on_best: OnBest = lambda _: None,
    ) -> TrainResult:
        """Train a trial's decoder on cached features, within the plan's memory and time."""
        max_bytes = int(_RAM_SHARE * free_memory_bytes(self.device))
        return trial.train_decoder(
            schedule,
            self.plan.decoder_features,
            max_bytes,
            on_evaluation=on_evaluation,
            on_best=on_best,
            keep_going=self.keep_going,
        )

    def decoder_start(self, recipe: Recipe) -> TrainResult | None:
        """The decoder that fine-tuning of this encoder and decoder starts from.

        None where the encoder cannot be cut off from the decoder, or no time was left.
        """
        key = f"{recipe.encoder_name}+{recipe.decoder_name}"
        if key not in self._starts:
            frozen = replace(
                recipe, frozen_depth=MAX_FROZEN_DEPTH, decoder_lr=1e-3, layer_decay=1.0
            )
            trial = self.open_trial(frozen, self.seed)
            try:
                if not trial.can_cache_features:
                    return None
                file = self.folder / f"{key}.safetensors"
                if file.is_file():
                    self._starts[key] = self._rescore(trial, load_weights(file))
                else:
                    self._starts[key] = self.train_decoder(trial, self.decoder_schedule())
                    # One cut short by a stop must not be what a resumed search starts from.
                    if self._starts[key].reason == "complete":
                        save_weights(file, self._starts[key].weights)
            finally:
                trial.close()
        return self._starts[key]

    def _rescore(self, trial: Trial, weights: Weights) -> TrainResult:
        """A decoder start of an earlier attempt, scored again: cheaper than storing its curve."""
        trial.model.load_state_dict(weights)
        return trial.scored()
