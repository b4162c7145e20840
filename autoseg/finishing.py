"""The last stages of a run: scores on images the model never saw, examples, report, bundle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg.bundle import BundleInfo, save_bundle
from autoseg.card import render_card
from autoseg.checkpoint import Weights
from autoseg.config import Recipe, SearchConfig
from autoseg.continuing import StartModel
from autoseg.data.dataset import CheckedDataset
from autoseg.data.duplicates import group_near_duplicates
from autoseg.data.splits import Splits, without_folds
from autoseg.data.workers import cpu_count
from autoseg.encoders import find_encoder
from autoseg.energy import EnergyMeter, energy_facts
from autoseg.evaluation import Predictions, make_report, number_or_none
from autoseg.examples import (
    MAX_EXAMPLES,
    Example,
    example_facts,
    image_scores,
    make_examples,
    spread,
)
from autoseg.files import write_json
from autoseg.hub.origins import origin_of
from autoseg.judging import (
    FoldPredictions,
    Judged,
    ScoredOnTest,
    default_note,
    held_out,
    joined,
    predict_images,
    predict_weights,
    report_note,
)
from autoseg.report_facts import data_facts, search_facts
from autoseg.search.bench import Bench
from autoseg.search.budget import RESERVE_S, Clock
from autoseg.search.final import FinalModel
from autoseg.search.journal import Journal
from autoseg.search.run_folder import RunFolder
from autoseg.search.selection import Candidate, selection_corrected
from autoseg.training.hardware import Precision, device_name
from autoseg.training.trial import build_network, preprocessing_of

FORMER_NOTE = "The former model is the one that training started from, on the same images."
FORMER_KEPT = "Training on made it no better; the former weights were kept."
FORMER_LATE = "There was no time to score the model that training started from beside it."


@dataclass(frozen=True)
class Finish:
    """A run whose model is trained."""

    run: RunFolder
    config: SearchConfig
    clock: Clock
    journal: Journal
    dataset: CheckedDataset
    splits: Splits
    bench: Bench
    final: FinalModel
    former: StartModel | None = None
    """The model that training started from."""
    stopped_after_s: float | None = None
    """Time of the run at which somebody asked it to finish, in seconds; None: nobody did."""

    def work(
        self, out_of_fold: FoldPredictions, candidates: dict[int, Candidate], meter: EnergyMeter
    ) -> dict[str, Any]:
        """Judge the model, write report and bundle; the report.

        Args:
            out_of_fold: Predictions by networks beside the model, where there is no test split.
            candidates: Trials that were compared.
            meter: What the run has used.
        """
        self.journal.enter("evaluating")
        judged = joined(self._judge(), out_of_fold)
        theirs, other_note = self._judge_other(judged, len(candidates))
        examples = self._draw_examples(judged)
        report = make_report(
            judged.predictions,
            theirs,
            self.dataset.classes,
            split=judged.split,
            untouched=judged.split == "test" and self.splits.test_is_untouched,
            note=report_note(judged, self.splits, len(candidates), goes_on=self.former is not None),
            default_note=other_note,
            groups=group_near_duplicates(self.dataset)[0][list(judged.indices)],
            seed=self.config.seed,
            facts={
                "compared_with": "default recipe" if self.former is None else "former model",
                "kept_former": self.kept_former,
                **self._validation_facts(candidates),
                "trials": sum(t.status != "set aside" for t in self.journal.trials.values()),
                "seconds": round(self.clock.elapsed(), 1),
                "stopped_after_s": self._stopped_fact(),
                "data": data_facts(
                    self.dataset, self._told_splits(judged), data_source(self.dataset)
                ),
                "search": self._search_facts(meter),
                "examples": example_facts(examples, *self._drawn_from(judged)),
            },
        )
        write_json(self.run.report / "report.json", report)
        self._pack(report, examples)
        return report

    def _told_splits(self, judged: Judged) -> Splits:
        """The division as the report tells of it."""
        if judged.split == "folds":
            return self.splits
        return without_folds(self.splits, len(self.dataset))

    def _stopped_fact(self) -> float | None:
        return None if self.stopped_after_s is None else round(self.stopped_after_s, 1)

    def _judge(self) -> Judged:
        """Predict images that the model never saw."""
        split, indices = held_out(self.splits)
        recipe, weights = self.final.recipe, self.final.weights
        precision = self.bench.precision(recipe.encoder_name)
        began = self.clock.elapsed()
        predictions = predict_weights(
            self.dataset, indices, precision, recipe, weights, self.journal.progress
        )
        if split == "test":
            ScoredOnTest((self.final.number,)).write(self.run)
        return Judged(split, indices, predictions, self.clock.elapsed() - began)

    def _judge_other(self, judged: Judged, n_candidates: int) -> tuple[Predictions | None, str]:
        """The former model, else the default recipe, on the same images, and a sentence on it."""
        late_s = self.clock.elapsed() + judged.seconds - self.clock.budget_s
        is_late = late_s > 0
        if self.kept_former:
            return None, FORMER_KEPT
        if self.former is not None:
            former, is_late = self.former, late_s > self._grace_s
            theirs = None if is_late else self._predict(judged, former.recipe, former.weights)
            return theirs, FORMER_LATE if theirs is None else FORMER_NOTE
        default = default_number(self.journal)
        won, stopped = default == self.final.number, self.stopped_after_s is not None
        if default is None or won or judged.split == "folds" or is_late:
            one = self.config.n_trials == 1
            return None, default_note(None, won, n_candidates, stopped=stopped, asked_for_one=one)
        if not self.journal.has_weights(default):
            return None, default_note(None, won, n_candidates, stopped=stopped)
        recipe, weights = self.journal.trials[default].recipe, self.journal.weights(default)
        theirs = self._predict(judged, recipe, weights)
        if judged.split == "test":
            ScoredOnTest((self.final.number, default)).write(self.run)
        return theirs, default_note(recipe.epochs, won, n_candidates)

    @property
    def kept_former(self) -> bool:
        """Whether the model is the one that training started from, as what came after was worse."""
        if self.former is None:
            return False
        before, after = self.former.weights, self.final.weights
        return before.keys() == after.keys() and all(
            torch.equal(before[name].cpu(), after[name].cpu()) for name in before
        )

    @property
    def _grace_s(self) -> float:
        """What a run may be late to say whether its training on was of any use, in seconds."""
        return 5 + 0.05 * self.clock.budget_s

    def _predict(self, judged: Judged, recipe: Recipe, weights: Weights) -> Predictions:
        """Another model on the images that the new one was judged on."""
        precision = self.bench.precision(recipe.encoder_name)
        return predict_weights(
            self.dataset, judged.indices, precision, recipe, weights, self.journal.progress
        )

    def _draw_examples(self, judged: Judged) -> tuple[Example, ...]:
        """Pictures of held-out images for the card, as many as there is a moment for."""
        if judged.split == "folds":  # The networks of other folds predicted those images.
            indices, confusions = self.bench.data.val, self.final.confusions
        else:
            indices, confusions = judged.indices, judged.predictions.confusions
        moment_s = max(1.0, self.clock.budget_s - self.clock.elapsed() - RESERVE_S)
        each_s = judged.seconds / len(judged.indices)
        count = min(MAX_EXAMPLES, int(moment_s / max(2 * each_s, 1e-3)))
        final = self.final
        return draw_examples(
            self.dataset,
            indices,
            confusions,
            self.bench.precision(final.recipe.encoder_name),
            final.recipe,
            final.weights,
            count,
        )

    def _drawn_from(self, judged: Judged) -> tuple[str, int]:
        """The split of the examples and its number of images."""
        if judged.split == "folds":
            return "validation", len(self.bench.data.val)
        return judged.split, len(judged.indices)

    def _validation_facts(self, candidates: dict[int, Candidate]) -> dict[str, Any]:
        """The model's score on the validation images, also without the optimism of choosing."""
        validation = Candidate(self.final.number, self.final.confusions, 0.0).score
        corrected = selection_corrected(candidates, self.config.seed) if candidates else np.nan
        return {
            "validation_score": number_or_none(validation),
            "validation_score_corrected": number_or_none(corrected),
        }

    def _search_facts(self, meter: EnergyMeter) -> dict[str, Any]:
        """How the search went and what it cost."""
        return {
            **search_facts(
                tuple(self.journal.trials.values()), self.final.number, self.config.n_trials
            ),
            "seconds": round(self.clock.elapsed(), 1),
            "budget_s": self.clock.budget_s,
            "device": device_name(self.bench.device),
            "cores": cpu_count(),
            **energy_facts(meter.attempts()),
        }

    def _pack(self, report: dict[str, Any], examples: tuple[Example, ...]) -> None:
        """Write the bundle."""
        info = self.run.info()
        assert info is not None
        save_model(
            self.run.model,
            self.dataset,
            self.final.recipe,
            self.final.weights,
            info.versions,
            report,
            examples,
        )


