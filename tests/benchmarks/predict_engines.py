"""`Predictor.predict` by each engine against a bare loop over the same network and photo.

A 1024x512 JPEG, EfficientNet-Lite0, by default at the photo's own size. A bare loop is what a user
writes who has the exported file: decode, resize, forward, logits to the photo's size, argmax; it
gives no confidence. All take turns in one process, so that what else the machine does hits all; the
least time of each counts. Target: at most 1.15 of the bare loop of the same engine.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measuring import DATA, keep_to_cores, print_table
from PIL import Image

from autoseg.bundle import Bundle, BundleInfo, load_bundle
from autoseg.config import ClassInfo, Geometry, Recipe
from autoseg.encoders import find_encoder
from autoseg.engines import import_openvino, is_installed
from autoseg.export import write_onnx
from autoseg.model import build_model
from autoseg.predictor import Predictor
from autoseg.preprocessing import Preprocessing
from autoseg.training.hardware import Precision

TARGET = 1.15
SIZE = (1024, 512)
ENCODER = find_encoder("tf_efficientnet_lite0.in1k")

Forward = Callable[[np.ndarray], np.ndarray]


def make_bundle(num_classes: int, scale: float) -> Bundle:
    """A model with random weights: its masks mean nothing, its time is a trained one's."""
    geometry = Geometry(window=(256, 256), scale=scale)
    recipe = Recipe(ENCODER.name, geometry)
    model = build_model(recipe.encoder_name, recipe.decoder_name, num_classes, pretrained=False)
    classes = ClassInfo(tuple(f"class {k}" for k in range(num_classes)), ((0, 0, 0),) * num_classes)
    info = BundleInfo(classes, Preprocessing(geometry, ENCODER.mean, ENCODER.std), recipe)
    return Bundle(Path(), model.eval().to(memory_format=torch.channels_last), info)


def bare_openvino(path: Path, size: tuple[int, int]) -> Forward:
    """OpenVINO as its documentation uses it, at one size, which is its fastest."""
    openvino = import_openvino()
    core = openvino.Core()
    model = core.read_model(str(path))
    model.reshape([1, 3, *size])
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda images: request.infer({0: images}, share_inputs=True, share_outputs=True)[0]


def bare_onnxruntime(path: Path) -> Forward:
    """ONNX Runtime as its documentation uses it."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session: Any = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(None, {"images": images})[0]


def bare_loop(forward: Forward, photo: Path, size: tuple[int, int]) -> np.ndarray:
    """The mask (H, W) uint8 of a photo, by the shortest code that gives it."""
    with Image.open(photo) as image:
        whole = image.convert("RGB")
    image = whole if whole.size == size[::-1] else whole.resize(size[::-1], Image.BILINEAR)
    images = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None]
    logits = torch.from_numpy(forward(np.ascontiguousarray(images)))
    if whole.size != size[::-1]:
        logits = torch.nn.functional.interpolate(logits, whole.size[::-1], mode="bilinear")
    # Eight times as fast on a CPU as `argmax`, which would flatter us.
    return logits.max(1).indices[0].byte().numpy()


def least_times(
    cases: dict[str, Callable[[], object]], rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Least wall time and least processor time of each case, in milliseconds."""
    wall, cpu = dict.fromkeys(cases, np.inf), dict.fromkeys(cases, np.inf)
    for case in cases.values():
        case()
        case()
    for _ in range(rounds):
        for name, case in cases.items():
            began, spent = time.perf_counter(), time.process_time()
            case()
            wall[name] = min(wall[name], 1000 * (time.perf_counter() - began))
            cpu[name] = min(cpu[name], 1000 * (time.process_time() - spent))
    return wall, cpu


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="Trained model; without it random weights.")
    parser.add_argument("--photo", type=Path, help="Without it one of ../shared/data, or noise.")
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="Working size by photo size.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    keep_to_cores(args.threads)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    bundle = load_bundle(args.model) if args.model else make_bundle(args.classes, args.scale)
    with TemporaryDirectory() as name, torch.inference_mode(False):
        photo = args.photo or next(DATA.glob("coffee_leaf/test/images/*.jpg"), None)
        if photo is None:
            photo = Path(name) / "photo.jpg"
            field = np.random.default_rng(0).integers(0, 256, (24, 48, 3), np.uint8)
            Image.fromarray(field).resize(SIZE, Image.Resampling.BICUBIC).save(photo)
        with Image.open(photo) as image:
            width, height = image.size
        shape = bundle.info.preprocessing.geometry.resized_shape(height, width)
        padded = (-(-shape[0] // 32) * 32, -(-shape[1] // 32) * 32)
        path = Path(name) / "model.onnx"
        write_onnx(bundle, path)
        loops: dict[str, Forward] = {}
        if is_installed("openvino"):
            loops["openvino"] = bare_openvino(path, padded)
        if is_installed("onnxruntime"):
            loops["onnxruntime"] = bare_onnxruntime(path)
        predictors = {
            engine: Predictor(bundle, Precision(torch.device("cpu")), engine)
            for engine in ("torch", *loops)
        }
        cases: dict[str, Callable[[], object]] = {
            f"autoseg {engine}": lambda p=p: p.predict(photo) for engine, p in predictors.items()
        }
        for engine, forward in loops.items():
            cases[f"bare {engine}"] = lambda f=forward: bare_loop(f, photo, padded)
        wall, cpu = least_times(cases, args.rounds)
    rows = [
        [
            case,
            f"{wall[case]:.1f}",
            f"{cpu[case]:.1f}",
            *(
                f"{times[case] / times[bare]:.2f}" if bare in times and bare != case else ""
                for times in (wall, cpu)
                for bare in [case.replace("autoseg", "bare")]
            ),
        ]
        for case in cases
    ]
    print_table(
        f"{width}x{height} at {shape[1]}x{shape[0]}, {args.threads} threads; target {TARGET}",
        ("case", "wall, ms", "cpu, ms", "wall / bare", "cpu / bare"),
        rows,
    )


if __name__ == "__main__":
    main()
