"""What `autoseg.search(...)`, `trials(...)`, `take(...)` and `deploy(...)` do."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoseg.config import (
    FlipName,
    SearchConfig,
    parse_duration,
    parse_latency,
    refuse_idle_options,
)
from autoseg.continuing import locate_start
from autoseg.hub.connection import connect
from autoseg.hub.spaces import WAIT_S, Deployed, DeployOptions, plan_deploy
from autoseg.hub.spaces import deploy as deploy_plan
from autoseg.pipeline import SearchResult, run_search
from autoseg.sources import local_source
from autoseg.taking import FinishedTrial, finished_trials
from autoseg.workspace import Workspace


def search(
    source: str | Path,
    *,
    budget: str | float,
    run: str | Path | None = None,
    seed: int = 0,
    device: str = "auto",
    encoders: Sequence[str] = (),
    n_trials: int | None = None,
    max_side: int | None = None,
    max_latency: str | float | None = None,
    flip: FlipName | None = None,
    allow_noncommercial: bool = False,
    weights_files: Mapping[str, str] | None = None,
    mapping: Mapping[str, str] | None = None,
    colors: Mapping[str, str] | None = None,
    start_from: str | Path | None = None,
    warm_start: bool = True,
) -> SearchResult:
    """Find and train the best model for a data set within a time budget; blocks until it is there.

    The same call after an interruption goes on where the run stood.

    Args:
        source: Folder, zip or parquet files of images and masks, or "hf://owner/name".
        budget: Wall-clock time from now to the model on disk, such as "6m", "1h30m" or seconds.
        run: Name or folder of the run; None: the interrupted run of the same search, else a new
            one, under `AUTOSEG_HOME`.
        seed: Seed of splits, sampler and training.
        device: torch device, or "auto": the first GPU, else the CPU.
        encoders: Encoders or families to search; empty: four, on a GPU six, as far as their weights
            are on this machine, those of `weights_files`, and with few images DINOv2's small ViT.
        n_trials: Most trials, failed ones not counted; None: as many as the budget holds, and the
            default recipe alone where comparing others would cost more than it finds.
        max_side: Most pixels of an image's longer side at working size; None: from the data.
        max_latency: Longest time of one image on this device, such as "20ms" or milliseconds;
            slower encoders and decoders are left out. None: any.
        flip: Flips that keep every class what it is; None: from the class names and the masks.
        allow_noncommercial: Whether weights that forbid commercial use may be searched.
        weights_files: safetensors files of pretrained weights, by encoder.
        mapping: What mask values or colours mean where that is ambiguous: a class or "ignore".
            Name all values, or only those to ignore.
        colors: Colours of classes, "#rrggbb"; the others keep theirs.
        start_from: Run or folder of a model whose recipe and weights are trained on; None: a
            search from pretrained encoders.
        warm_start: Whether the recipes that won your earlier runs on similar data are tried early,
            right after the default one.

    Raises:
        DatasetError: The data set cannot be used.
        HubError: The Hub does not give the data set.
        ConfigError: An argument does not hold, or the budget is too small.
        RunError: The run's folder cannot be used.
        PausedError: Somebody asked the search to leave at once and to go on later.
    """
    started_at = time.monotonic()
    config = SearchConfig(
        budget_s=parse_duration(budget),
        seed=seed,
        device=device,
        encoders=tuple(encoders),
        n_trials=n_trials,
        max_side=max_side,
        max_latency_ms=None if max_latency is None else parse_latency(max_latency),
        flip=flip,
        allow_noncommercial=allow_noncommercial,
        weights_files=tuple((weights_files or {}).items()),
        mapping=tuple((mapping or {}).items()),
        colors=tuple((colors or {}).items()),
        start_from=None if start_from is None else str(start_from),
        warm_start=warm_start,
    )
    refuse_idle_options(config)
    if start_from is not None:
        config = replace(config, start_from=locate_start(start_from))
    workspace = Workspace()
    path = local_source(source)
    folder = workspace.run(run).path if run else workspace.name_run(path, config)
    return run_search(path, config, folder, started_at=started_at)


def trials(run: str | Path) -> tuple[FinishedTrial, ...]:
    """The trials of a run that came to an end, the best first, and which `take` makes a model of.

    Args:
        run: Name or folder.

    Raises:
        RunError: It is no run, or a record is damaged.
    """
    return finished_trials(Workspace().run(run))


def take(
    run: str | Path,
    trial: int,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    device: str | None = None,
) -> SearchResult:
    """Make a model of another trial of a finished run, such as a faster one, in a run of its own.

    It is the trial as the search trained it, without final training, scored on the test images
    beside the winner. `search(..., start_from=result.run.path)` trains it on.

    Args:
        run: Name or folder of the run.
        trial: Number of the trial.
        out: Name or folder of the new run; None: named after the run and the trial.
        data: Where the run's data set is now, a folder, zip or "hf://owner/name"; None: where it
            was.
        device: torch device, or "auto"; None: as the search had it.

    Raises:
        RunError: There is no such trial or it has no weights, the run is not done or held by
            another process, its weights are damaged, the data set is not there or not the same, or
            `out` is taken or cannot be written.
        DatasetError: The data set cannot be read any more.
        HubError: The Hub does not give it.
        ConfigError: There is no such device.
        BundleError: The winner's model cannot be read, or the trial's not be written.
        PredictionError: There is too little memory.
        DiskFullError: There is no room to unpack the data set.
    """
    workspace = Workspace()
    return workspace.take_trial(workspace.run(run), trial, out, data=data, device=device)


def deploy(
    *models: str,
    space: str | None = None,
    public: bool = False,
    hardware: str | None = None,
    secrets: Mapping[str, str] | None = None,
    title: str | None = None,
    package: str | None = None,
    expose_private: bool = False,
    examples: bool = False,
    restart: bool = False,
    wait_s: float = WAIT_S,
    token: str | None = None,
) -> Deployed:
    """Put the prediction page for models of the Hub on a Space, and wait until it runs.

    Args:
        models: "owner/name", optionally with "@revision"; several make a page that compares them.
        space: "owner/name"; None: named after the model.
        public: Whether everybody may open it; a new Space is private without it.
        hardware: Such as "cpu-basic" or "zero-a10g"; None: the Hub's choice.
        secrets: By name; a private model needs HF_TOKEN, a token that may read it.
        title: On the Hub; None: from the model.
        package: What pip installs there; None: this version of autoseg.
        expose_private: Whether a public Space may show a private or gated model.
        examples: Whether the page shows the example pictures of a private or gated model too.
        restart: Whether to build it anew even if nothing changed.
        wait_s: Longest time to wait, in seconds; 0: not at all.
        token: Access token of the owner; None: the saved login.

    Raises:
        HubError: The Hub refuses, or the Space was not built; the text ends with its log.
        ConfigError: An argument does not hold.
    """
    options = DeployOptions(
        space=space, hardware=hardware, secrets=dict(secrets or {}), public=public,
        package=package, title=title, expose_private=expose_private, examples=examples,
        restart=restart,
    )  # fmt: skip
    connection = connect(token)
    return deploy_plan(plan_deploy(models, connection, options), connection, wait_s=wait_s)