def draw_examples(
    dataset: CheckedDataset,
    indices: Sequence[int],
    confusions: np.ndarray,
    precision: Precision,
    recipe: Recipe,
    weights: Weights,
    count: int,
) -> tuple[Example, ...]:
    """Pictures of held-out images for the card, spread from the best to the worst.

    Args:
        dataset: The data set.
        indices: The images, N.
        confusions: How well each was predicted, (N, K, K).
        precision: How and where the network computes.
        recipe: Of the model.
        weights: Of the model.
        count: Most pictures.
    """
    scores = image_scores(confusions)
    chosen = spread(scores, count)
    ranks = [1 + int((scores > scores[position]).sum()) for position in chosen]
    images = predict_images(dataset, [indices[k] for k in chosen], precision, recipe, weights)
    return make_examples(images, ranks, dataset.classes)


def save_model(
    folder: Path,
    dataset: CheckedDataset,
    recipe: Recipe,
    weights: Weights,
    versions: dict[str, str],
    report: dict[str, Any],
    examples: Sequence[Example],
) -> None:
    """Write a model of a run as a bundle.

    Args:
        folder: Where to.
        dataset: What it was trained on.
        recipe: How.
        weights: The outcome.
        versions: Of the libraries that trained it.
        report: Its scores.
        examples: Pictures for its card.

    Raises:
        BundleError: The folder holds something else, or the disk refuses.
    """
    scores = {
        name: entry["value"]
        for name, entry in report["model"]["scores"].items()
        if entry["value"] is not None
    }
    bundle = BundleInfo(
        classes=dataset.classes,
        preprocessing=preprocessing_of(recipe),
        recipe=recipe,
        versions=versions,
        data_fingerprint=dataset.fingerprint,
        weights_licence=find_encoder(recipe.encoder_name).licence,
        scores=scores,
    )
    model = build_network(recipe, dataset.classes.num_classes, weights)
    save_bundle(
        folder,
        model,
        bundle,
        report=report,
        card=render_card(bundle, report),
        examples=[example.picture for example in examples],
    )


def data_source(dataset: CheckedDataset) -> dict[str, Any] | None:
    """Where the data came from, if it is a data set of the Hub."""
    origin = origin_of(dataset.root)
    return asdict(origin) if origin else None


def default_number(journal: Journal) -> int | None:
    """The trial of the default recipe that was seen through."""
    numbers = [t.number for t in journal.trials.values() if t.origin == "default"]
    return max(numbers, default=None)
