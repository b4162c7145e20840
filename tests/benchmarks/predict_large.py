"""A large image through the predictor: seconds, and memory beyond what the loaded model takes.

Random weights, few classes and many, resized into a box and at full scale. The memory includes the
decoded image and what is returned. Target: under 2 GB for 6000x4000.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import torch
from measuring import PeakMemory, child_environment, print_table, run_child
from PIL import Image

from autoseg.bundle import Bundle, BundleInfo
from autoseg.config import ClassInfo, Geometry, Recipe
from autoseg.encoders import find_encoder
from autoseg.model import build_model, decoders_for
from autoseg.predictor import Predictor
from autoseg.preprocessing import Preprocessing
from autoseg.training.hardware import Precision

TARGET_BYTES = 2e9
ENCODER = find_encoder("tf_efficientnet_lite0.in1k")
GEOMETRIES = {
    "box": Geometry(window=(512, 512), box=(1024, 1024)),
    "scale": Geometry(window=(512, 512), scale=1.0),
}


def make_image(path: Path, width: int, height: int) -> None:
    """Write a JPEG of soft colours."""
    field = np.random.default_rng(0).integers(0, 256, (24, 36, 3), np.uint8)
    Image.fromarray(field).resize((width, height), Image.Resampling.BILINEAR).save(path)


def make_predictor(num_classes: int, geometry: Geometry) -> Predictor:
    """A predictor with random weights on the CPU."""
    recipe = Recipe(ENCODER.name, geometry, decoder_name=decoders_for(ENCODER.name)[0])
    model = build_model(recipe.encoder_name, recipe.decoder_name, num_classes, pretrained=False)
    classes = ClassInfo(tuple(f"class {k}" for k in range(num_classes)), ((0, 0, 0),) * num_classes)
    info = BundleInfo(classes, Preprocessing(geometry, ENCODER.mean, ENCODER.std), recipe)
    model = model.eval().to(memory_format=torch.channels_last)
    return Predictor(Bundle(Path(), model, info), Precision(torch.device("cpu")))


def measure(path: Path, num_classes: int, geometry_name: str) -> None:
    """Predict once in this process; print seconds and extra bytes."""
    predictor = make_predictor(num_classes, GEOMETRIES[geometry_name])
    predictor.predict(np.zeros((256, 256, 3), np.uint8))  # Loads what is loaded lazily.
    before = psutil.Process().memory_info().rss
    started = time.perf_counter()
    with PeakMemory(interval_s=0.005) as memory:
        prediction = predictor.predict(path)
    seconds = time.perf_counter() - started
    assert prediction.mask.shape == Image.open(path).size[::-1]
    print(seconds, memory.resident_bytes - before)


def main() -> None:
    """Measure each case in a process of its own and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, nargs=2, default=(6000, 4000), metavar=("W", "H"))
    parser.add_argument("--classes", type=int, nargs="+", default=(3, 20))
    parser.add_argument("--geometry", nargs="+", choices=GEOMETRIES, default=tuple(GEOMETRIES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one-case", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one_case:
        torch.set_num_threads(args.threads)
        measure(args.one_case, args.classes[0], args.geometry[0])
        return
    rows = []
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_image(folder / "large.jpg", *args.size)
        for num_classes in args.classes:
            for geometry in args.geometry:
                run_child(
                    [__file__, "--one-case", str(folder / "large.jpg"), "--geometry", geometry]
                    + ["--classes", str(num_classes), "--threads", str(args.threads)],
                    child_environment(args.threads),
                    folder / "log.txt",
                )
                text = (folder / "log.txt").read_text(encoding="utf-8").split()
                seconds, extra = float(text[-2]), int(text[-1])
                rows.append(
                    [
                        f"{num_classes} classes, {geometry}",
                        f"{seconds:.1f}",
                        f"{extra / 1e9:.2f}",
                        f"{extra / TARGET_BYTES:.2f}",
                    ]
                )
    print_table(
        f"Prediction of {args.size[0]}x{args.size[1]}, {args.threads} threads",
        ("case", "seconds", "extra memory, GB", "extra / 2 GB"),
        rows,
    )


if __name__ == "__main__":
    main()
