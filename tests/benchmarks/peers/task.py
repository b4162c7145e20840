"""What every peer is given and hands back, so that the rest of it is what its users would write.

The task is a JSON file (see `quality_sides.py`): `train` and `val`, lists of [image, index mask],
`test`, a list of images, and `num_classes`; 255 in a mask is ignored. The budget counts from the
start of the peer's process, imports and reading included. Predicting may come after it.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

from autoseg.encoders import Encoder, find_encoder, load_weights

IGNORE_INDEX = 255
ENCODERS = tuple(f"tf_efficientnet_lite{size}" for size in range(3))
"""timm names of the encoders whose ImageNet weights are installed with autoseg; all peers begin
with the first."""


@dataclass(frozen=True)
class Task:
    """One data set to learn in a given time."""

    train: list[tuple[str, str]]
    """Image and index mask."""
    val: list[tuple[str, str]]
    """The same, to choose by."""
    test: list[str]
    """Images to predict."""
    num_classes: int
    out: Path
    """Folder for the masks, 0.png and so on."""
    budget_s: float
    started_at: float
    """`time.monotonic()` when the process began."""
    seed: int
    device: torch.device

    @property
    def workers(self) -> int:
        """Processes that read images beside a GPU; on a CPU they would take its cores."""
        return 0 if self.device.type == "cpu" else 4

    def elapsed(self) -> float:
        """Time since the process began, in seconds."""
        return time.monotonic() - self.started_at

    def left(self) -> float:
        """Time left, in seconds."""
        return self.budget_s - self.elapsed()


def read_task(description: str | None) -> Task:
    """The task named on the command line; seeds torch and sets its threads."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", type=Path, help="JSON file")
    parser.add_argument("out", type=Path, help="folder for the masks, 0.png and so on")
    parser.add_argument("--budget", type=float, required=True, help="seconds")
    parser.add_argument("--started-at", type=float, default=time.monotonic())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    stored = json.loads(args.task.read_text(encoding="utf-8"))
    return Task(
        **stored,
        out=args.out,
        budget_s=args.budget,
        started_at=args.started_at,
        seed=args.seed,
        device=torch.device(args.device),
    )


def hand_in(
    task: Task, trained_s: float, predict: Callable[[str], np.ndarray], **facts: Any
) -> None:
    """Write the mask of every test image, and print the facts.

    Args:
        task: What was asked.
        trained_s: Time at which training ended, in seconds.
        predict: Path of an image -> mask (H, W) uint8 at the image's own size.
        facts: What the remark shall tell besides.
    """
    for k, path in enumerate(task.test):
        Image.fromarray(predict(path)).save(task.out / f"{k}.png")
    print(json.dumps({**facts, "trained until, s": round(trained_s, 1)}))


def encoder_facts(name: str) -> Encoder:
    """The catalogue's entry: mean and deviation of the pixels that the weights were trained on."""
    return find_encoder(f"{name}.in1k")


def pretrained_fpn(encoder_name: str, num_classes: int) -> smp.FPN:
    """smp's FPN of default width with ImageNet weights in its encoder."""
    model = smp.FPN(f"tu-{encoder_name}", encoder_weights=None, classes=num_classes)
    weights = load_weights(encoder_facts(encoder_name))
    result = model.encoder.model.load_state_dict(weights, strict=False)
    assert not result.missing_keys, result.missing_keys
    return model
