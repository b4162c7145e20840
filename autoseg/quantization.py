"""A model in int8, calibrated on training images and accepted by its validation mIoU.

Weights are rounded per channel, activations by the least and greatest values seen ("static
quantization", Jacob et al. 2018, section 3), where a ReLU follows a layer after it (section 2.4):
rounding before ReLU6 as well spends most of the 256 steps on values that it cuts off, which cost
0.9 points of mIoU on coffee_leaf instead of 0.04. ONNX Runtime quantizes; OpenVINO reads its file.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from autoseg.bundle import Bundle
from autoseg.config import from_dict
from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits, make_splits
from autoseg.engines import (
    Engine,
    EngineName,
    TorchEngine,
    has_bf16,
    load_engine,
    said_by,
)
from autoseg.errors import AutosegError, BundleError, DatasetError
from autoseg.export import (
    check_can_export,
    check_openvino_path,
    convolutions,
    describe_onnx,
    place_openvino,
    takes_any_size,
    write_onnx,
)
from autoseg.files import autoseg_home, replacing
from autoseg.inference import segment
from autoseg.int8_files import Int8Note, accept_int8, int8_note_text, weights_digest
from autoseg.metrics import confusion_matrix, iou, macro
from autoseg.preprocessing import pad_image, round_up
from autoseg.resizing import resize_image
from autoseg.search.run_folder import RunFolder
from autoseg.sources import check
from autoseg.training.hardware import Precision

MAX_DROP = 0.003
"""Largest accepted loss of validation mIoU: 0.3 points."""

_CALIBRATION_IMAGES = 32
"""Training images whose activations are looked at."""

_JUDGED_IMAGES = 500
"""Validation images by which a level is judged, at most."""


@dataclass(frozen=True)
class Level:
    """What of a network is quantized."""

    layers: str
    """In words."""
    outputs: bool = False
    """Whether what layers give is rounded too, which is fastest; else only what they read."""
    first_and_depthwise: bool = False
    """Whether the first layer and depthwise ones are: where few products are summed up, their
    rounding errors cancel least."""
    decoder: bool = False
    """Whether the layers outside the encoder are."""


LEVELS = (
    Level("every layer", outputs=True, first_and_depthwise=True, decoder=True),
    Level("what every layer reads", first_and_depthwise=True, decoder=True),
    Level("what dense layers read", decoder=True),
    Level("what the encoder's dense layers read"),
)
"""Tried in this order until the loss is small enough."""


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

    The accepted file is recorded in `AUTOSEG_HOME`: predictions on this machine use no other.

    Raises:
        BundleError: A package is missing, the network takes one size only or cannot be quantized,
            the loss is greater (nothing is written), or the file cannot be written or recorded.
    """
    check_can_export("onnxruntime")
    check_can_export(engine)
    if engine == "openvino":
        check_openvino_path(path)  # Before minutes of calibrating.
    if not takes_any_size(bundle):
        raise BundleError("Networks that take images of one size only are not exported in int8.")
    own = TorchEngine(bundle.model, bundle.info.preprocessing, Precision(torch.device("cpu")))
    before = _miou(own, bundle, data)
    say(f"Validation mIoU {before:.2%} on {len(_judged(data))} images.")
    images = _calibration_images(bundle, data)
    best: float | None = None
    with TemporaryDirectory() as name:
        source, target = Path(name) / "model.onnx", Path(name) / "int8.onnx"
        _prepare(bundle, source)
        for level in LEVELS:
            try:
                _quantize(source, target, images, level)
                after = _miou_in_int8(target, engine, bundle, data)
            except AutosegError:
                raise
            except Exception as error:  # A layer that it does not know; each has its own errors.
                say(f"{level.layers.capitalize()} cannot be in int8: {said_by(error)}")
                continue
            say(f"With {level.layers} in int8 {after:.2%}.")
            if before - after <= MAX_DROP:
                found = Quantized(path, before, after, level.layers)
                _place(bundle, target, found, engine)
                return found
            best = max(best or 0.0, after)
    if best is None:
        raise BundleError(
            f"This model cannot be quantized, or not so that {engine} computes it. Export it "
            f"without int8."
        )
    raise BundleError(
        f"In int8 the model loses too much: validation mIoU {before:.2%} before and {best:.2%} "
        f"after, and at most {MAX_DROP * 100:.1f} points are accepted. Nothing was written; "
        f"export it without int8."
    )


