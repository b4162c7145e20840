"""Memory of a search after each trial: it must not grow with their number.

Target: after trial 50 within 5 % of what it is after trial 5, without mapped files; on a GPU the
same of its tensors. The trials are those of a search, short ones on a generated data set: sampler,
decoder starts, pruning, records, weights and live pictures as in a run.

Measured on 2 cores: 612 MB after trial 5, 624 MB after trial 50 (1.019), between 575 and 640 MB.
"""

import argparse
import gc
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch
from measuring import PeakMemory, keep_to_cores, print_table

from autoseg.config import Geometry
from autoseg.data.cache import build_cache
from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.live import LivePictures
from autoseg.search.bench import Bench
from autoseg.search.budget import Clock, EncoderCost, Plan
from autoseg.search.journal import Journal
from autoseg.search.loop import SearchLoop
from autoseg.search.run_folder import RunFolder
from autoseg.search.space import SearchSpace
from autoseg.search.study import Study
from autoseg.training.hardware import choose_device
from autoseg.training.trial import TrainingData

ENCODERS = ("tf_efficientnet_lite0.in1k", "tf_efficientnet_lite1.in1k")
DECODERS = ("fpn", "unet", "segformer")
TARGET_RATIO = 1.05
FIRST = 5
"""Trial that the others are compared with."""

SHOWN_EVERY = 5
SIDE = 64
BUDGET_S = 3600.0


def make_loop(folder: Path, args: argparse.Namespace) -> SearchLoop:
    """A search whose plan is given, so that trials are short and no early end is planned."""
    dataset = check_dataset(make_sample_dataset(folder / "sample", args.images, size=(SIDE, SIDE)))
    geometry = Geometry(window=(SIDE, SIDE), scale=1.0)
    cache = build_cache(dataset, geometry, folder / "cache")
    n_train = args.images * 2 // 3
    train, val = tuple(range(n_train)), tuple(range(n_train, args.images))
    data = TrainingData(cache, train, val, dataset.classes.num_classes)
    space = SearchSpace(
        tuple(args.encoders), geometry, DECODERS, batch_size=4, epochs=2.0, expected_trials=50
    )
    costs = dict.fromkeys(args.encoders, EncoderCost(1e-3, 1e-3, 1e-3, 1e-3, bf16=False))
    plan = Plan(space, costs, 100.0, BUDGET_S, BUDGET_S, args.trials, 2 * n_train, n_train, val, 1)
    run = RunFolder(folder / "run")
    run.path.mkdir()
    device = choose_device(args.device)
    bench = Bench(data, plan, device, 0, run.path / "decoders", keep_going=lambda: True)
    journal = Journal(run, Clock(BUDGET_S, time.monotonic()), pid=os.getpid())
    journal.on_result = LivePictures(
        run, dataset, bench, lambda number: journal.trials[number].recipe, BUDGET_S
    ).offer
    return SearchLoop(Study(run.study, space, 0), bench, journal, lambda: BUDGET_S)


def private_bytes() -> int:
    """Memory of this process now, without mapped files."""
    gc.collect()
    with PeakMemory(interval_s=60) as memory:
        return memory.private_bytes


def main() -> None:
    """Run trials, look after each one, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--images", type=int, default=12, help="of the generated data set")
    parser.add_argument("--encoders", nargs="+", default=ENCODERS, metavar="NAME")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.trials <= FIRST:
        parser.error(f"--trials must be more than {FIRST}")
    keep_to_cores(args.threads)
    torch.set_num_threads(args.threads)
    found: list[int] = []
    on_gpu: list[int] = []
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        loop = make_loop(Path(name), args)
        device = loop.bench.device
        started = time.monotonic()
        for number in range(args.trials):
            loop.run_one()
            found.append(private_bytes())
            on_gpu.append(torch.cuda.memory_allocated(device) if device.type == "cuda" else 0)
            trial = loop.journal.trials[number]
            print(
                f"{number + 1:3d}  {found[-1] / 1e6:6.0f} MB  GPU {on_gpu[-1] / 1e6:.0f} MB  "
                f"{time.monotonic() - started:4.0f} s  {trial.status}  "
                f"{trial.recipe.encoder_name} {trial.recipe.decoder_name} "
                f"depth {trial.recipe.frozen_depth}",
                flush=True,
            )
        loop.journal.close("finished", "")
    shown = [n for n in range(FIRST, args.trials + 1) if n % SHOWN_EVERY == 0 or n == args.trials]
    rows = [
        [
            str(n),
            f"{found[n - 1] / 1e6:.0f}",
            f"{found[n - 1] / found[FIRST - 1]:.3f}",
            f"{on_gpu[n - 1] / 1e6:.1f}",
        ]
        for n in shown
    ]
    title = f"Memory of a search, {psutil.cpu_count()} cores, {device}; target {TARGET_RATIO}"
    print_table(title, ("trials ended", "MB", f"/ trial {FIRST}", "MB on the GPU"), rows)


if __name__ == "__main__":
    main()
