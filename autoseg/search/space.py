"""The search space: which recipes there are, which come first, and how a study suggests one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from autoseg.config import (
    MAX_FROZEN_DEPTH,
    AugmentationName,
    DecoderName,
    FlipName,
    Geometry,
    Recipe,
)

DECODER_LR = (3e-4, 3e-3)
"""Range of the decoder's learning rate, searched on a log scale."""

ENCODER_LR_RATIO = (0.03, 1.0)
"""Range of the encoder's rate as a share of the decoder's, on a log scale."""

MANY_TRIALS = 20
"""From this many expected trials on, decoder and augmentation are searched too."""

VERY_MANY_TRIALS = 30
"""From this many expected trials on, layer decay and stochastic depth are searched too."""

Params = dict[str, Any]


@dataclass(frozen=True)
class SearchSpace:
    """The dimensions of one search; written into the run's plan."""

    encoders: tuple[str, ...]
    """Encoders that fit the budget, by rising cost; the first is the reference, and those that are
    only tried frozen come last."""
    geometry: Geometry
    """Working size."""
    decoder_names: tuple[DecoderName, ...]
    """Decoders, the default first."""
    vit_encoders: tuple[str, ...] = ()
    """Those of `encoders` that take the "dpt" decoder only."""
    frozen_encoders: tuple[str, ...] = ()
    """Those of `encoders` that are only tried wholly frozen; never the first."""
    flip: FlipName = "horizontal"
    """Flips that keep every class what it is."""
    augmentation: AugmentationName = "medium"
    """Strength while it is not searched."""
    batch_size: int = 8
    """Windows per step."""
    epochs: float = 8.0
    """Length of a trial, in windows per training image."""
    expected_trials: int = 8
    """Trials the budget holds: decides how many dimensions are searched."""

    @property
    def default(self) -> Recipe:
        """The recipe to beat: the reference encoder, fully tuned, with rates from practice."""
        return self.recipe(self.portfolio()[0])

    def portfolio(self) -> list[Params]:
        """Recipes tried first, strong and cheap ones before others.

        The first is immune to pruning (successive halving never prunes the first trial it sees).
        """
        tuned = [name for name in self.encoders if name not in self.frozen_encoders]
        reference, biggest = tuned[0], tuned[-1]
        # The next one is the second cheapest: a safe step up.
        bigger = tuned[min(1, len(tuned) - 1)]
        points: list[tuple[str, int, float, float]] = [
            (reference, 0, 1e-3, 0.3),
            (reference, MAX_FROZEN_DEPTH, 1e-3, 0.3),
            *((name, MAX_FROZEN_DEPTH, 1e-3, 0.3) for name in self.frozen_encoders),
            (reference, 2, 1e-3, 0.3),
            (bigger, 0, 1e-3, 0.1),
            (bigger, 2, 1e-3, 0.3),
            (biggest, MAX_FROZEN_DEPTH, 1e-3, 0.3),
            (biggest, 0, 5e-4, 0.1),
            (reference, 0, 2e-3, 1.0),
        ]
        unique = list(dict.fromkeys(points))
        return [self._params(*point) for point in unique]

    def _params(self, encoder: str, depth: int, lr: float, ratio: float) -> Params:
        params: Params = {"encoder": encoder, "frozen_depth": depth, "decoder_lr": lr}
        if depth < MAX_FROZEN_DEPTH:
            params["encoder_lr_ratio"] = ratio
        if self.expected_trials >= MANY_TRIALS:
            params["augmentation"] = self.augmentation
            if encoder not in self.vit_encoders:
                params["decoder"] = self.decoder_names[0]
        if self.expected_trials >= VERY_MANY_TRIALS and encoder not in self.frozen_encoders:
            params["drop_path"] = 0.0
            if depth < MAX_FROZEN_DEPTH - 1:
                params["layer_decay"] = 1.0
        return params

    def suggest(self, trial: optuna.Trial) -> Params:
        """Ask the study for one point; conditional dimensions are asked only where they act.

        The depth of an encoder that is only tried frozen is in the point, but not asked: what the
        study learns of depths is of encoders that have the choice.
        """
        encoder = trial.suggest_categorical("encoder", self.encoders)
        is_tuned = encoder not in self.frozen_encoders
        depth = MAX_FROZEN_DEPTH
        if is_tuned:
            depth = trial.suggest_int("frozen_depth", 0, MAX_FROZEN_DEPTH)
        decoder_lr = trial.suggest_float("decoder_lr", *DECODER_LR, log=True)
        params: Params = {"encoder": encoder, "frozen_depth": depth, "decoder_lr": decoder_lr}
        if depth < MAX_FROZEN_DEPTH:
            params["encoder_lr_ratio"] = trial.suggest_float(
                "encoder_lr_ratio", *ENCODER_LR_RATIO, log=True
            )
        if self.expected_trials >= MANY_TRIALS:
            params["augmentation"] = trial.suggest_categorical(
                "augmentation", ("light", "medium", "strong")
            )
            if encoder not in self.vit_encoders:
                params["decoder"] = trial.suggest_categorical("decoder", self.decoder_names)
        if self.expected_trials >= VERY_MANY_TRIALS and is_tuned:
            params["drop_path"] = trial.suggest_categorical("drop_path", (0.0, 0.1, 0.2))
            if depth < MAX_FROZEN_DEPTH - 1:
                params["layer_decay"] = trial.suggest_categorical("layer_decay", (0.8, 1.0))
        return params

    def recipe(self, params: Mapping[str, Any]) -> Recipe:
        """The complete recipe of one point."""
        is_vit = params["encoder"] in self.vit_encoders
        return Recipe(
            encoder_name=params["encoder"],
            geometry=self.geometry,
            frozen_depth=params["frozen_depth"],
            decoder_name="dpt" if is_vit else params.get("decoder", self.decoder_names[0]),
            decoder_lr=params["decoder_lr"],
            encoder_lr_ratio=params.get("encoder_lr_ratio", 0.0),
            layer_decay=params.get("layer_decay", 1.0),
            drop_path=params.get("drop_path", 0.0),
            augmentation=params.get("augmentation", self.augmentation),
            flip=self.flip,
            batch_size=self.batch_size,
            epochs=self.epochs,
        )
