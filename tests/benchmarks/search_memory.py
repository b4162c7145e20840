"""Peak memory of a search on images of mixed sizes, all its processes together.

Target: under 4 GB on dsb2018 (664 images of 256x256 to 1388x1040).
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import DATA, child_environment, print_table, run_child

from autoseg.config import parse_duration

TARGET_BYTES = 4e9


def main() -> None:
    """Search once with a fresh cache and print the peak."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=DATA / "dsb2018")
    parser.add_argument("--budget", default="3m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    budget_s = parse_duration(args.budget)
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        seconds, memory = run_child(
            ["-m", "autoseg", "search", str(args.source.absolute()), "--budget", f"{budget_s}s"]
            + ["--run", str(folder / "run"), "--seed", str(args.seed), "--device", args.device],
            child_environment(args.threads, folder / "home"),
            folder / "log.txt",
        )
    peak = memory.resident_bytes
    rows = [
        ["peak resident, GB", f"{peak / 1e9:.2f}"],
        ["  without mapped files, GB", f"{memory.private_bytes / 1e9:.2f}"],
        ["target, GB", f"{TARGET_BYTES / 1e9:.2f}"],
        ["resident / target", f"{peak / TARGET_BYTES:.2f}"],
        ["wall time, s", f"{seconds:.1f}"],
    ]
    print_table(f"Memory of a search, {args.source.name}, {budget_s:g} s", ("", "value"), rows)


if __name__ == "__main__":
    main()
