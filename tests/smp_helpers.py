"""Models saved by stock segmentation_models_pytorch."""

import json
import warnings
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch

TINY = "tu-test_resnet.r160_in1k"


def make_smp(
    folder: Path, model_class: str = "Unet", encoder_name: str = TINY, seed: int = 0, **options: Any
) -> Path:
    """Save a model whose numbers are random but lively, as `save_pretrained` does."""
    torch.manual_seed(seed)
    options.setdefault("classes", 3)
    with warnings.catch_warnings():  # Of encoders that go by another name since.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = getattr(smp, model_class)(
            encoder_name=encoder_name, encoder_weights=None, **options
        )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    head = next(part for part in model.segmentation_head.modules() if hasattr(part, "weight"))
    torch.nn.init.normal_(head.weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def change_json(file: Path, **values: Any) -> None:
    """Set keys of a JSON file; `...` takes a key out."""
    content = json.loads(file.read_text())
    content.update(values)
    file.write_text(json.dumps({key: item for key, item in content.items() if item is not ...}))
