"""What compiling networks brought on this machine, remembered from one run to the next."""

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from autoseg.config import Recipe, from_dict, read_json
from autoseg.encoders import find_encoder
from autoseg.errors import ConfigError
from autoseg.files import write_json
from autoseg.training.hardware import Precision, device_name


@dataclass(frozen=True)
class Gain:
    """What compiling a network brings."""

    ratio: float
    """Time of a step before over that after; 0: it could not be compiled."""
    compile_s: float
    """What compiling takes, in seconds."""
    no_memory: bool = False
    """Whether it failed for want of memory, which says nothing of other networks."""

    def pays(self, seconds_left: float) -> bool:
        """Whether compiling saves at least twice its time in a training of so many seconds."""
        if self.ratio <= 1.0:
            return False
        return seconds_left * (1 - 1 / self.ratio) >= 2 * self.compile_s


PRIOR = Gain(ratio=1.25, compile_s=90.0)
"""Where nothing was measured. Source: the project's estimates for an H100 (notes on the algorithm,
4.1): steps 1.05 to 2 times as fast, after 30 to 90 s."""


@dataclass(frozen=True)
class Case:
    """What compiled code depends on."""

    device: str
    """With the version of torch."""
    family: str
    """Of the encoder."""
    network: str
    """With the batches that it sees."""


def case_of(recipe: Recipe, num_classes: int, precision: Precision) -> Case:
    """What a recipe's fine-tuning computes."""
    height, width = recipe.geometry.window
    name = (
        f"{recipe.encoder_name} {recipe.decoder_name}, {num_classes} classes, frozen depth "
        f"{recipe.frozen_depth}, {recipe.batch_size} windows of {height}x{width}, "
        f"{str(precision.training_dtype).removeprefix('torch.')}"
    )
    name += ", stochastic depth" if recipe.drop_path else ""
    name += ", batch statistics" if recipe.train_norm else ""
    device = f"{device_name(precision.device)}, torch {torch.__version__}"
    return Case(device, find_encoder(recipe.encoder_name).family, name)


@dataclass(frozen=True)
class _Memory:
    """Content of `compiled.json`."""

    gains: dict[str, dict[str, dict[str, Gain]]] = field(default_factory=dict)
    """By device, family and network."""


def expected_gain(home: Path, case: Case) -> Gain:
    """What compiling will bring: as measured before, else the least that others of the family had.

    That of a network which was never compiled is taken to last as long as the longest.
    """
    family = _read(home).gains.get(case.device, {}).get(case.family, {})
    if case.network in family:
        return family[case.network]
    others = [gain for gain in family.values() if not gain.no_memory]
    if not others:
        return PRIOR
    longest_s = max(PRIOR.compile_s, *(gain.compile_s for gain in others))
    return Gain(min(gain.ratio for gain in others), longest_s)


def remember_gain(home: Path, case: Case, gain: Gain) -> None:
    """Keep a measurement in `compiled.json`, others as they are.

    Where that cannot be written, on a full disk say, it is measured again.
    """
    memory = _read(home)
    memory.gains.setdefault(case.device, {}).setdefault(case.family, {})[case.network] = gain
    with suppress(OSError):
        write_json(home / "compiled.json", asdict(memory))


def _read(home: Path) -> _Memory:
    """Nothing if the file cannot be read or is of another version: all can be measured again."""
    try:
        return from_dict(_Memory, read_json(home / "compiled.json"), "compiled.json")
    except (ConfigError, OSError):
        return _Memory()
