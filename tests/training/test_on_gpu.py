"""What only a GPU can show; skipped where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from training_helpers import CPU, GEOMETRY, random_weights, tiny_recipe

from autoseg.data.batches import Pixels, Windows
from autoseg.model import freeze_stages, split_forward
from autoseg.training.compile_gains import Gain, case_of, expected_gain, remember_gain
from autoseg.training.hardware import Precision
from autoseg.training.schedule import Schedule
from autoseg.training.sources import FeatureSource
from autoseg.training.trainer import Trainer
from autoseg.training.trial import Trial

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

GPU = torch.device("cuda")
PRECISIONS = [Precision(GPU, fp16=False), Precision(GPU, bf16=True), Precision(GPU, fp16=True)]


@contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever makes the host wait for the device is an error in this block."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: str(p.training_dtype))
@pytest.mark.parametrize("augmentation", ["light", "strong"])
def test_a_step_does_not_wait_for_the_device(data, precision, augmentation, kept):
    pixels = Pixels(data.cache, GPU, 2**30 if kept else 0, GEOMETRY.window)
    pixels.keep(data.train)
    recipe = tiny_recipe(augmentation=augmentation, drop_path=0.0)
    trial = Trial(recipe, data, precision, 0, random_weights(), pixels)
    trainer = trial._trainer(0)
    trainer._set_train_mode()
    for wait in (True, True, False, False, False):  # The first ones allocate and tune.
        if wait:
            trainer._step(trial._source, lambda inputs: trial.model(inputs[0]))
            continue
        with no_waiting():
            trainer._step(trial._source, lambda inputs: trial.model(inputs[0]))


@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: str(p.training_dtype))
def test_a_step_on_cached_features_does_not_wait_for_the_device(data, precision):
    trial = Trial(tiny_recipe(), data, precision, 0, random_weights())
    freeze_stages(trial.model, 4)
    trial.model.eval()
    head, tail = split_forward(trial.model, 4)
    features = FeatureSource(trial._source, head, precision, 0)
    features.fill(8, 4, 2**30)
    trainer = trial._trainer(4)
    trainer._set_train_mode()
    for _ in range(2):
        trainer._step(features, lambda inputs: tail(inputs, GEOMETRY.window))
    with no_waiting():
        trainer._step(features, lambda inputs: tail(inputs, GEOMETRY.window))


def test_the_time_of_steps_is_that_of_the_device(data):
    """Kernels are queued in no time; the wait for them fell into the scoring."""
    model = torch.nn.Conv2d(3, 2, 1).to(GPU)
    groups = [{"params": list(model.parameters()), "lr": 1e-3}]
    scored = np.array([[[1, 0], [0, 1]]])
    trainer = Trainer(model, groups, model.train, Precision(GPU), 2, lambda: scored)
    source = Trial(tiny_recipe(), data, Precision(GPU), 0, random_weights())._source
    starts, ends = [], []

    def forward(inputs: list[torch.Tensor]) -> torch.Tensor:
        starts.append(torch.cuda.Event(enable_timing=True))
        ends.append(torch.cuda.Event(enable_timing=True))
        starts[-1].record()
        torch.cuda._sleep(10**8)
        ends[-1].record()
        return model(inputs[0])

    schedule = Schedule(windows=20, evaluations=(0.5, 1.0))
    result = trainer.run(source, forward, schedule)
    slept = sum(a.elapsed_time(b) for a, b in zip(starts, ends, strict=True)) / 1000
    assert slept <= result.step_seconds <= result.seconds


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS, ids=lambda p: str(p.training_dtype))
def test_a_network_is_compiled_in_the_midst_of_a_long_training(data, precision, tmp_path):
    recipe = tiny_recipe(decoder_name="unet")
    case = case_of(recipe, data.num_classes, precision)
    remember_gain(tmp_path, case, Gain(ratio=2.0, compile_s=1.0))
    notes = []
    trial = Trial(recipe, data, precision, 0, random_weights(decoder="unet"))
    compilation = trial.compilation(tmp_path, 600.0, lambda *note: notes.append(note))
    result = trial.fine_tune(Schedule(windows=4 * 60), compilation=compilation)
    assert result.reason == "complete" and result.passes == 1
    assert all(tensor.isfinite().all() for tensor in result.weights.values())
    assert "compiled in" in notes[-1][0] and notes[-1][1] == expected_gain(tmp_path, case)


@pytest.mark.parametrize("max_bytes", [0, 2**30])
def test_a_gpu_sees_the_windows_of_a_cpu(data, max_bytes):
    pixels = Pixels(data.cache, GPU, max_bytes, (48, 48))
    pixels.keep(range(len(data.cache)))
    found, wanted = (
        Windows(p, data.train, (48, 48), 0).draw(20)
        for p in (pixels, Pixels(data.cache, CPU.device))
    )
    for one, other in zip(found, wanted, strict=True):
        assert one.device.type == "cuda" and torch.equal(one.cpu(), other)
