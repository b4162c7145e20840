"""The command that searches."""

from dataclasses import replace
from typing import Annotated

import typer

from autoseg.cli_data import Mapping, Source, fetch, parse_choice, parse_pair
from autoseg.config import (
    FlipName,
    SearchConfig,
    parse_duration,
    parse_latency,
    refuse_idle_options,
)

_Budget = Annotated[str, typer.Option(help="Time from now to the model on disk: 90s, 6m, 1h30m.")]
_Run = Annotated[
    str | None,
    typer.Option(help="Name or folder of the run (else an interrupted one, else a new one)."),
]
_Seed = Annotated[int, typer.Option(help="Seed of splits, sampler and training.")]
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
_Encoders = Annotated[
    list[str] | None,
    typer.Option(
        help="Encoders or families, with commas (else four, on a GPU six, as far as their weights "
        "are here)."
    ),
]
_Trials = Annotated[
    int | None,
    typer.Option(
        "--trials",
        help="Most trials, failed ones not counted. More than one: compare recipes in a short "
        "budget too.",
    ),
]
_MaxSide = Annotated[
    int | None, typer.Option(help="Most pixels of the longer side at working size.")
]
_MaxLatency = Annotated[
    str | None, typer.Option(help="Longest time of one image on this machine: 20ms, 0.5s.")
]
_Flip = Annotated[
    FlipName | None,
    typer.Option(help="Flips that keep every class what it is (else from names and masks)."),
]
_AllowNoncommercial = Annotated[
    bool,
    typer.Option("--allow-noncommercial", help="Also search weights that forbid commercial use."),
]
_Weights = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ENCODER=FILE", help="safetensors file of pretrained weights; repeatable."
    ),
]
_Color = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS=#RRGGBB", help="Colour of a class; repeatable."),
]
_StartFrom = Annotated[
    str | None,
    typer.Option(help="Train this model on instead of searching: a run, a folder, OWNER/NAME."),
]
_NoWarmStart = Annotated[
    bool,
    typer.Option("--no-warm-start", help="Do not try early what won earlier runs on similar data."),
]


def search(
    context: typer.Context,
    source: Source,
    budget: _Budget,
    run: _Run = None,
    seed: _Seed = 0,
    device: _Device = "auto",
    encoders: _Encoders = None,
    n_trials: _Trials = None,
    max_side: _MaxSide = None,
    max_latency: _MaxLatency = None,
    flip: _Flip = None,
    allow_noncommercial: _AllowNoncommercial = False,
    weights: _Weights = None,
    mapping: Mapping = None,
    color: _Color = None,
    start_from: _StartFrom = None,
    no_warm_start: _NoWarmStart = False,
) -> None:
    """Find and train the best model for a data set in the time given.

    Ctrl-C once finishes with the best so far; twice leaves at once. The same command goes on with
    a run that was interrupted or paused. While another search has the device, it waits its turn.
    """
    names = (name.strip() for text in encoders or () for name in text.split(","))
    config = SearchConfig(
        budget_s=parse_duration(budget),
        seed=seed,
        device=device,
        encoders=tuple(name for name in names if name),
        n_trials=n_trials,
        max_side=max_side,
        max_latency_ms=parse_latency(max_latency) if max_latency else None,
        flip=flip,
        allow_noncommercial=allow_noncommercial,
        weights_files=tuple(
            parse_pair(text, "--weights", "ENCODER=FILE") for text in weights or ()
        ),
        mapping=tuple(parse_choice(text) for text in mapping or ()),
        colors=tuple(parse_pair(text, "--color", "CLASS=#RRGGBB") for text in color or ()),
        start_from=start_from or None,
        warm_start=not no_warm_start,
    )
    refuse_idle_options(config, as_options=True)
    if start_from:
        config = replace(config, start_from=_locate(start_from))
    from autoseg import console  # noqa: PLC0415 - torch, optuna
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    path = fetch(source)
    workspace = Workspace()
    folder = workspace.run(run).path if run else workspace.name_run(path, config)
    console.run(path, config, folder, context.obj)


def _locate(model: str) -> str:
    """The folder of a model that is named as `predict` has it."""
    from autoseg.continuing import locate_start  # noqa: PLC0415 - torch
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    return locate_start(Workspace().model_source(model))
