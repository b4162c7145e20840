"""Compiling in the midst of training, on the CPU: there it is slow to pay, but it is the same."""

import gc
import os
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_trainer import source, trainer
from torch import nn
from training_helpers import CPU, random_weights, tiny_recipe

from autoseg.checkpoint import Weights
from autoseg.config import Geometry
from autoseg.depthwise import ease_grouped_convolutions
from autoseg.training import compilation as compiling
from autoseg.training.compilation import CACHE_FOLDER, TIMED_STEPS, Compilation
from autoseg.training.compile_gains import (
    PRIOR,
    Case,
    Gain,
    case_of,
    expected_gain,
    remember_gain,
)
from autoseg.training.hardware import Precision
from autoseg.training.schedule import Schedule
from autoseg.training.trial import Trial

BF16 = Precision(CPU.device, bf16=True)
CASE = Case("a GPU, torch 2", "ResNet", "resnet18 fpn")
HOURS = 10 * 3600.0
LONG_ENOUGH = Schedule(windows=8 * 4 * TIMED_STEPS, warmup_share=0, evaluations=(0.6, 1.0))


class Waiting(nn.Module):
    """A network that has to wait for something unless it is compiled."""

    def __init__(self, wait_s: float = 0.1) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.GELU(), nn.Conv2d(8, 3, 1)
        )
        self.wait_s = wait_s
        self.waited = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_compiling():
            time.sleep(self.wait_s)
            self.waited += 1
        return self.layers(images)


class Backend:
    """Runs a graph as it is, after a wait if asked for; counts what it is asked to compile."""

    def __init__(self, wait_s: float = 0.0, runs_before_memory_ends: int = 10**9) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.wait_s = wait_s
        self.left = runs_before_memory_ends

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable:
        self.shapes += [tuple(t.shape) for t in inputs if t.ndim == 4 and t.shape[1] == 3][-1:]

        def run(*arguments: torch.Tensor) -> object:
            time.sleep(self.wait_s)
            self.left -= 1
            if self.left < 0:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
            return graph(*arguments)

        return run


def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable:
    raise FileNotFoundError("no C compiler here\nand more")


