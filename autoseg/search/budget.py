"""The clock and the plan: how a wall-clock budget is spent."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from autoseg.errors import BudgetError
from autoseg.machine_load import Load, current_load
from autoseg.search.space import SearchSpace

RESERVE_SHARE = 0.02
"""Share of the budget kept back for what cannot be foreseen."""

RESERVE_S = 3.0
"""The same, in seconds: writing the bundle, reading clocks."""

EVALUATION_MARGIN = 1.25
"""The final evaluation by the time of judging its images: report and examples come on top."""

MIN_STEPS = 4
"""Optimizer steps below which a budget is refused."""

MIN_STEPS_ON = 20
"""The same for a model that is trained on: fewer would give back what it began with."""


@dataclass
class Clock:
    """Wall-clock time of one run, all attempts together."""

    budget_s: float
    """Whole budget, in seconds."""
    started_at: float = field(default_factory=time.monotonic)
    """`time.monotonic()` when this attempt's process began."""
    spent_before_s: float = 0.0
    """Time used by earlier attempts, in seconds."""
    reserve_s: float = 0.0
    """Time at the end that training may not use, in seconds."""
    stood_at: float | None = None
    """`time.monotonic()` since when the clock stands still; None: it runs."""
    load: Load = field(default_factory=current_load)
    """What the machine had to compute before this attempt had its turn."""

    def elapsed(self) -> float:
        """Time used so far, in seconds."""
        now = time.monotonic() if self.stood_at is None else self.stood_at
        return self.spent_before_s + now - self.started_at

    def left(self) -> float:
        """Time left for training, the reserve taken off; negative once it is used up."""
        return self.budget_s - self.reserve_s - self.elapsed()

    def begin_anew(self) -> None:
        """Count nothing of this attempt so far."""
        self.started_at = time.monotonic() if self.stood_at is None else self.stood_at

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let no time pass inside this block."""
        self.stood_at = time.monotonic()
        try:
            yield
        finally:
            self.started_at += time.monotonic() - self.stood_at
            self.stood_at = None
            # Made by whatever was waited for, which no longer runs.
            self.load = replace(self.load, waiting=0.0)


@dataclass(frozen=True)
class EncoderCost:
    """What one encoder costs on this machine, measured."""

    step_s: float
    """One training step, in seconds per window: with nothing frozen; of an encoder that is only
    tried frozen, with all of it frozen."""
    head_s: float
    """The frozen encoder's forward pass, in seconds per window."""
    decoder_s: float
    """One decoder step on cached features, in seconds per window."""
    validation_s: float
    """Scoring, in seconds per image."""
    bf16: bool
    """Whether bfloat16 was the faster precision."""
    latency_s: float | None = None
    """One image of mean size, alone, at working size, through the network as it predicts later, in
    seconds; None: not measured."""
    decoders_s: dict[str, float] = field(default_factory=dict)
    """The same with each other decoder that is searched, by its name."""

    @property
    def image_s(self) -> float:
        """Time of one image, in seconds: alone if that was measured, else among others."""
        return self.validation_s if self.latency_s is None else self.latency_s

    def time_with(self, decoder_name: str) -> float:
        """Time of one image with a decoder, in seconds; of one not measured, with the default."""
        return self.decoders_s.get(decoder_name, self.image_s)

    def scaled(self, was: "EncoderCost", now: "EncoderCost") -> "EncoderCost":
        """The same on a device on which another encoder costs `now` what it `was` on the first."""
        image = now.image_s / max(1e-9, was.image_s)
        return EncoderCost(
            step_s=self.step_s * now.step_s / max(1e-9, was.step_s),
            head_s=self.head_s * now.head_s / max(1e-9, was.head_s),
            decoder_s=self.decoder_s * now.decoder_s / max(1e-9, was.decoder_s),
            validation_s=self.validation_s * now.validation_s / max(1e-9, was.validation_s),
            bf16=now.bf16,
            latency_s=self.image_s * image,
            decoders_s={name: seconds * image for name, seconds in self.decoders_s.items()},
        )


