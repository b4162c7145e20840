"""Words of the records in the reader's language: statuses, phases, endings, parameters."""

import re

from autoseg.search.run_folder import RunState
from autoseg.ui.texts import tr

_RUNG = re.compile(
    r"scored ([\d.]+) after (\d+) % of its length: not among the best third at that point"
)

_TAKEN = re.compile(r"Trial (\d+) of (.+) as the search trained it, without final training\.")

_COMPILED = re.compile(
    r"The network was compiled in (\d+) s: a step takes (\d+) ms instead of (\d+) ms\."
)
_IN_VAIN = re.compile(
    r"The network was compiled in (\d+) s, but its steps are no faster: training goes on without\."
)
_NOT_COMPILED = re.compile(
    r"The network could not be compiled, and training goes on without: (.+)", re.DOTALL
)

_MEMORY_SHORT = re.compile(
    r"Memory was short: the decoder learnt from ([\d,]+) windows instead of ([\d,]+)\."
)


def status_name(status: str) -> str:
    """Status of a run or a trial."""
    return {
        "queued": tr("waiting"), "running": tr("running"), "paused": tr("paused"),
        "interrupted": tr("interrupted"), "done": tr("done"), "failed": tr("failed"),
        "complete": tr("complete"), "pruned": tr("ended early"), "set aside": tr("set aside"),
    }.get(status, status)  # fmt: skip


def phase_name(phase: str) -> str:
    """Phase of a run."""
    return {
        "checking data": tr("Checking data"), "preparing data": tr("Preparing data"),
        "calibrating": tr("Measuring speed"), "searching": tr("Searching"),
        "training folds": tr("Training on parts of the images"),
        "final training": tr("Final training"),
        "evaluating": tr("Evaluating"), "finished": tr("Finished"),
    }.get(phase, phase.capitalize())  # fmt: skip


def parameter_name(name: str) -> str:
    """A dimension of the search."""
    return {
        "encoder": tr("Encoder"), "frozen_depth": tr("Frozen depth"),
        "decoder_lr": tr("Learning rate"), "encoder_lr_ratio": tr("Learning rate of the encoder"),
        "augmentation": tr("Augmentation"), "decoder": tr("Decoder"),
        "drop_path": tr("Layers skipped at random"),
        "layer_decay": tr("Slower learning near the image"),
    }.get(name, name)  # fmt: skip


def ending(reason: str) -> str:
    """Why a trial ended, as the search wrote it; what is not known stays as it stands."""
    if found := _RUNG.fullmatch(reason):
        score, share = found.groups()
        return tr(
            "scored {score} after {share} % of its length: not among the best third at that point",
            score=score,
            share=share,
        )
    return {
        "ran to its end": tr("ran to its end"),
        "stopped on request": tr("stopped on request"),
        "the time of the search was up": tr("the time of the search was up"),
        "trained to the end of the time": tr("trained to the end of the time"),
        "interrupted; tried again as a new trial": tr("interrupted; tried again as a new trial"),
        "paused; tried again as a new trial": tr("paused; tried again as a new trial"),
    }.get(reason, reason)


def message(state: RunState) -> str:
    """What the search says of itself; what is not known stays as it stands."""
    if state.waits_for:
        return tr("Waits for {run}: one search at a time has the device.", run=state.waits_for)
    if found := _TAKEN.fullmatch(state.message):
        return tr(
            "Trial {number} of {run} as the search trained it, without final training.",
            number=found[1],
            run=found[2],
        )
    if compiled := _compiled(state.message):
        return compiled
    if found := _MEMORY_SHORT.fullmatch(state.message):
        return tr(
            "Memory was short: the decoder learnt from {cached} windows instead of {planned}.",
            cached=found[1],
            planned=found[2],
        )
    return {
        "Starting.": tr("Starting."),
        "Starting again.": tr("Starting again."),
        "The model is ready.": tr("The model is ready."),
        "Training on made it no better; the former weights were kept.": tr(
            "Training on made it no better; the former weights were kept."
        ),
        "The search failed.": tr("The search failed."),
        "The search was interrupted.": tr("The search was interrupted."),
        "The search is paused. It goes on where it stood.": tr(
            "The search is paused. It goes on where it stood."
        ),
        "The search is paused. It goes on where it stood. The trial that ran starts again.": tr(
            "The search is paused. It goes on where it stood. The trial that ran starts again."
        ),
        "Compiling the network, for faster steps.": tr("Compiling the network, for faster steps."),
        "Memory ran out for the compiled network: training goes on without.": tr(
            "Memory ran out for the compiled network: training goes on without."
        ),
    }.get(state.message, state.message)


def _compiled(text: str) -> str | None:
    """What came of compiling the network; None: the text is of something else."""
    if found := _COMPILED.fullmatch(text):
        return tr(
            "The network was compiled in {seconds} s: a step takes {after} ms instead of "
            "{before} ms.",
            seconds=found[1],
            after=found[2],
            before=found[3],
        )
    if found := _IN_VAIN.fullmatch(text):
        return tr(
            "The network was compiled in {seconds} s, but its steps are no faster: training goes "
            "on without.",
            seconds=found[1],
        )
    if found := _NOT_COMPILED.fullmatch(text):
        return tr(
            "The network could not be compiled, and training goes on without: {reason}",
            reason=found[1],
        )
    return None
