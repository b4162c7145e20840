"""The search space: which recipes there are, which come first, and how a study suggests one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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

AUGMENTATIONS: tuple[AugmentationName, ...] = ("light", "medium", "strong")
DROP_PATHS = (0.0, 0.1, 0.2)
LAYER_DECAYS = (0.8, 1.0)

Params = dict[str, Any]
Origin = Literal["default", "earlier run", "portfolio"]


@dataclass(frozen=True)
class EarlierWinner:
    """A recipe that won an earlier run, as a point of this search."""

    run: str
    """Name of that run."""
    params: Params
    """The point."""


@dataclass(frozen=True)
class FirstPoint:
    """One of the points that a study tries before it suggests any."""

    params: Params
    origin: Origin
    """Where it came from."""
    run: str | None = None
    """Name of the earlier run that it won."""


@dataclass(frozen=True)
class SearchSpace:
    """The dimensions of one search; written into the run's plan."""

    encoders: tuple[str, ...]
    """Encoders that fit the budget: the reference first, whatever it costs, then the others by
    rising cost; those that are only tried frozen come last."""
    geometry: Geometry
    """Working size."""
    decoder_names: tuple[DecoderName, ...]
    """Decoders, the default first."""
    vit_encoders: tuple[str, ...] = ()
    """Those of `encoders` that take the "dpt" decoder only."""
    own_decoders: dict[str, DecoderName] = field(default_factory=dict)
    """The only decoder of others of `encoders`: their default, where it is not the first of
    `decoder_names`."""
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
    earlier: tuple[EarlierWinner, ...] = ()
    """What won earlier runs on similar data, the most similar first; see `warm_start`."""
    tries_each: bool = False
    """Whether each encoder is tried before anything else: the user named them."""

    @property
    def default(self) -> Recipe:
        """The recipe to beat: the reference encoder, fully tuned, with rates from practice."""
        return self.recipe(self.portfolio()[0])

    def first_decoder(self, encoder: str) -> DecoderName:
        """The decoder of an encoder while decoders are not searched."""
        if encoder in self.vit_encoders:
            return "dpt"
        return self.own_decoders.get(encoder, self.decoder_names[0])

    def searches_decoders_of(self, encoder: str) -> bool:
        """Whether an encoder may have any of `decoder_names` once decoders are searched."""
        return encoder not in self.vit_encoders and encoder not in self.own_decoders

    def first_points(self) -> list[FirstPoint]:
        """What is tried first: the default, each encoder that the user named, what won earlier
        runs, the rest of the portfolio.

        The default is immune to pruning (successive halving never prunes the first trial it sees).
        """
        default, *others = self.portfolio()
        named = self._defaults_of_others() if self.tries_each else []
        earlier = [winner for winner in self.earlier if winner.params not in named]
        known = [*named, *(winner.params for winner in earlier)]
        return [
            FirstPoint(default, "default"),
            *(FirstPoint(params, "portfolio") for params in named),
            *(FirstPoint(winner.params, "earlier run", winner.run) for winner in earlier),
            *(FirstPoint(params, "portfolio") for params in others if params not in known),
        ]

    def portfolio(self) -> list[Params]:
        """Recipes for any data, those that scored well before others; the first is the default.

        The order follows 12 recipes with FPNs, trained on four subsets of coffee_leaf and dsb2018,
        2,600 windows each, one seed (`tests/benchmarks/replay.py`): macro-imagewise IoU on test
        images is 0.2 above the default's with a high rate for all of the network, 0.0 and 0.1 above
        with larger encoders at other rates, all within their errors; 0.6 and 0.9 below with two
        stages frozen at the default's rates, 0.6 to 1.0 below with all of them. So what freezes all
        comes late, for data of which that is not true.
        """
        tuned = [name for name in self.encoders if name not in self.frozen_encoders]
        reference, biggest = tuned[0], tuned[-1]
        # The cheapest of the others: a safe step from the reference.
        bigger = tuned[min(1, len(tuned) - 1)]
        points: list[tuple[str, int, float, float]] = [
            (reference, 0, 1e-3, 0.3),
            (reference, 0, 2e-3, 1.0),
            *((name, MAX_FROZEN_DEPTH, 1e-3, 0.3) for name in self.frozen_encoders),
            (bigger, 0, 1e-3, 0.3),
            (biggest, 2, 2e-3, 0.1),
            (reference, MAX_FROZEN_DEPTH, 1e-3, 0.3),
            (biggest, 0, 1e-3, 0.3),
            (bigger, 0, 2e-3, 1.0),
            (reference, 2, 2e-3, 0.1),
        ]
        unique = list(dict.fromkeys(points))
        return [self._params(*point) for point in unique]

    def _defaults_of_others(self) -> list[Params]:
        """The default recipe with each other encoder."""
        frozen = self.frozen_encoders
        return [
            self._params(name, MAX_FROZEN_DEPTH if name in frozen else 0, 1e-3, 0.3)
            for name in self.encoders[1:]
        ]

    def _params(self, encoder: str, depth: int, lr: float, ratio: float) -> Params:
        params: Params = {"encoder": encoder, "frozen_depth": depth, "decoder_lr": lr}
        if depth < MAX_FROZEN_DEPTH:
            params["encoder_lr_ratio"] = ratio
        if self.expected_trials >= MANY_TRIALS:
            params["augmentation"] = self.augmentation
            if self.searches_decoders_of(encoder):
                params["decoder"] = self.decoder_names[0]
        if self.expected_trials >= VERY_MANY_TRIALS and encoder not in self.frozen_encoders:
            params["drop_path"] = 0.0
            if depth < MAX_FROZEN_DEPTH - 1:
                params["layer_decay"] = 1.0
        return params

    def nearest(self, recipe: Recipe, other: "SearchSpace") -> Params | None:
        """The point of this space that is nearest to a recipe from another.

        Rates are brought into their ranges. What the other space did not search keeps its default
        here: there it was chosen for another budget.

        Args:
            recipe: The recipe.
            other: The space that it was found in.

        Returns:
            The point; None: this space has no such encoder.
        """
        if recipe.encoder_name not in self.encoders:
            return None
        is_tuned = recipe.encoder_name not in self.frozen_encoders
        core = (
            recipe.encoder_name,
            recipe.frozen_depth if is_tuned else MAX_FROZEN_DEPTH,
            _clamped(recipe.decoder_lr, DECODER_LR),
            _clamped(recipe.encoder_lr_ratio, ENCODER_LR_RATIO),
        )
        params = self._params(*core)
        found = {
            "augmentation": (recipe.augmentation, AUGMENTATIONS),
            "decoder": (recipe.decoder_name, self.decoder_names),
            "drop_path": (recipe.drop_path, DROP_PATHS),
            "layer_decay": (recipe.layer_decay, LAYER_DECAYS),
        }
        for name in params.keys() & other._params(*core).keys() & found.keys():
            value, allowed = found[name]
            if value in allowed:
                params[name] = value
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
            params["augmentation"] = trial.suggest_categorical("augmentation", AUGMENTATIONS)
            if self.searches_decoders_of(encoder):
                params["decoder"] = trial.suggest_categorical("decoder", self.decoder_names)
        if self.expected_trials >= VERY_MANY_TRIALS and is_tuned:
            params["drop_path"] = trial.suggest_categorical("drop_path", DROP_PATHS)
            if depth < MAX_FROZEN_DEPTH - 1:
                params["layer_decay"] = trial.suggest_categorical("layer_decay", LAYER_DECAYS)
        return params

    def recipe(self, params: Mapping[str, Any]) -> Recipe:
        """The complete recipe of one point."""
        return Recipe(
            encoder_name=params["encoder"],
            geometry=self.geometry,
            frozen_depth=params["frozen_depth"],
            decoder_name=params.get("decoder") or self.first_decoder(params["encoder"]),
            decoder_lr=params["decoder_lr"],
            encoder_lr_ratio=params.get("encoder_lr_ratio", 0.0),
            layer_decay=params.get("layer_decay", 1.0),
            drop_path=params.get("drop_path", 0.0),
            augmentation=params.get("augmentation", self.augmentation),
            flip=self.flip,
            batch_size=self.batch_size,
            epochs=self.epochs,
        )


def _clamped(value: float, limits: tuple[float, float]) -> float:
    low, high = limits
    return min(max(value, low), high)