@dataclass(frozen=True)
class Plan:
    """How the time after calibration is spent (`plan.json`)."""

    space: SearchSpace
    """What is searched."""
    costs: dict[str, EncoderCost]
    """Per admissible encoder."""
    reference_epochs: float
    """U: epochs of the reference recipe that one network's time after calibration would hold."""
    search_s: float
    """Time for search trials; 0: the budget is better spent on one recipe, in seconds."""
    search_until_s: float
    """Time used by the run when the search must end, in seconds."""
    max_trials: int
    """Trials the search may start."""
    decoder_windows: int
    """Length of the decoder phase, in windows."""
    decoder_features: int
    """Windows whose features the decoder phase caches."""
    val: tuple[int, ...]
    """Validation images scored while searching."""
    reserve_s: float
    """Time for evaluation and bundle if the first encoder wins, in seconds."""
    evaluation_images: float = 0.0
    """Images of one model's final evaluation; in plans of before `judging_s` was timed more, in
    validation images scored."""
    frozen_windows: int = 0
    """Length of a trial of an encoder that is only tried frozen, in windows."""
    frozen_features: int = 0
    """Windows whose features such a trial caches."""
    judging_s: float = 0.0
    """What judging an image at its own size takes beside the network's own time, in seconds."""
    device: str = ""
    """Device and machine that the costs hold for (`device_key`); empty: not known, as in plans of
    before it was kept."""
    n_networks: int = 1
    """Networks that share the time after the search, the model included: more than one where images
    are too few for a test split (`networks_in`)."""

    def decoder_length(self, encoder_name: str) -> tuple[int, int]:
        """Windows of an encoder's decoder phase, and how many have their features cached."""
        if encoder_name in self.space.frozen_encoders:
            return self.frozen_windows, self.frozen_features
        return self.decoder_windows, self.decoder_features

    def reserve_for(self, encoder_name: str, decoder_name: str = "") -> float:
        """Time for evaluation and bundle if this encoder wins, with this decoder, in seconds."""
        first_s = self.evaluation_s(self.space.encoders[0])
        return self.reserve_s + max(0.0, self.evaluation_s(encoder_name, decoder_name) - first_s)

    def evaluation_s(self, encoder_name: str, decoder_name: str = "") -> float:
        """Time of the final evaluation of one model, in seconds; without a decoder's name, of the
        encoder with its default."""
        network_s = self.costs[encoder_name].time_with(decoder_name)
        return EVALUATION_MARGIN * self.evaluation_images * (self.judging_s + network_s)

    @property
    def frozen_only(self) -> bool:
        """Whether there is only time for a decoder on the frozen encoder."""
        return self.reference_epochs < FROZEN_ONLY_EPOCHS


FROZEN_ONLY_EPOCHS = 1.0
"""Below this many epochs only the decoder is trained."""

SEARCH_FROM_EPOCHS = 20.0
"""Below this many epochs a search costs as much as it finds (simulated regret 6.6 against 6.6)."""

SEARCH_FROM_STEPS = 8000
"""The same in optimizer steps.

Measured on coffee_leaf and dsb2018 at an eighth and a quarter of their size, where minutes hold so
many (`tests/benchmarks/results/long_search.jsonl`): where the time held about 3,000 steps, a search
in 30 % of it cost 0.3 and 0.2 points of macro IoU (three seeds each, the default ahead in all six),
where it held 5,800, 0.2 (one seed). Where it held 8,400, 14 trials in half of it found a decoder
that gained 2.3 (one seed); that one is the default now, so that less is left to find.
"""

LEAST_TRIAL_STEPS = 150
"""Shorter trials say too little: the rank correlation of their scores with those of trainings four
times as long is -0.1 after 50 steps and 0.4 after 150 (48 trainings: `replay.py`)."""

RUNG_SHARES = (1 / 9, 1 / 3, 1.0)
"""Where trials are scored and may be pruned, as shares of their length."""

MIN_STEPS_BEFORE_RUNG = 100
"""Optimizer steps after unfreezing before which a score says nothing (`LEAST_TRIAL_STEPS`)."""

_TRIAL_OF_ALL = 0.03
"""Length of a trial by that of all the time, at least: what ranks recipes for a short training says
less of a long one."""

