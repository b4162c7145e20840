"""A bare loop that decodes every image and mask of a folder in as many processes as asked."""

import argparse
import multiprocessing
import time
from pathlib import Path

import numpy as np
from PIL import Image


def decode(paths: tuple[Path, Path]) -> int:
    """Decode an image and its mask; the number of values read."""
    image = np.asarray(Image.open(paths[0]).convert("RGB"))
    return image.size + np.asarray(Image.open(paths[1])).size


def main() -> None:
    """Decode everything and print the seconds, the start of the processes included."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    images = sorted((args.folder / "images").iterdir())
    pairs = [(path, args.folder / "masks" / f"{path.stem}.png") for path in images]
    started = time.monotonic()
    with multiprocessing.Pool(args.processes) as pool:
        total = sum(pool.imap(decode, pairs, chunksize=16))
    assert total > 0
    print(time.monotonic() - started)


if __name__ == "__main__":
    main()
