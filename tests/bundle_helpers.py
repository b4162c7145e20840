"""A bundle of the tests' tiny encoder, trained on nothing."""

from pathlib import Path
from typing import Any

import torch

from autoseg.bundle import BundleInfo, save_bundle
from autoseg.config import ClassInfo, Geometry, Recipe
from autoseg.encoders import find_encoder
from autoseg.model import build_model
from autoseg.preprocessing import Preprocessing

TINY = "test_resnet.r160_in1k"
NAMES = ("background", "leaf | *odd* <b>", "stem", "root", "soil")
COLORS = ((0, 0, 0), (220, 20, 60), (0, 128, 255), (255, 200, 0), (90, 90, 90))


def make_info(
    num_classes: int = 3,
    geometry: Geometry | None = None,
    encoder_name: str = TINY,
    decoder_name: Any = "fpn",
) -> BundleInfo:
    geometry = geometry or Geometry(window=(64, 96), box=(96, 128))
    encoder = find_encoder(encoder_name)
    names, colors = NAMES, COLORS
    if num_classes > len(NAMES):
        names = tuple(f"class {k}" for k in range(num_classes))
        colors = tuple((k, 255 - k, k) for k in range(num_classes))
    return BundleInfo(
        classes=ClassInfo(names[:num_classes], colors[:num_classes]),
        preprocessing=Preprocessing(geometry, encoder.mean, encoder.std),
        recipe=Recipe(encoder_name, geometry, decoder_name=decoder_name),
        versions={"autoseg": "0.1.0", "torch": "2.8.0"},
        data_fingerprint="ab" * 32,
        weights_licence=encoder.licence,
        scores={"macro_iou": 0.5},
    )


def make_model(info: BundleInfo, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = build_model(
        info.recipe.encoder_name,
        info.recipe.decoder_name,
        info.classes.num_classes,
        pretrained=False,
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    # A fresh head is close to zero; the classes of a trained one differ from pixel to pixel.
    heads = [m for m in model.segmentation_head.modules() if isinstance(m, torch.nn.Conv2d)]
    torch.nn.init.normal_(heads[-1].weight, std=0.3)
    return model.eval()


def make_bundle(folder: Path, **options: Any) -> Path:
    info = make_info(**options)
    return save_bundle(folder, make_model(info), info)


def make_report(names: tuple[str, ...]) -> dict[str, Any]:
    scores = {
        key: {"value": 0.8, "low": 0.75, "high": 0.85}
        for key in ("pixel_accuracy", "macro_iou", "macro_dice", "macro_imagewise_iou")
    }
    scores["macro_boundary_iou"] = {"value": None, "low": None, "high": None}
    rows = [
        {"name": name, "iou": 0.8, "dice": 0.89, "precision": None, "recall": 0.9} for name in names
    ]
    part = {"scores": scores, "per_class": rows}
    return {
        "format_version": 1,
        "split": "test",
        "n_images": 50,
        "untouched": True,
        "note": "One number on 50 images.",
        "class_names": list(names),
        "model": part,
        "default_recipe": part,
        "default_note": "the default recipe after 4 epochs of the same run",
        "calibration_error": 0.02,
    }
