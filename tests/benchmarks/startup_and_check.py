"""Time to the first word, and `autoseg check` against a bare loop that only decodes.

`autoseg --help` has 0.5 s. The check reads 5,000 images of 512x512, half JPEG and half PNG, with
index masks, and is compared with a two-process loop that decodes the same files and does nothing
with them; both times are those of whole processes. A ratio of 1 is disk-and-decode speed.
"""

import argparse
import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measuring import child_environment, keep_to_cores, print_table, run_child
from PIL import Image

DECODE = Path(__file__).parent / "peers" / "decode.py"
HELP_TARGET_S = 0.5
N_DISTINCT = 200
NUM_CLASSES = 4


def make_pair(seed: int, side: int, suffix: str) -> tuple[bytes, bytes]:
    """An image file of soft shapes with a little noise, and the file of its index mask."""
    rng = np.random.default_rng(seed)
    field = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))
    smooth = np.asarray(field.resize((side, side), Image.Resampling.BICUBIC))
    noisy = smooth.astype(np.int16) + rng.integers(-4, 5, smooth.shape)
    image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    mask = Image.fromarray(smooth[..., 0] // (256 // NUM_CLASSES))
    files = io.BytesIO(), io.BytesIO()
    image.save(files[0], "JPEG" if suffix == ".jpg" else "PNG")
    mask.save(files[1], "PNG")
    return files[0].getvalue(), files[1].getvalue()


def with_comment(data: bytes, text: str) -> bytes:
    """The same JPEG or PNG file with a comment in it, so that its hash differs."""
    comment = text.encode()
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + data[2:]
    body = b"tEXtComment\0" + comment
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:-12] + chunk + data[-12:]


def make_dataset(folder: Path, count: int, side: int) -> None:
    """Write `count` pairs, `N_DISTINCT` of them different to the eye, all different in bytes."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.txt").write_text("\n".join("abcdefgh"[:NUM_CLASSES]) + "\n")
    for kind in range(min(N_DISTINCT, count)):
        suffix = (".jpg", ".png")[kind % 2]
        image, mask = make_pair(kind, side, suffix)
        for k in range(kind, count, N_DISTINCT):
            (folder / "images" / f"{k:05}{suffix}").write_bytes(with_comment(image, str(k)))
            (folder / "masks" / f"{k:05}.png").write_bytes(with_comment(mask, str(k)))


def time_help(rounds: int, environment: dict[str, str]) -> float:
    """Best seconds of `autoseg --help`."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "autoseg", "--help"],
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        times.append(time.perf_counter() - started)
    return min(times)


def time_check(
    folder: Path, processes: int, rounds: int, environment: dict[str, str], log: Path
) -> tuple[float, float, int]:
    """Best seconds of `autoseg check` and of the bare loop, alternating; the check's memory."""
    ours, bare, peak = [], [], 0
    for _ in range(rounds):
        options = ["--processes", str(processes)]
        bare.append(run_child([str(DECODE), str(folder), *options], environment, log)[0])
        seconds, memory = run_child(["-m", "autoseg", "check", str(folder)], environment, log)
        ours.append(seconds)
        peak = max(peak, memory.private_bytes)
    return min(ours), min(bare), peak


def main() -> None:
    """Measure both and print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--processes", type=int, default=2, help="processes and cores of each")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    keep_to_cores(args.processes)
    environment = child_environment(args.processes)
    help_s = time_help(2 + args.rounds, environment)
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        make_dataset(folder / "data", args.count, args.side)
        ours, bare, peak = time_check(
            folder / "data", args.processes, args.rounds, environment, folder / "log.txt"
        )
    rows = [
        [
            "autoseg --help, s",
            f"{help_s:.2f}",
            f"{HELP_TARGET_S:.2f}",
            f"{help_s / HELP_TARGET_S:.2f}",
        ],
        ["check, s (against bare decoding)", f"{ours:.1f}", f"{bare:.1f}", f"{ours / bare:.2f}"],
        ["check, images/s", f"{args.count / ours:.0f}", f"{args.count / bare:.0f}", ""],
        ["check, private memory of all processes, MB", f"{peak / 1e6:.0f}", "", ""],
    ]
    print_table(
        f"Start and check of {args.count:,} images of {args.side}x{args.side}, "
        f"{args.processes} processes",
        ("", "ours", "reference", "ours / reference"),
        rows,
    )


if __name__ == "__main__":
    main()
