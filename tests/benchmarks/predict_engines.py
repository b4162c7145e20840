"""`Predictor.predict` by each engine against a bare loop over the same network and photo.

A 1024x512 JPEG, EfficientNet-Lite0, by default at the photo's own size, in float (bfloat16 where an
engine's masks allow it, the table says which) and in int8. A bare loop is what a user writes who
has the exported file: decode, resize, forward, logits to the photo's size, argmax; it gives no
confidence. All take turns in one process, so that what else the machine does hits all; the least
time of each counts. Target: at most 1.15 of the bare loop of the same engine.

The model must be trained: the classes of random weights are nearly tied, so bfloat16 would give
more than 0.1 % of the pixels another class, and autoseg would compute in float32 beside a bare loop
in bfloat16.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from measuring import DATA, keep_to_cores, print_table
from PIL import Image

import autoseg
from autoseg.bundle import Bundle, load_bundle
from autoseg.engine_choice import prepare
from autoseg.engines import (
    Engine,
    EngineName,
    TorchEngine,
    disagreement,
    has_bf16,
    import_openvino,
    is_installed,
    load_engine,
)
from autoseg.errors import BundleError
from autoseg.export import write_onnx
from autoseg.predictor import Predictor, find_bundle
from autoseg.preprocessing import pad_image, round_up
from autoseg.quantization import calibration_data, export_int8
from autoseg.resizing import resize_image
from autoseg.training.hardware import Precision

TARGET = 1.15
LEAVES = DATA / "coffee_leaf"
CPU = Precision(torch.device("cpu"))

Forward = Callable[[np.ndarray], np.ndarray]


def trained_model(folder: Path, budget: str) -> Path:
    """A model of the leaves, trained for a short while at their full size."""
    run = folder / "run"
    autoseg.search(LEAVES, budget=budget, run=run, encoders=["tf_efficientnet_lite0.in1k"])
    return run


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


def network_input(bundle: Bundle, photo: Path) -> torch.Tensor:
    """The photo (1, 3, h, w) uint8 as the network sees it."""
    with Image.open(photo) as image:
        resized = resize_image(np.asarray(image.convert("RGB")), bundle.info.preprocessing.geometry)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)[None]
    return pad_image(pixels, *(round_up(side) for side in pixels.shape[-2:]))


def bare_forward(engine: EngineName, path: Path, size: tuple[int, int]) -> Forward:
    """A runtime with a file, as its documentation uses it."""
    return bare_openvino(path, size) if engine == "openvino" else bare_onnxruntime(path)


def predictor_by(bundle: Bundle, engine: Engine) -> Predictor:
    """A predictor that computes by that engine, whether it would choose it or not."""
    predictor = Predictor(bundle, CPU)
    vars(predictor)["_network"] = engine
    return predictor


def in_int8(bundle: Bundle, engine: EngineName, folder: Path, data: Path) -> Path | None:
    """The file that `autoseg export --int8` writes, calibrated on at most a few images."""
    path = folder / ("int8.xml" if engine == "openvino" else "int8.onnx")
    try:
        return export_int8(bundle, path, engine, calibration_data(bundle, str(data)), print).path
    except BundleError as error:
        print(f"No int8 by {engine}: {error}")
        return None


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="Run or model; else one is trained now.")
    parser.add_argument("--budget", default="2m", help="Time to train it, if none is given.")
    parser.add_argument("--data", type=Path, default=LEAVES, help="The model's data, for int8.")
    parser.add_argument("--photo", type=Path, help="Else the first test image of the leaves.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    photo = args.photo or next(LEAVES.glob("test/images/*.jpg"), None)
    if photo is None or (args.model is None and not LEAVES.is_dir()):
        parser.error(f"{LEAVES} is not here: name a trained --model and a --photo.")
    keep_to_cores(args.threads)
    torch.set_num_threads(args.threads)
    with TemporaryDirectory() as name, torch.inference_mode(False):
        os.environ["AUTOSEG_HOME"] = name  # What was found out about engines before is not asked.
        model = args.model or trained_model(Path(name), args.budget)
        # Beside the model may lie a file in int8; here the engines are first seen without it.
        bundle = replace(load_bundle(find_bundle(model)), path=Path(name))
        measure(bundle, photo, args.data, Path(name), args.rounds)


def measure(bundle: Bundle, photo: Path, data: Path, folder: Path, rounds: int) -> None:
    """Time all cases for one model and photo, and print the table."""
    pixels = network_input(bundle, photo)
    size = (pixels.shape[2], pixels.shape[3])
    own = TorchEngine(bundle.model, bundle.info.preprocessing, CPU)
    engines: dict[str, Engine] = {"torch": own}
    cases: dict[str, Callable[[], object]] = {}
    precisions = {"torch": "float32"}
    network = folder / "model.onnx"
    write_onnx(bundle, network)
    names: tuple[EngineName, ...] = ("openvino", "onnxruntime")
    for name in filter(is_installed, names):
        chosen, verdict = prepare(bundle, own, name, [pixels])
        if chosen is None:
            print(f"{name} does not give torch's masks.")
            continue
        engines[name], precisions[name] = chosen, "bfloat16" if verdict.bf16 else "float32"
        cases[f"bare {name}"] = bare_case(bare_forward(name, network, size), photo, size)
        quantized = in_int8(bundle, name, folder, data)
        if quantized is not None:
            bf16 = has_bf16(name)
            engines[f"{name} int8"] = load_engine(name, quantized, bf16=bf16, int8=True)
            precisions[f"{name} int8"] = "int8, bfloat16" if bf16 else "int8, float32"
            cases[f"bare {name} int8"] = bare_case(bare_forward(name, quantized, size), photo, size)
    with torch.inference_mode():
        wanted = own(pixels)
        others = {name: disagreement(wanted, engine(pixels)) for name, engine in engines.items()}
    for name, engine in engines.items():
        cases[f"autoseg {name}"] = predicting(predictor_by(bundle, engine), photo)
    wall, cpu = least_times(cases, rounds)
    rows = []
    for case in sorted(cases, key=lambda case: case.split(" ", 1)[::-1]):
        whose, name = case.split(" ", 1)
        bare = f"bare {name}"
        told = (precisions[name], f"{others[name]:.3%}") if whose == "autoseg" else ("its own", "")
        ratios = [
            f"{times[case] / times[bare]:.2f}" if whose == "autoseg" and bare in times else ""
            for times in (wall, cpu)
        ]
        rows.append([case, told[0], f"{wall[case]:.1f}", f"{cpu[case]:.1f}", *ratios, told[1]])
    print_table(
        f"network input {size[1]}x{size[0]}, {torch.get_num_threads()} threads; target {TARGET}",
        ("case", "precision", "wall, ms", "cpu, ms", "wall / bare", "cpu / bare", "other pixels"),
        rows,
    )


def bare_case(forward: Forward, photo: Path, size: tuple[int, int]) -> Callable[[], object]:
    """The bare loop, to be timed."""
    return lambda: bare_loop(forward, photo, size)


def predicting(predictor: Predictor, photo: Path) -> Callable[[], object]:
    """One prediction, to be timed."""
    return lambda: predictor.predict(photo)


if __name__ == "__main__":
    main()