def unfit(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable:
    def run(*arguments: torch.Tensor) -> object:
        raise RuntimeError("no kernel image")

    return run


def out_of_memory(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.fixture(autouse=True)
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing compiled before, and the place of what is compiled is as it was afterwards."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    torch.compiler.reset()
    yield
    torch.compiler.reset()


class Notes(list):
    """What a compilation says."""

    def __call__(self, sentence: str, gain: Gain | None) -> None:
        self.append((sentence, gain))

    @property
    def last(self) -> tuple[str, Gain]:
        return self[-1]


def compilation(
    model: nn.Module, home: Path, backend: object, notes: Notes, seconds: float = HOURS, **options
) -> Compilation:
    options = {"device_types": ("cpu",), **options}
    return Compilation(
        model, 8, torch.device("cpu"), CASE, home, seconds, notes, backend=backend, **options
    )


def train(model: nn.Module, network: Callable, evaluate=None, schedule=LONG_ENOUGH, **options):
    trained = trainer(model, evaluate=evaluate, **options)
    result = trained.run(source(), lambda inputs: network(inputs[0]), schedule)
    return trained, result


# When it pays


def test_compiling_pays_where_twice_its_time_is_saved():
    """Told from the steps: what is left takes so much less in faster steps."""
    rng = np.random.default_rng(0)
    for _ in range(2000):
        ratio, compile_s, left_s = rng.uniform(0, 3), rng.uniform(1, 200), rng.uniform(-10, 3000)
        steps = left_s / 0.5
        saved_s = steps * (0.5 - 0.5 / ratio) if ratio > 0 else 0.0
        assert Gain(ratio, compile_s).pays(left_s) == (saved_s >= 2 * compile_s and ratio > 1)


def test_it_is_not_tried_where_it_made_steps_slower_or_failed():
    assert not any(Gain(ratio, 1e-9).pays(1e9) for ratio in (0.0, 0.5, 1.0))


def test_unmeasured_it_is_for_a_quarter_of_an_hour_and_more():
    assert PRIOR.pays(15 * 60 + 1) and not PRIOR.pays(15 * 60 - 1)


# What is remembered


def other(network: str = CASE.network, family: str = CASE.family, device: str = CASE.device):
    return Case(device, family, network)


def test_what_was_measured_is_known_again(tmp_path):
    assert expected_gain(tmp_path, CASE) == PRIOR
    gains = [(CASE, Gain(1.7, 40.0)), (other("resnet50 fpn"), Gain(1.2, 130.0))]
    for case, gain in gains:
        remember_gain(tmp_path, case, gain)
    assert [expected_gain(tmp_path, case) for case, _ in gains] == [gain for _, gain in gains]


def test_others_of_a_family_are_expected_to_gain_as_little_as_the_one_that_gained_least(tmp_path):
    remember_gain(tmp_path, CASE, Gain(1.7, 140.0))
    remember_gain(tmp_path, other("resnet50 fpn"), Gain(1.2, 10.0))
    remember_gain(tmp_path, other("resnet101 fpn"), Gain(0.0, 300.0, no_memory=True))
    assert expected_gain(tmp_path, other("resnet34 fpn")) == Gain(1.2, 140.0)
    remember_gain(tmp_path, other("resnet34 unet"), Gain(0.0, 3.0))
    assert not expected_gain(tmp_path, other("resnet34 fpn")).pays(1e9)


def test_what_took_a_moment_from_a_cache_takes_long_for_another_network(tmp_path):
    remember_gain(tmp_path, CASE, Gain(1.7, 5.0))
    assert expected_gain(tmp_path, other("resnet50 fpn")).compile_s == PRIOR.compile_s


def test_other_families_devices_and_versions_are_unknown(tmp_path):
    remember_gain(tmp_path, CASE, Gain(1.7, 40.0))
    for case in (other(family="ConvNeXt"), other(device="a GPU, torch 3")):
        assert expected_gain(tmp_path, case) == PRIOR


@pytest.mark.parametrize("content", ["{", "[]", '{"gains": {"a GPU, torch 2": 3}}'])
def test_a_damaged_memory_is_an_empty_one(tmp_path, content):
    (tmp_path / "compiled.json").write_text(content)
    assert expected_gain(tmp_path, CASE) == PRIOR
    remember_gain(tmp_path, CASE, Gain(1.7, 40.0))
    assert expected_gain(tmp_path, CASE) == Gain(1.7, 40.0)


def test_a_memory_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "home").write_text("a file")
    remember_gain(tmp_path / "home", CASE, Gain(1.7, 40.0))


CHANGES = [
    {"encoder_name": "test_vit.r160_in1k"}, {"decoder_name": "unet"}, {"frozen_depth": 1},
    {"batch_size": 2}, {"drop_path": 0.1}, {"train_norm": True},
    {"geometry": Geometry(window=(96, 64), scale=1.0)},
]  # fmt: skip


def test_whatever_changes_the_compiled_code_is_another_case():
    one = tiny_recipe()
    cases = [case_of(replace(one, **change), 5, CPU) for change in ({}, *CHANGES)]
    cases += [case_of(one, 3, CPU), case_of(one, 5, BF16)]
    assert len(set(cases)) == len(cases)
    same = replace(one, decoder_lr=0.1, augmentation="strong", layer_decay=0.7, epochs=3.0)
    assert case_of(same, 5, CPU) == cases[0]


# In training


def test_a_network_whose_steps_become_faster_stays_compiled(tmp_path):
    model, backend, notes = Waiting(), Backend(), Notes()
    _, result = train(model, compilation(model, tmp_path, backend, notes))
    assert result.reason == "complete" and result.windows == LONG_ENOUGH.windows
    assert len(backend.shapes) == 1 and model.waited == TIMED_STEPS + 1
    sentence, gain = notes.last
    assert gain.ratio > 1 and gain == expected_gain(tmp_path, CASE)
    assert "a step takes" in sentence and notes[0] == (
        "Compiling the network, for faster steps.",
        None,
    )


def test_a_network_whose_steps_become_slower_runs_as_before(tmp_path):
    model, backend, notes = Waiting(0.0), Backend(wait_s=0.1), Notes()
    train(model, compilation(model, tmp_path, backend, notes))
    sentence, gain = notes.last
    assert 0 < gain.ratio < 1 and gain == expected_gain(tmp_path, CASE)
    assert "no faster" in sentence
    assert model.waited == LONG_ENOUGH.windows // 8 - (TIMED_STEPS + 2)
    train(model, compilation(model, tmp_path, backend, notes))
    assert len(backend.shapes) == 1, "tried again"


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("precision", [CPU, BF16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("backend", [broken, unfit, out_of_memory])
def test_training_goes_on_as_without_compiling_where_that_fails(tmp_path, backend, precision):
    plain, model, notes = Waiting(0.0), Waiting(0.0), Notes()
    for network in (plain, model):
        network.layers[1].eval()
    trained = []
    for network, forward in (
        (plain, plain),
        (model, compilation(model, tmp_path, backend, notes)),
    ):
        torch.manual_seed(0)
        train(network, forward, precision=precision)
        trained.append(weights_of(network))
    # The statistics of the norm saw one batch once more, and nothing else did.
    assert all(
        torch.equal(trained[0][name], tensor)
        for name, tensor in trained[1].items()
        if "running" not in name and "num_batches" not in name
    )
    sentence, gain = notes.last
    assert "\n" not in sentence and gain.ratio == 0 == expected_gain(tmp_path, CASE).ratio
    assert gain.no_memory == (backend is out_of_memory) == sentence.startswith("Memory ran out")
    assert ("FileNotFoundError: no C compiler here" in sentence) == (backend is broken)
    assert ("RuntimeError: no kernel image" in sentence) == (backend is unfit)


def test_memory_that_runs_out_in_compiled_steps_ends_compiling_alone(tmp_path):
    model, backend, notes = Waiting(), Backend(runs_before_memory_ends=4), Notes()
    trained, result = train(model, compilation(model, tmp_path, backend, notes))
    assert result.reason == "complete" and trained.passes == 2 and len(backend.shapes) == 1
    sentence, gain = notes.last
    assert gain.no_memory and sentence.startswith("Memory ran out")
    assert expected_gain(tmp_path, CASE) == gain


def test_it_is_not_compiled_where_memory_is_short_already(tmp_path):
    model, backend, notes = Waiting(0.0), Backend(), Notes()
    network = compilation(model, tmp_path, backend, notes)
    trained = trainer(model)
    trained.passes = 2
    trained.run(source(), lambda inputs: network(inputs[0]), LONG_ENOUGH)
    assert not backend.shapes and not notes


@pytest.mark.parametrize("options", [{"device_types": ("cuda",)}, {"seconds": 15 * 60 - 1}])
def test_on_a_cpu_or_in_too_short_a_training_nothing_is_compiled(tmp_path, options):
    model, backend, notes = Waiting(0.0), Backend(), Notes()
    train(model, compilation(model, tmp_path, backend, notes, **options))
    assert not backend.shapes and not notes and not list(tmp_path.iterdir())


def test_compiling_does_not_begin_once_too_little_time_is_left(tmp_path):
    """The steps that are timed before it take some."""
    model, backend, notes = Waiting(0.02), Backend(), Notes()
    train(model, compilation(model, tmp_path, backend, notes, seconds=15 * 60 + 0.1))
    assert not backend.shapes and not notes


def test_a_process_that_dies_of_compiling_does_so_once(tmp_path):
    def dying(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable:
        raise KeyboardInterrupt

    model, backend, notes = Waiting(0.0), Backend(), Notes()
    with pytest.raises(KeyboardInterrupt):
        train(model, compilation(model, tmp_path, dying, notes))
    train(model, compilation(model, tmp_path, backend, notes))
    assert not backend.shapes


def test_scoring_goes_on_in_the_network_itself_and_compiles_nothing(tmp_path):
    model, backend = Waiting(), Backend()
    names, sides = list(model.state_dict()), iter((32, 48, 80, 96))
    waited: list[int] = []

    def evaluate() -> np.ndarray:
        before = model.waited
        with torch.inference_mode():
            for count in (1, 3):
                model(torch.zeros(count, 3, 40, next(sides)))
        waited.append(model.waited - before)
        return np.array([[[10, 1], [1, 10]]])

    train(model, compilation(model, tmp_path, backend, Notes()), evaluate)
    assert waited == [2, 2] and len(backend.shapes) == 1
    assert model.waited == TIMED_STEPS + 1 + sum(waited)
    assert list(model.state_dict()) == names
    assert all(p.grad is None for p in model.parameters())


def test_nothing_is_compiled_again_later(tmp_path):
    """In a step a recompilation would take time that nobody planned; the step runs as it is."""
    model, backend, notes = Waiting(), Backend(), Notes()
    network = compilation(model, tmp_path, backend, notes)
    train(model, network)
    waited = model.waited
    model.eval()
    network(torch.zeros(8, 3, 64, 64))
    assert len(backend.shapes) == 1 and model.waited == waited + 1


def test_a_compiled_network_is_given_back_with_its_memory(tmp_path):
    model = Waiting()
    network = compilation(model, tmp_path, Backend(), Notes())
    train(model, network)
    kept = [weakref.ref(parameter) for parameter in model.parameters()]
    del model, network
    gc.collect()
    assert all(ref() is None for ref in kept)


class Grouped(nn.Module):
    """A frozen stem, a depthwise convolution that leaves bfloat16, a norm, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.stem.requires_grad_(False)
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8))
        self.head = nn.Conv2d(8, 3, 1)
        ease_grouped_convolutions(self)

    def train(self, mode: bool = True) -> "Grouped":
        super().train(mode)
        self.stem.eval()
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.depthwise(self.stem(images)))


def change(before: Weights, after: Weights) -> torch.Tensor:
    """How training moved the weights, as one vector."""
    names = [name for name in before if "num_batches" not in name]
    return torch.cat([(after[name] - before[name]).flatten() for name in names])


@pytest.mark.slow
@pytest.mark.parametrize("precision", [CPU, BF16], ids=["float32", "bfloat16"])
def test_inductor_trains_as_training_without_it_does(tmp_path, precision):
    moved, notes = [], Notes()
    for compiles in (False, True):
        model = Grouped().to(memory_format=torch.channels_last)
        begun = weights_of(model)
        network = compilation(model, tmp_path, "inductor", notes) if compiles else model
        train(model, network, precision=precision)
        moved.append(change(begun, weights_of(model)))
        stem = {name for name in begun if name.startswith("stem.")}
        assert all(torch.equal(begun[name], weights_of(model)[name]) for name in stem)
    assert notes.last[1].compile_s > 0.1 and "compiled in" in notes.last[0]
    assert nn.functional.cosine_similarity(*moved, dim=0) > 0.99
    assert any((tmp_path / CACHE_FOLDER).rglob("*.*"))


def test_a_trial_trains_the_same_network_compiled(tmp_path, data):
    """With Unet, which has no dropout: the pass that compiles draws random numbers too."""
    recipe, notes = tiny_recipe(frozen_depth=1, decoder_name="unet"), Notes()
    start = random_weights(decoder="unet")
    schedule = Schedule(windows=4 * 4 * TIMED_STEPS, warmup_share=0, evaluations=(0.4, 1.0))
    moved, backend = [], Backend()
    for compiles in (False, True):
        trial = Trial(recipe, data, CPU, 0, start)
        network = Compilation(
            trial.model, recipe.batch_size, CPU.device, CASE, tmp_path, HOURS, notes,
            backend=backend, device_types=("cpu",),
        )  # fmt: skip
        result = trial.fine_tune(schedule, compilation=network if compiles else None)
        assert result.reason == "complete" and result.weights.keys() == start.keys()
        moved.append(change(start, result.weights))
        trial.close()
    assert len(backend.shapes) == 1 and notes.last[1].ratio > 0
    assert nn.functional.cosine_similarity(*moved, dim=0) > 0.99


# What is kept on disk


@pytest.mark.parametrize(
    ("most_bytes", "hours_ago", "left"), [(10, 2, False), (10, 0, True), (10**6, 2, True)]
)
def test_compiled_code_beyond_what_is_kept_goes_while_nobody_compiles(
    tmp_path, monkeypatch, most_bytes, hours_ago, left
):
    """It grew by what each network left, for ever."""
    monkeypatch.setattr(compiling, "MOST_COMPILED_BYTES", most_bytes)
    code = tmp_path / "compiled" / "ab" / "kernel.py"
    code.parent.mkdir(parents=True)
    code.write_bytes(bytes(100))
    then = time.time() - hours_ago * 3600
    for path in (code, code.parent):
        os.utime(path, (then, then))
    model, notes = Waiting(0.0), Notes()
    train(model, compilation(model, tmp_path, Backend(), notes))
    assert "Compiling" in notes[0][0] and code.exists() is left