_COARSE = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Lengths of trials, times a power of ten."""


TRIAL_SHARE = 0.25
"""Share of the search that one trial of an encoder may take, for the encoder to be searched."""

LEAST_ASKED_STEPS = 20
"""Least length of a trial where the user asks for more than there would be."""

LEAST_SHARE = 0.3
"""Least share of the time that goes to a search, if there is one."""


@dataclass(frozen=True)
class Horizon:
    """How much training a time holds, and what of it a search is worth."""

    epochs: float
    """U: epochs of the reference recipe that the time of one network holds."""
    steps_per_epoch: float
    """Optimizer steps in which each image is seen once."""
    n_trials: int | None = None
    """Trials that the user asked for: if several, they are made in a short time too."""
    names_encoders: bool = False
    """Whether the user named the encoders: then each is tried if one of its trials fits at all."""
    n_networks: int = 1
    """Networks that share the time after the search; a search has the time of all of them."""

    @property
    def steps(self) -> float:
        """Optimizer steps of the reference recipe."""
        return self.epochs * self.steps_per_epoch

    @property
    def _searches(self) -> bool:
        """Whether a search is worth its time."""
        return self.epochs >= SEARCH_FROM_EPOCHS and self.steps >= SEARCH_FROM_STEPS

    @property
    def search_share(self) -> float:
        """Share of the time that goes to search trials; 0: one recipe has all of it.

        Source: Monte-Carlo on synthetic learning curves (the project's notes on the algorithm): at
        15 epochs a search does not help, at 60 to 100 a share of 0.3 was best, above 150 a half.
        """
        holds_two = LEAST_SHARE * self.steps * self.n_networks >= 2 * LEAST_ASKED_STEPS
        is_asked = self.n_trials is not None and self.epochs >= FROZEN_ONLY_EPOCHS and holds_two
        if self.n_trials == 1 or not (self._searches or is_asked):
            return 0.0
        if self.epochs < 150:
            return LEAST_SHARE
        return 0.5 if self.epochs < 1500 else 0.6

    @property
    def _searched_epochs(self) -> float:
        """Epochs of the reference recipe that the time of the search holds."""
        return self.search_share * self.epochs * self.n_networks

    @property
    def trial_epochs(self) -> float:
        """Length of one search trial, in windows per training image, on a coarse grid.

        The grid keeps two runs on one machine at the same plan although their timings differ a bit.
        """
        least = LEAST_TRIAL_STEPS / self.steps_per_epoch
        wanted = max(least, min(15.0, max(4.0, 0.05 * self.epochs)), _TRIAL_OF_ALL * self.epochs)
        if self.n_trials is not None and not self._searches:
            fitting = self._searched_epochs / self.n_trials
            wanted = min(wanted, max(fitting, LEAST_ASKED_STEPS / self.steps_per_epoch))
        power = 10.0 ** math.floor(math.log10(wanted))
        return power * max(step for step in _COARSE if step <= max(1.0, wanted / power))

    @property
    def encoder_share(self) -> float:
        """Share of the search that one trial of an encoder may take, for it to be searched."""
        if self.search_share == 0:
            return 0.0
        if not self.names_encoders:
            return TRIAL_SHARE
        # What the first trial, of the reference, leaves.
        return max(0.0, 1 - self.trial_epochs / self._searched_epochs)

    @property
    def compares_encoders(self) -> bool:
        """Whether there is time for a trial of another encoder that costs what the first does."""
        return self.encoder_share * self._searched_epochs >= self.trial_epochs


def rungs(steps: float) -> tuple[float, ...]:
    """Those of `RUNG_SHARES` at which a trial of so many optimizer steps is scored; its end is."""
    return tuple(s for s in RUNG_SHARES if s == 1.0 or s * steps >= MIN_STEPS_BEFORE_RUNG)


def check_enough(
    clock: Clock, step_s: float, steps: int = MIN_STEPS, scoring_s: float = 0.0
) -> None:
    """Refuse a budget in which nothing can be trained.

    Args:
        clock: The run's, with what the end takes kept back.
        step_s: One optimizer step, in seconds.
        steps: How many there must be time for.
        scoring_s: Scoring before and after them, in seconds.

    Raises:
        BudgetError: With the budget that would do.
    """
    needed = steps * step_s + scoring_s
    if clock.left() < needed:
        least = clock.elapsed() + clock.reserve_s + needed
        raise BudgetError(
            f"A budget of {clock.budget_s:.0f} s is too small: preparing took "
            f"{clock.elapsed():.0f} s, evaluating will take {clock.reserve_s:.0f} s, and a few "
            f"training steps {needed:.0f} s{_blamed(clock.load)}. Give it at least "
            f"{_round_up(least):.0f} s."
        )


def _blamed(load: Load) -> str:
    """That other work may be why everything took so long, where it may."""
    return f", on a computer that is busy with other work ({load})" if load.is_busy else ""


def _round_up(seconds: float) -> float:
    return -(-seconds * 1.2 // 10) * 10


def admissible(
    costs: Mapping[str, EncoderCost], n_train: int, epochs: float, limit_s: float
) -> list[str]:
    """Encoders one of whose trials takes no longer than allowed, the reference always.

    Args:
        costs: Per encoder that is fine-tuned, the reference first.
        n_train: Training images.
        epochs: Length of a trial.
        limit_s: Longest time of a trial, in seconds.

    Returns:
        The reference, whatever it costs, and the others by rising cost. By cost alone two encoders
        of nearly equal speed would take turns as the reference from run to run.
    """
    reference, *others = costs
    others.sort(key=lambda name: (costs[name].step_s, name))
    fitting = (name for name in others if costs[name].step_s * n_train * epochs <= limit_s)
    return [reference, *fitting]
