"""Where the time of a search goes: training steps, scoring, and what lies around them.

Target: on a CPU less than 10 % of the time between reading the data and the final evaluation is
spent outside forward and backward passes and optimizer steps, on a GPU less than 20 %. A pass that
scores validation images or fills a cache of features is a forward pass.
"""

import argparse
import functools
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import torch
from measuring import DATA, keep_to_cores, print_table

from autoseg import finishing, stages
from autoseg.config import SearchConfig, parse_duration
from autoseg.finishing import Finish
from autoseg.live import LivePictures
from autoseg.pipeline import run_search
from autoseg.search.journal import Journal
from autoseg.training.hardware import choose_device, wait_for
from autoseg.training.sources import FeatureSource, WindowSource
from autoseg.training.trainer import Trainer
from autoseg.training.trial import Trial

PASSES = ("forward and backward", "optimizer", "frozen stages", "scoring")
"""What counts as training."""
AROUND = ("before the first line", "reading the data", "test images", "report and model")
"""What a run does once, before and after the search."""

PARTS: tuple[tuple[Any, str, str], ...] = (
    (stages, "check", "reading the data"),
    (stages, "build_cache", "cache of images"),
    (stages, "affordable_pixels", "calibration"),
    (stages, "make_plan", "calibration"),
    (Trial, "__init__", "building networks"),
    (WindowSource, "draw", "windows, augmentation"),
    (FeatureSource, "draw", "cached features"),
    (FeatureSource, "_features_of", "frozen stages"),
    (Trainer, "_step", "optimizer"),
    (Trainer, "_accumulate", "forward and backward"),
    (Trial, "evaluate", "scoring"),
    (LivePictures, "offer", "live pictures"),
    (Journal, "add_point", "records"),
    (Journal, "save_result", "records"),
    (Journal, "record", "records"),
    (finishing, "predict_weights", "test images"),
    (finishing, "make_report", "report and model"),
    (Finish, "_draw_examples", "report and model"),
    (Finish, "_pack", "report and model"),
)
"""Functions by their owner, and the part of the time that theirs is; calls inside are taken off."""


@dataclass
class Watch:
    """Time by part, each without the parts that it called."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _open: list[str] = field(default_factory=list)
    _since: float = 0.0

    def switch(self) -> None:
        """Book the time since the last switch on the innermost open part."""
        if self._open and self.device.type != "cpu":
            wait_for(self.device)
        now = time.perf_counter()
        self.seconds[self._open[-1] if self._open else "all else"] += now - self._since
        self._since = now

    def start(self) -> None:
        """Begin; what the process did before is booked too."""
        self.seconds["before the first line"] = time.time() - psutil.Process().create_time()
        self._since = time.perf_counter()

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Book a function's time on a part from now on."""
        wanted: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(wanted)
        def watched(*args: Any, **kwargs: Any) -> Any:
            # Everything inside the calibration is calibration.
            inner = "calibration" if "calibration" in self._open else part
            self.switch()
            self._open.append(inner)
            try:
                return wanted(*args, **kwargs)
            finally:
                self.switch()
                self._open.pop()

        setattr(owner, name, watched)


def main() -> None:
    """Search once and print where the time went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=DATA / "coffee_leaf")
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    keep_to_cores(args.threads)
    torch.set_num_threads(args.threads)
    watch = Watch(choose_device(args.device))
    for owner, name, part in PARTS:
        watch.watch(owner, name, part)
    config = SearchConfig(
        budget_s=parse_duration(args.budget), device=args.device, warm_start=False
    )
    watch.start()
    before = watch.seconds["before the first line"]
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        result = run_search(
            args.source, config, Path(folder) / "run", started_at=time.monotonic() - before
        )
    watch.switch()
    whole = sum(watch.seconds.values())
    rows = [
        [part, f"{seconds:.1f}", f"{seconds / whole:.1%}"]
        for part, seconds in sorted(watch.seconds.items(), key=lambda item: -item[1])
    ]
    search_s = whole - sum(watch.seconds[part] for part in AROUND)
    outside_s = search_s - sum(watch.seconds[part] for part in PASSES)
    rows.append(["outside passes and steps", f"{outside_s:.1f}", f"{outside_s / search_s:.1%}"])
    score = result.report["model"]["scores"]["macro_iou"]["value"]
    print_table(
        f"{args.source.name}, {args.budget}, {watch.device}: {whole:.0f} s, macro IoU {score:.3f}",
        ("part", "seconds", "share"),
        rows,
    )


if __name__ == "__main__":
    main()
