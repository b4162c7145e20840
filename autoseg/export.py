"""A model as ONNX or in OpenVINO's format, checked against torch before it is written."""

import copy
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from autoseg.bundle import Bundle
from autoseg.config import to_dict
from autoseg.engines import EngineName, check_engine, openvino_session, write_openvino
from autoseg.errors import BundleError, ConfigError
from autoseg.files import replacing
from autoseg.training.hardware import limit_threads

OPSET = 17
"""ONNX operator set; onnxruntime reads it since 1.13."""

_TOLERANCE = 1e-3
"""Largest accepted difference of probabilities between a runtime and torch."""


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


def takes_any_size(bundle: Bundle) -> bool:
    """Whether a model's ONNX file takes images of any size.

    Plain ViTs, and networks of stock smp that take images of one size, keep their window.
    """
    return bundle.tile != bundle.info.preprocessing.geometry.window


def write_onnx(bundle: Bundle, path: Path) -> nn.Module:
    """Write a model as ONNX, unchecked, and return the module that it was made of.

    Raises:
        BundleError: A package of the onnx extra is missing, or the network cannot be exported.
    """
    window = bundle.info.preprocessing.geometry.window
    network = _WithNormalization(bundle).eval()
    network.to(memory_format=torch.contiguous_format)
    if not takes_any_size(bundle) and bundle.info.recipe is not None:
        _fix_input_size(network.model, window)
    try:
        _trace(network, path, window, takes_any_size(bundle))
    except torch.onnx.errors.OnnxExporterError as error:
        raise BundleError(
            f"The model in {bundle.path} cannot be exported: {str(error).splitlines()[0]}"
        ) from error
    return network


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
    check_can_export("onnxruntime")
    try:
        with replacing(Path(path)) as temporary:
            network = write_onnx(bundle, temporary)
            describe_onnx(temporary, note_text(bundle))
            _check(network, _onnx_session(temporary), bundle, "onnxruntime")
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error}") from error
    return Path(path)


def export_openvino(bundle: Bundle, path: str | Path) -> Path:
    """Write a model in OpenVINO's format: NAME.xml and, beside it, NAME.bin with the weights.

    Input and output are those of `export_onnx`; classes and preprocessing stand in the runtime
    information under `autoseg`.

    Args:
        bundle: The model; it stays as it is.
        path: NAME.xml, by custom `model.xml`.

    Raises:
        BundleError: The openvino extra is missing, the files cannot be written, or OpenVINO does
            not reproduce the model.
    """
    check_can_export("openvino")
    with TemporaryDirectory() as name:
        source = Path(name) / "model.onnx"
        network = write_onnx(bundle, source)
        return place_openvino(
            source,
            Path(path),
            note_text(bundle),
            lambda file: _check(network, openvino_session(file), bundle, "OpenVINO"),
        )


def check_openvino_path(path: Path) -> None:
    """Refuse a name that OpenVINO's files cannot have.

    Raises:
        BundleError: It does not end in .xml.
    """
    if path.suffix != ".xml":
        raise BundleError(f"OpenVINO's files are NAME.xml and NAME.bin, but got {path.name}.")


def place_openvino(source: Path, path: Path, note: str, check: Callable[[Path], None]) -> Path:
    """Convert an ONNX file to NAME.xml and NAME.bin, which take their places after a check.

    Raises:
        BundleError: The files cannot be written, or whatever `check` raises.
    """
    check_openvino_path(path)
    try:
        with replacing(path.with_suffix(".bin")) as weights, replacing(path) as network:
            with TemporaryDirectory(dir=path.parent) as name:
                made = Path(name) / "model.xml"
                write_openvino(source, made, note)
                check(made)
                os.replace(made.with_suffix(".bin"), weights)
                os.replace(made, network)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error}") from error
    return path


def check_can_export(name: EngineName) -> None:
    """Refuse to export for an engine that is not installed.

    Raises:
        BundleError: It is not; the text says how to install it.
    """
    try:
        check_engine(name)
    except ConfigError as error:
        raise BundleError(f"Exporting needs what is not here. {error}") from error


def describe_onnx(path: Path, note: str) -> None:
    """Write a note into an ONNX file's metadata, under `autoseg`."""
    import onnx  # noqa: PLC0415 - comes with the extra "onnx" only

    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "autoseg", note
    onnx.save(model, path)


def note_text(bundle: Bundle, **more: object) -> str:
    """What stands in an exported file: classes and preprocessing, and what is given beside."""
    return json.dumps({**to_dict(bundle.info), **more})


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


class Convolution(NamedTuple):
    """A convolution of a network."""

    name: str
    channels: int
    """Input channels that one output channel sees: 1 in a depthwise one."""


def convolutions(path: Path) -> list[Convolution]:
    """The convolutions of an ONNX file, from input to output."""
    import onnx  # noqa: PLC0415 - comes with the extra "onnx" only

    graph = onnx.load(path).graph
    channels = {
        weights.name: weights.dims[1] for weights in graph.initializer if len(weights.dims) > 1
    }
    return [
        Convolution(node.name, channels.get(node.input[1], 0))
        for node in graph.node
        if node.op_type == "Conv"
    ]


Session = Callable[[np.ndarray], np.ndarray]
"""Images (N, 3, h, w) float32 in [0, 255] -> logits (N, K, h, w) float32."""


def _onnx_session(path: Path) -> Session:
    import onnxruntime  # noqa: PLC0415 - comes with the extra "onnx" only

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = limit_threads()
    session: Any = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: np.asarray(session.run(None, {"images": images})[0])


def _check(network: nn.Module, session: Session, bundle: Bundle, runtime: str) -> None:
    """Compare a runtime with torch, at another size and batch too where the file allows it."""
    height, width = bundle.info.preprocessing.geometry.window
    other = (height + 32, width + 64) if takes_any_size(bundle) else (height, width)
    generator = np.random.default_rng(0)
    for shape in ((1, 3, height, width), (2, 3, *other)):
        images = generator.uniform(0, 255, shape).astype(np.float32)
        got = torch.from_numpy(session(images)).softmax(1)
        with torch.no_grad():
            wanted = network(torch.from_numpy(images)).softmax(1)
        difference = float((got - wanted).abs().max())
        if not difference <= _TOLERANCE:
            raise BundleError(
                f"{runtime} does not reproduce the model: probabilities differ by "
                f"{difference:.2g} at {shape[3]}x{shape[2]} pixels, allowed is {_TOLERANCE}."
            )
