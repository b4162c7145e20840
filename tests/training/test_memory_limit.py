"""Training where the system gives a process only so much memory."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, resource, sys
from pathlib import Path
import numpy as np, torch
from autoseg.model import build_model, train_mode
from autoseg.training.hardware import Precision
from autoseg.training.schedule import Schedule
from autoseg.training.trainer import Trainer

torch.set_num_threads(1)
CPU = torch.device("cpu")

class Noise:
    def draw(self, count):
        rng = torch.Generator().manual_seed(0)
        images = torch.randn(count, 3, 256, 256, generator=rng)
        masks = torch.randint(0, 3, (count, 256, 256), generator=rng, dtype=torch.uint8)
        return [images.contiguous(memory_format=torch.channels_last)], masks

    def give_back(self):
        return False

def train(batch_size):
    torch.manual_seed(0)
    model = build_model("test_resnet.r160_in1k", "fpn", 3, pretrained=False)
    model = model.to(memory_format=torch.channels_last)
    trainer = Trainer(
        model,
        [{"params": list(model.parameters()), "lr": 1e-3}],
        lambda: train_mode(model, 0, False),
        Precision(CPU),
        batch_size,
        lambda: np.ones((5, 3, 3), np.int64),
    )
    result = trainer.run(Noise(), lambda inputs: model(inputs[0]), Schedule(windows=batch_size))
    return {"passes": trainer.passes, "loss": result.evaluations[-1].train_loss}

def peak():
    "Most addresses that this process has had, in bytes."
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmPeak"))

train(2)
two = peak()
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]), int(sys.argv[1])))
print(json.dumps({**train(32), "two": two, "all": peak()}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits a process's memory so")
def test_a_step_that_does_not_fit_into_memory_is_taken_in_parts_with_the_same_result():
    """oneDNN says that it "could not create a primitive", which ended the trial."""
    free = run()
    limited = run(int(free["two"] + 0.5 * (free["all"] - free["two"])))
    assert free["passes"] == 1 and limited["passes"] > 1
    # Dice is taken over the windows of a pass, so the loss is near, not equal.
    assert limited["loss"] == pytest.approx(free["loss"], rel=0.05)


def run(*limit_bytes: int) -> dict:
    command = [sys.executable, "-c", SCRIPT, *map(str, limit_bytes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
