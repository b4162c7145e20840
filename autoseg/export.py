"""A model as one ONNX file, checked against torch before it is written."""

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from autoseg.bundle import Bundle
from autoseg.config import to_dict
from autoseg.errors import BundleError
from autoseg.files import replacing

OPSET = 17
"""ONNX operator set; onnxruntime reads it since 1.13."""

_TOLERANCE = 1e-3
"""Largest accepted difference of probabilities between onnxruntime and torch."""


class _WithNormalization(nn.Module):
    """RGB images (N, 3, h, w) float32 in [0, 255] -> logits (N, K, h, w)."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        preprocessing = bundle.info.preprocessing
        self.model = copy.deepcopy(bundle.model).cpu().float().eval()
        self.mean = torch.tensor(preprocessing.mean).mul(255).view(1, 3, 1, 1)
        self.std = torch.tensor(preprocessing.std).mul(255).view(1, 3, 1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model((images - self.mean) / self.std)
        return logits


def export_onnx(bundle: Bundle, path: str | Path) -> Path:
    """Write a model as ONNX, whole or not at all.

    Input `images` (N, 3, h, w) float32, RGB in [0, 255], h and w multiples of 32, at the working
    size; output `logits` (N, K, h, w). N, h and w are free, except that plain ViTs keep their
    training window. Classes and preprocessing stand in the file's metadata under `autoseg`.

    Args:
        bundle: The model; it stays as it is.
        path: The file, by custom `model.onnx`.

    Raises:
        BundleError: The onnx extra is missing, the file cannot be written, or onnxruntime does
            not reproduce the model.
    """
    try:
        import onnx  # noqa: PLC0415 - comes with the extra "onnx" only
        import onnxruntime  # noqa: F401, PLC0415 - comes with the extra "onnx" only
    except ImportError as error:
        raise BundleError(
            "Exporting needs onnx and onnxruntime: pip install 'autoseg-search[onnx]'."
        ) from error
    window = bundle.info.preprocessing.geometry.window
    # Plain ViTs, and networks of stock smp that take images of one size.
    dynamic = bundle.tile != window
    network = _WithNormalization(bundle).eval()
    network.to(memory_format=torch.contiguous_format)
    if not dynamic and bundle.info.recipe is not None:
        _fix_input_size(network.model, window)
    try:
        with replacing(Path(path)) as temporary:
            _trace(network, temporary, window, dynamic)
            model = onnx.load(temporary)
            entry = model.metadata_props.add()
            entry.key, entry.value = "autoseg", json.dumps(to_dict(bundle.info))
            onnx.save(model, temporary)
            _check(network, temporary, window, dynamic)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error}") from error
    except torch.onnx.errors.OnnxExporterError as error:
        raise BundleError(
            f"The model in {bundle.path} cannot be exported: {str(error).splitlines()[0]}"
        ) from error
    return Path(path)


def _fix_input_size(model: Any, window: tuple[int, int]) -> None:
    """Resample a plain ViT's position embedding once: ONNX has no operator to do it as it runs."""
    vit = model.encoder.model
    if vit.pos_embed is not None:  # DINOv3 has a rotary one instead, which any size computes.
        vit.set_input_size(img_size=window)
        vit.dynamic_img_size = False
        vit.patch_embed.flatten = True


def _trace(network: nn.Module, path: Path, window: tuple[int, int], dynamic: bool) -> None:
    """Run torch's tracing exporter, which knows every operator of the catalogue's networks."""
    axes = {0: "batch", 2: "height", 3: "width"} if dynamic else {0: "batch"}
    with warnings.catch_warnings(), torch.no_grad():
        # Size checks become constants; the check below would find one that matters.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # The newer exporter needs a package more and does not take every network.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, *window),),
            str(path),
            input_names=["images"],
            output_names=["logits"],
            dynamic_axes={"images": axes, "logits": axes},
            opset_version=OPSET,
            dynamo=False,
        )


def _check(network: nn.Module, path: Path, window: tuple[int, int], dynamic: bool) -> None:
    """Compare onnxruntime with torch, at another size and batch too where the file allows it."""
    import onnxruntime  # noqa: PLC0415 - comes with the extra "onnx" only

    session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    shapes = [(1, *window), (2, window[0] + 32, window[1] + 64) if dynamic else (2, *window)]
    generator = np.random.default_rng(0)
    for batch, height, width in shapes:
        images = generator.uniform(0, 255, (batch, 3, height, width)).astype(np.float32)
        got = torch.from_numpy(session.run(None, {"images": images})[0]).softmax(1)
        with torch.no_grad():
            wanted = network(torch.from_numpy(images)).softmax(1)
        difference = float((got - wanted).abs().max())
        if not difference <= _TOLERANCE:
            raise BundleError(
                f"onnxruntime does not reproduce the model: probabilities differ by "
                f"{difference:.2g} at {width}x{height} pixels, allowed is {_TOLERANCE}."
            )