def _place(bundle: Bundle, source: Path, found: Quantized, engine: EngineName) -> None:
    """Put the accepted network where it belongs, whole or not at all, and record it."""
    note = Int8Note(weights_digest(bundle), found.miou_before, found.miou_after, found.layers)
    text = int8_note_text(bundle, note)
    if engine == "openvino":
        place_openvino(source, found.path, text, lambda file: None)  # It was judged just now.
    else:
        try:
            with replacing(found.path) as temporary:
                temporary.write_bytes(source.read_bytes())
                describe_onnx(temporary, text)
        except OSError as error:
            raise BundleError(f"{found.path} cannot be written: {error}") from error
    try:
        accept_int8(found.path, engine, note)
    except OSError as error:
        raise BundleError(
            f"{found.path} was written, but predictions will not use it: that it was accepted "
            f"cannot be recorded in {autoseg_home()}: {error}"
        ) from error


def _miou_in_int8(
    network: Path, engine: EngineName, bundle: Bundle, data: CalibrationData
) -> float:
    """The mIoU of a quantized network; the least, where a machine has several ways to compute it.

    What is left in float, OpenVINO by itself computes in bfloat16 where the processor has it.

    Raises:
        Exception: Whatever an engine says that cannot compute it in each of these ways.
    """
    return min(
        _miou(load_engine(engine, network, bf16=bf16), bundle, data)
        for bf16 in ((False, True) if has_bf16(engine) else (False,))
    )


def _judged(data: CalibrationData) -> list[int]:
    """The validation images, evenly picked where there are very many."""
    return _evenly(data.splits.val, _JUDGED_IMAGES)


def _evenly(images: Sequence[int], most: int) -> list[int]:
    picked = np.linspace(0, len(images) - 1, min(len(images), most)).round()
    return [images[position] for position in picked.astype(int).tolist()]


def _miou(engine: Engine, bundle: Bundle, data: CalibrationData) -> float:
    """Mean IoU over classes of all pixels of the validation images, in [0, 1]."""
    dataset, confusions = data.dataset, []
    for i in _judged(data):
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
    images = []
    for i in _evenly(data.splits.train, _CALIBRATION_IMAGES):
        image = data.dataset.image(i)
        resized = np.array(resize_image(image, bundle.info.preprocessing.geometry))
        pixels = torch.from_numpy(resized).permute(2, 0, 1)[None]
        height, width = pixels.shape[-2:]
        images.append(pad_image(pixels, round_up(height), round_up(width)).numpy())
    return images


def _prepare(bundle: Bundle, path: Path) -> None:
    """Write a network as ONNX, its batch norms folded into the layers before them.

    Raises:
        BundleError: It cannot be exported, or ONNX Runtime cannot make it ready for quantizing.
    """
    # It comes with the extra "onnx" only.
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    write_onnx(bundle, path)
    try:
        with _quiet():
            quant_pre_process(str(path), str(path), skip_symbolic_shape=True)
    except Exception as error:  # ONNX Runtime's, or what Python says of a graph it did not expect.
        raise BundleError(
            f"The model in {bundle.path} cannot be quantized: {said_by(error)} Export it without "
            f"int8."
        ) from error


def _quantize(source: Path, target: Path, images: Sequence[np.ndarray], level: Level) -> None:
    """Write a network with int8 weights and uint8 activations.

    Only layers with weights and the ReLUs behind them are quantized: the exporter computes sizes in
    floats too, which rounding would change.
    """
    # They come with the extra "onnx" only.
    from onnxruntime.quantization import (  # noqa: PLC0415
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self._left, None)
            return None if image is None else {"images": image.astype(np.float32)}

    layers, relus = ["Conv", "MatMul", "Gemm"], ["Relu", "Clip"]
    with _quiet():
        quantize_static(
            str(source),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            # ReLUs can be folded into the rounding only where zero is its least value.
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=layers + relus if level.outputs else layers,
            nodes_to_exclude=_left_out(source, level),
            extra_options={} if level.outputs else {"OpTypesToExcludeOutputQuantization": layers},
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises developers through the root logger."""
    logger = logging.getLogger()
    logger.disabled, was = True, logger.disabled
    try:
        yield
    finally:
        logger.disabled = was


def _left_out(network: Path, level: Level) -> list[str]:
    """Names of the layers that stay in float32."""
    layers = convolutions(network)
    names: list[str] = []
    if not level.first_and_depthwise:
        names += [layer.name for k, layer in enumerate(layers) if k == 0 or layer.channels == 1]
    if not level.decoder:
        names += [layer.name for layer in layers if "/encoder/" not in layer.name]
    return names
