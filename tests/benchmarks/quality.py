"""Quality for time: autoseg against what others would do with the same minutes.

All sides get the same split, the same ImageNet weights, the same threads and the same wall-clock
budget, run one after the other in processes of their own with fresh caches, and are scored by one
evaluator on the same test images at the images' own size:

smp      the loop of smp's own example (FPN, Adam, cosine, Dice, crops of 320x320)
expert   an expert's version of it (half size, one-cycle over the budget, images in memory)
fastai   unet_learner, lr_find, fine_tune
optuna   textbook Optuna (TPE, median pruner, fixed epochs) around smp's example
default  autoseg without a search: one trial of its first recipe, trained to the end
autoseg  autoseg

The peers get ready index masks and may predict after their budget, which counts from the start of
their process, imports and reading included. autoseg's budget holds all that too, and the checking
of the data, the evaluation and the writing of the model. Peers need `pip install -e .[bench]`.

Each cell is one line added to `--results`; those that are there already are not run again, so an
interrupted run goes on by the same command. `--report` only tells what the file holds.
"""

import argparse
import os
import sys
from datetime import UTC, datetime
from itertools import groupby, product
from pathlib import Path

from measuring import keep_to_cores
from quality_results import append_result, plot, print_report, read_results
from quality_sides import OWN_SIDES, SIDES, Cell, Data, commit, machine, measure, prepared

from autoseg.config import parse_duration

DATASETS = ("coffee_leaf", "dsb2018")


def wanted_cells(args: argparse.Namespace) -> list[Cell]:
    """All cells asked for, by data and seed, then by budget."""
    budgets = [parse_duration(text) for text in args.budget]
    return [
        Cell(side, dataset, subset, budget_s, seed, args.threads, args.device, args.max_side)
        for seed, dataset, subset, budget_s, side in product(
            args.seeds, args.datasets, args.subset, budgets, args.sides
        )
    ]


def sources(names: list[str]) -> dict[str, str]:
    """Where each data set comes from, by the name that its results bear."""
    return {Path(name).name if Path(name).exists() else name: name for name in names}


def run_cell(data: Data, cell: Cell, file: Path) -> bool:
    """Measure one cell and add its line; whether it could be done."""
    busy = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    began = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        facts = measure(data, cell)
    except SystemExit as error:
        print(f"{cell}\n{error}", file=sys.stderr, flush=True)
        return False
    about = {"date": began, "commit": commit(), "machine": machine(), "load_before": busy}
    append_result(file, cell, {**about, **facts})
    print(
        f"  {cell.budget_s:g} s {cell.side}: macro IoU {100 * facts['macro_iou']:.2f}, imagewise "
        f"{100 * facts['macro_imagewise_iou']:.2f}, {facts['wall_s']:.0f} s, {facts['remark']}",
        flush=True,
    )
    return True


def run(args: argparse.Namespace) -> bool:
    """Run the cells that are missing; whether all could be done."""
    where = sources(args.datasets)
    args.datasets = list(where)
    done = read_results(args.results)
    missing = [cell for cell in wanted_cells(args) if cell not in done or cell.side in args.again]
    print(f"{len(missing)} cells to run, {sum(cell.budget_s for cell in missing) / 3600:.1f} h")
    fine = True
    for (name, subset, seed), cells in groupby(missing, lambda c: (c.dataset, c.subset, c.seed)):
        with prepared(where[name], subset, seed) as data:
            sizes = ", ".join(
                f"{p} {len(getattr(data.splits, p))}" for p in ("train", "val", "test")
            )
            print(f"{name}, seed {seed}: {sizes}", flush=True)
            fine = all([run_cell(data, cell, args.results) for cell in cells]) and fine
    return fine


def numbers(text: str) -> list[int]:
    """Whole numbers with commas between them."""
    return [int(number) for number in text.split(",")]


def words(text: str) -> list[str]:
    """Words with commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--budget", type=words, default=["6m"], help="such as 2m,6m,20m")
    add("--datasets", nargs="+", default=DATASETS, help="names, folders, sample or sample-N scenes")
    add("--seeds", type=numbers, default=[0], help="such as 0,1,2: of splits and trainings")
    add(
        "--subset",
        type=lambda text: [None if word == "all" else int(word) for word in words(text)],
        default=[None],
        help="such as 20,100,all: labelled images drawn from train, val included; test stays",
    )
    add("--sides", type=words, default=list(SIDES), help=f"some of {','.join(SIDES)}")
    add("--again", type=words, default=[], help="sides that are run again where there are results")
    add("--threads", type=int, default=2, help="threads and cores of each side")
    add("--device", default="cpu", help="torch device of all sides")
    add(
        "--max-side",
        type=int,
        help="of images as autoseg works on them: more steps in one budget; with "
        f"--sides {','.join(OWN_SIDES)}",
    )
    add("--results", type=Path, required=True, help="JSONL file that results are added to")
    add("--report", action="store_true", help="run nothing: print the table of what is there")
    add("--plot", type=Path, help="file for the plot of score against budget (.svg, .png)")
    args = parser.parse_args()
    if unknown := {*args.sides, *args.again} - set(SIDES):
        parser.error(f"no such side: {', '.join(sorted(unknown))}")
    others = set(args.sides) - set(OWN_SIDES)
    if args.max_side is not None and others and not args.report:
        parser.error(f"--max-side means nothing to {', '.join(sorted(others))}")
    return args


def main() -> None:
    """Run what is missing, then report all there is."""
    args = parse()
    keep_to_cores(args.threads)
    fine = args.report or run(args)
    results = read_results(args.results)
    if results:
        print_report(results)
        if args.plot:
            plot(results, args.plot)
    if not fine:
        raise SystemExit("some cells failed: the same command tries them again")


if __name__ == "__main__":
    main()
