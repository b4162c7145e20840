"""A model in int8, calibrated on training images and accepted by its validation mIoU.

Weights are rounded per channel, activations by the least and greatest values seen ("static
quantization", Jacob et al. 2018, section 3). ONNX Runtime quantizes; OpenVINO reads its result.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from autoseg.bundle import Bundle
from autoseg.config import from_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits, make_splits
from autoseg.engines import Engine, EngineName, TorchEngine, load_engine
from autoseg.errors import BundleError, DatasetError
from autoseg.export import (
    check_can_export,
    convolutions,
    describe_onnx,
    place_openvino,
    takes_any_size,
    write_onnx,
)
from autoseg.files import replacing
from autoseg.inference import segment
from autoseg.metrics import confusion_matrix, iou, macro
from autoseg.preprocessing import pad_image, round_up
from autoseg.resizing import resize_image
from autoseg.search.run_folder import RunFolder
from autoseg.sources import check
from autoseg.training.hardware import Precision

MAX_DROP = 0.003
"""Largest accepted loss of validation mIoU: 0.3 points."""

_CALIBRATION_IMAGES = 64
"""Training images whose activations are looked at."""

_LEVELS = ("every layer", "no depthwise layer and not the first", "the encoder's dense layers")
"""What is quantized, tried in this order until the loss is small enough."""


@dataclass(frozen=True)
class Quantized:
    """A model in int8 that was accepted."""

    path: Path
    """Its file."""
    miou_before: float
    """Validation mIoU of the model itself, in [0, 1]."""
    miou_after: float
    """The same in int8."""
    layers: str
    """What was quantized."""


@dataclass(frozen=True)
class CalibrationData:
    """Images to calibrate with, and others to judge by."""

    dataset: CheckedDataset
    splits: Splits


def calibration_data(bundle: Bundle, data: str | None = None) -> CalibrationData:
    """The images that a model was trained and chosen by.

    Args:
        bundle: A model; in the folder of its run, the run's own images and splits are taken.
        data: Folder, zip or hf://owner/name instead, divided as `autoseg check` shows it.

    Raises:
        BundleError: Neither is there, or the classes are not the model's.
        AutosegError: The data set cannot be read.
    """
    if data is not None:
        dataset = check(data)
        splits = make_splits(dataset, 0)
    else:
        run = RunFolder(bundle.path.parent)
        info, stored = run.info(), run.json("splits.json")
        if info is None or stored is None or not Path(info.source).exists():
            raise BundleError(
                "Exporting in int8 needs the images that the model was trained on: "
                + (f"they are no longer in {info.source}. " if info else "this is no run's model. ")
                + "Say where they are with --data."
            )
        mapping, colors = dict(info.config.mapping) or None, dict(info.config.colors)
        dataset = check(info.source, mapping=mapping, colors=colors)
        splits = from_dict(Splits, stored, "splits.json")
        if dataset.fingerprint != info.data_fingerprint:
            raise BundleError(
                f"The data set in {info.source} has changed since the model was trained. Say with "
                f"--data by which images it shall be calibrated and judged."
            )
    if dataset.classes.names != bundle.info.classes.names:
        raise BundleError(
            f"The model knows the classes {', '.join(bundle.info.classes.names)}, but the data "
            f"set has {', '.join(dataset.classes.names)}. Name the model's own data with --data."
        )
    if not splits.train or not splits.val:
        raise DatasetError("There are too few images to calibrate by some and to judge by others.")
    return CalibrationData(dataset, splits)


def export_int8(
    bundle: Bundle,
    path: Path,
    engine: EngineName,
    data: CalibrationData,
    say: Callable[[str], None] = lambda text: None,
) -> Quantized:
    """Write a model in int8 if it loses at most `MAX_DROP` of its validation mIoU.

    Args:
        bundle: The model, on the CPU.
        path: NAME.onnx, or NAME.xml for OpenVINO.
        engine: "onnxruntime" or "openvino": what it is written for and judged with.
        data: Images to calibrate with and to judge by.
        say: Told what is done.

    Raises:
        BundleError: A package is missing, the network takes one size only, the loss is greater
            (nothing is written), or the file cannot be written.
    """
    check_can_export("onnxruntime")
    check_can_export(engine)
    if not takes_any_size(bundle):
        raise BundleError("Networks that take images of one size only are not exported in int8.")
    own = TorchEngine(bundle.model, bundle.info.preprocessing, Precision(torch.device("cpu")))
    before = _miou(own, bundle, data)
    say(f"Validation mIoU {before:.2%} on {len(data.splits.val)} images.")
    best = 0.0
    with TemporaryDirectory() as name:
        source, target = Path(name) / "model.onnx", Path(name) / "int8.onnx"
        write_onnx(bundle, source)
        for level, layers in enumerate(_LEVELS):
            _quantize(source, target, _calibration_images(bundle, data), level)
            after = _miou(load_engine(engine, target), bundle, data)
            say(f"With {layers} in int8 {after:.2%}.")
            if before - after <= MAX_DROP:
                _place(bundle, target, path, engine)
                return Quantized(path, before, after, layers)
            best = max(best, after)
    raise BundleError(
        f"In int8 the model loses too much: validation mIoU {before:.2%} before and {best:.2%} "
        f"after, and at most {MAX_DROP * 100:.1f} points are accepted. Nothing was written; "
        f"export it without int8."
    )


def _place(bundle: Bundle, source: Path, path: Path, engine: EngineName) -> None:
    """Put the accepted network where it belongs, whole or not at all."""
    if engine == "openvino":
        place_openvino(bundle, source, path, lambda file: None)  # It was judged just now.
        return
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(source.read_bytes())
            describe_onnx(bundle, temporary)
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error}") from error


def _miou(engine: Engine, bundle: Bundle, data: CalibrationData) -> float:
    """Mean IoU over classes of all pixels of the validation images, in [0, 1]."""
    dataset, confusions = data.dataset, []
    for i in data.splits.val:
        found = segment(
            engine,
            dataset.image(i),
            bundle.info.preprocessing,
            device=torch.device("cpu"),
            tile=bundle.tile,
            raw=True,
        )
        confusions.append(
            confusion_matrix(dataset.mask(i), found.mask, dataset.classes.num_classes)
        )
    return float(macro(iou, np.stack(confusions)))


def _calibration_images(bundle: Bundle, data: CalibrationData) -> list[np.ndarray]:
    """Evenly picked training images (1, 3, h, w) uint8 as the network sees them."""
    train = data.splits.train
    picked = np.linspace(0, len(train) - 1, min(len(train), _CALIBRATION_IMAGES)).round()
    images = []
    for position in picked.astype(int).tolist():
        image = data.dataset.image(train[position])
        resized = np.array(resize_image(image, bundle.info.preprocessing.geometry))
        pixels = torch.from_numpy(resized).permute(2, 0, 1)[None]
        height, width = pixels.shape[-2:]
        images.append(pad_image(pixels, round_up(height), round_up(width)).numpy())
    return images


def _quantize(source: Path, target: Path, images: Sequence[np.ndarray], level: int) -> None:
    """Write a network with int8 weights and activations.

    Only layers with weights are quantized: the exporter computes sizes in floats too, which
    rounding would change.
    """
    # They come with the extra "onnx" only.
    from onnxruntime.quantization import (  # noqa: PLC0415
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._left, None)
            return None if image is None else {"images": image.astype(np.float32)}

    prepared = target.with_name("prepared.onnx")
    logging.getLogger().disabled, was = True, logging.getLogger().disabled  # It advises developers.
    try:
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["Conv", "MatMul", "Gemm"],
            nodes_to_exclude=_left_out(prepared, level),
        )
    finally:
        logging.getLogger().disabled = was


def _left_out(network: Path, level: int) -> list[str]:
    """Names of the layers that stay in float32 at a level of `_LEVELS`."""
    if level == 0:
        return []
    layers = convolutions(network)
    names = [layer.name for k, layer in enumerate(layers) if k == 0 or layer.channels == 1]
    if level > 1:
        names += [layer.name for layer in layers if "/encoder/" not in layer.name]
    return names
