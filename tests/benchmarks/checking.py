"""Speed of `autoseg check` against bare decoding of the same files, both on two processes.

Run by hand: python tests/benchmarks/checking.py [PAIRS]
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from autoseg.data.dataset import check_dataset
from autoseg.data.images import write_jpeg, write_png
from autoseg.data.sample import make_scene

WORKERS = 2


def decode(paths: tuple[Path, Path]) -> int:
    """What any reader must do: two files to two arrays."""
    with Image.open(paths[0]) as image, Image.open(paths[1]) as mask:
        return np.asarray(image.convert("RGB")).size + np.asarray(mask).size


def write_pairs(root: Path, number: int) -> list[tuple[Path, Path]]:
    """Scenes of 512x512, shifted so that no two files are the same."""
    scenes = [make_scene(np.random.default_rng([5, index]), (512, 512)) for index in range(40)]
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    pairs = []
    for index in range(number):
        shift = (index // 40 * 37, index // 40 * 53)
        image, mask = (np.roll(array, shift, (0, 1)) for array in scenes[index % 40])
        pairs.append((root / "images" / f"{index:05d}.jpg", root / "masks" / f"{index:05d}.png"))
        write_jpeg(image, pairs[-1][0])
        write_png(mask, pairs[-1][1])
    return pairs


def cpu_s() -> float:
    """Processor time of this process and of those that ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main(number: int) -> None:
    """Print seconds, ratios and peak memory of three rounds."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        pairs = write_pairs(root, number)
        for _ in range(3):
            start, start_cpu = time.perf_counter(), cpu_s()
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
                list(pool.map(decode, pairs, chunksize=16))
            bare_s, bare_cpu_s = time.perf_counter() - start, cpu_s() - start_cpu
            start, start_cpu = time.perf_counter(), cpu_s()
            check_dataset(root, max_workers=WORKERS)
            check_s, check_cpu_s = time.perf_counter() - start, cpu_s() - start_cpu
            peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{number} pairs: bare {bare_s:.1f} s, check {check_s:.1f} s, "
                f"ratio {bare_s / check_s:.2f} by the clock, {bare_cpu_s / check_cpu_s:.2f} by "
                f"processor time; peak memory {peak_mib:.0f} MiB"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
