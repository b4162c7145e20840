"""The stages of one run, each of which leaves its result on disk for a resumed one."""

import math
import platform
import time
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autoseg import __version__
from autoseg.checkpoint import Weights
from autoseg.config import MAX_FROZEN_DEPTH, Recipe, SearchConfig, from_dict, to_dict
from autoseg.continuing import StartModel, inherit_splits, load_start, refuse_other_classes
from autoseg.corrected_data import read_manifest
from autoseg.data.cache import build_cache
from autoseg.data.dataset import CheckedDataset, write_verdict
from autoseg.data.duplicates import group_near_duplicates
from autoseg.data.splits import Splits, make_splits
from autoseg.earlier_winners import with_earlier_winners
from autoseg.energy import EnergyMeter
from autoseg.errors import RunError, StoppedEarlyError
from autoseg.files import autoseg_home, write_json
from autoseg.finishing import Finish, default_number
from autoseg.image_roles import write_roles
from autoseg.judging import time_judging
from autoseg.live import LivePictures
from autoseg.model import decoders_for
from autoseg.out_of_fold import OutOfFold, judging_folds, model_spent_s
from autoseg.search.bench import Bench
from autoseg.search.budget import Clock, Plan
from autoseg.search.calibration import (
    affordable_pixels,
    make_plan,
    measure_again,
    plan_training_on,
)
from autoseg.search.devices import device_key
from autoseg.search.encoder_choice import default_encoders, few_images_encoders
from autoseg.search.final import TRAINED_ON, train_final
from autoseg.search.flips import choose_flip
from autoseg.search.geometry import object_widths, plan_geometry
from autoseg.search.journal import Journal
from autoseg.search.loop import SearchLoop
from autoseg.search.measuring import Workload
from autoseg.search.networks import networks_in
from autoseg.search.run_folder import RunFolder, RunInfo
from autoseg.search.selection import Candidate, choose_winner
from autoseg.search.speed import remember_costs
from autoseg.search.stop_request import StopRequest
from autoseg.search.study import Study
from autoseg.sources import check
from autoseg.training.hardware import choose_device, gpu_uuid, telling_of_memory
from autoseg.training.trial import TrainingData

_VERSIONED = ("torch", "timm", "segmentation-models-pytorch", "optuna")
"""Libraries whose version decides the result."""


ASKED_SHARE = 0.4
"""Share of the time planned for the final training that goes to the search first, where the user
asked for more trials than it had time for."""

LOOK_EVERY_S = 0.25
"""How often training looks whether it was told to stop or pause: a step may take a millisecond."""


class Stages:
    """The stages of one run; every stage leaves its result on disk for a resumed one."""

    def __init__(
        self,
        source: Path,
        config: SearchConfig,
        run: RunFolder,
        clock: Clock,
        journal: Journal,
        stop: StopRequest,
    ) -> None:
        self.source = source
        self.config = config
        self.run = run
        self.clock = clock
        self.journal = journal
        self.stop = stop
        self.start: StartModel | None = None
        self._looked_at = -math.inf

    def work(self) -> dict[str, Any]:
        """All stages; the report."""
        device = choose_device(self.config.device)
        with EnergyMeter(self.run.path / "energy.json", gpu_uuid(device)) as meter:
            return self._work(device, meter)

    def _work(self, device: torch.device, meter: EnergyMeter) -> dict[str, Any]:
        if self.config.start_from is not None:
            self.start = load_start(self.config.start_from, self.run)
        dataset = self._check()
        splits = self._split(dataset)
        self._refuse_if_stopped()
        data, plan = self._plan(dataset, splits, device)
        self._refuse_if_stopped()
        bench = Bench(
            data=replace(data, val=plan.val),
            plan=plan,
            device=device,
            seed=self.config.seed,
            folder=self.run.path / "decoders",
            keep_going=self._keep_going,
        )
        pictures = LivePictures(
            self.run, dataset, bench, lambda n: self.journal.trials[n].recipe, self.config.budget_s
        )
        self.journal.on_result = pictures.offer
        study = Study(self.run.study, plan.space, self.config.seed)
        candidates = self._search(study, bench)
        number, recipe, weights = self._choose(study, dataset, bench, candidates)
        self.clock.reserve_s = self._reserve_s(plan, number, recipe)
        # A fold has its own time; cut short a moment before its end, it would cost all of it.
        untimed = replace(bench, keep_going=self._not_stopped)
        folds = OutOfFold(
            self.journal, dataset, untimed, recipe, splits, self.clock.left,
            model_spent_s(self.journal.trials[number]), partial(self.journal.note, number),
        )  # fmt: skip
        self.journal.enter("final training")
        final = train_final(bench, self.journal, number, recipe, weights, folds.time_left_before)
        self.journal.save_result(number, final.weights, final.confusions)
        out_of_fold = folds.judged()
        finish = Finish(
            self.run, self.config, self.clock, self.journal, dataset, splits, bench, final,
            self.start, self._stopped_after_s(),
        )  # fmt: skip
        bench.give_back()  # Images are judged at their own size.
        with telling_of_memory(device):
            return finish.work(out_of_fold, candidates, meter)

    def _keep_going(self) -> bool:
        """Whether training may go on; asked before every step."""
        return self._not_stopped() and self.clock.left() > 0

    def _not_stopped(self) -> bool:
        """Whether nobody asked to stop; a pause leaves."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self.journal.leave_if_paused()
            if self.stop:
                return False
        return not self.stop.asked

    def _stopped_after_s(self) -> float | None:
        """Time of the run at which training was asked to stop, in seconds; None: it was not."""
        if self.stop.asked_at is None:
            return None
        return max(0.0, self.clock.elapsed() - (time.monotonic() - self.stop.asked_at))

    def _refuse_if_stopped(self) -> None:
        """Raise StoppedEarlyError if a stop was asked and there is nothing to finish with."""
        if self.stop and not any(trial.curve for trial in self.journal.trials.values()):
            raise StoppedEarlyError(
                "The search was stopped before anything was trained. The same command goes on."
            )

    def _check(self) -> CheckedDataset:
        """Read the data set; a resumed run must find the one it began with."""
        self.journal.enter("checking data")
        dataset = check(
            self.source,
            mapping=dict(self.config.mapping) or None,
            colors=dict(self.config.colors),
            on_progress=self.journal.progress,
            workdir=self.run.path / "data",
        )
        info = self.run.info()
        known = info.data_fingerprint if info is not None else ""
        if known and known != dataset.fingerprint:
            raise RunError(
                f"The data set in {self.source} has changed since {self.run.name} began. Its "
                f"trials cannot be compared with new ones: start a new run."
            )
        if self.start is not None:
            refuse_other_classes(self.start, dataset)
        write_verdict(self.run.path / "verdict.json", dataset.verdict)
        write_json(self.run.path / "mask_coding.json", to_dict(dataset.mask_coding))
        self.run.write_info(
            RunInfo(
                config=self.config,
                source=str(self.source.absolute()),
                data_fingerprint=dataset.fingerprint,
                versions={
                    "autoseg": __version__,
                    "python": platform.python_version(),
                    **{name: version(name) for name in _VERSIONED},
                },
            )
        )
        return dataset

    def _split(self, dataset: CheckedDataset) -> Splits:
        stored = self.run.json("splits.json")
        if stored is not None:
            return from_dict(Splits, stored, "splits.json")
        splits = make_splits(dataset, self.config.seed)
        if self.start is not None:
            splits = inherit_splits(dataset, splits, self.start.roles)
        corrected = read_manifest(dataset.root)
        if corrected is not None:
            splits = replace(splits, notes=(*splits.notes, *corrected.notes))
        write_roles(self.run, dataset, splits, self.start.roles if self.start else None)
        write_json(self.run.path / "splits.json", to_dict(splits))
        return splits

    def _plan(
        self, dataset: CheckedDataset, splits: Splits, device: torch.device
    ) -> tuple[TrainingData, Plan]:
        """Cache the images at working size, measure encoders, divide the time."""
        facts = dataset.statistics
        recipe = None if self.start is None else self._goes_on(self.start)
        names = default_encoders(self.config, device) if recipe is None else (recipe.encoder_name,)
        stored = self.run.json("plan.json")
        plan = None if stored is None else from_dict(Plan, stored, "plan.json")
        n_networks = 1 if plan is None else plan.n_networks
        if plan is not None:
            geometry = plan.space.geometry
        elif recipe is not None:
            geometry = recipe.geometry
        else:
            num_classes = dataset.classes.num_classes
            affordable = affordable_pixels(names[0], num_classes, device, self.clock)
            n_networks = networks_in(affordable, len(judging_folds(splits)))
            # What the test images hold must not shape the model.
            seen = sorted((*splits.train, *splits.val))
            geometry = plan_geometry(
                facts.sizes[seen],
                object_widths(
                    facts.sizes[seen], facts.class_pixels[seen], facts.class_boundary[seen]
                ),
                device.type,
                self.config.max_side,
                affordable / n_networks,
                decoder_name=decoders_for(names[0])[0],
            )
        self.journal.enter("preparing data")
        cache = build_cache(
            dataset, geometry, autoseg_home() / "cache", on_progress=self.journal.progress
        )
        data = TrainingData(cache, splits.train, splits.val, dataset.classes.num_classes)
        if plan is None or plan.device != device_key(device):
            self.journal.enter("calibrating")
            flip = self.config.flip if plan is None else plan.space.flip
            work = Workload(
                data=data,
                geometry=geometry,
                flip=flip or choose_flip(dataset.classes.names, cache, splits.train),
                n_test=len(splits.test) or len(splits.val),
                encoder_names=names,
                time_judging=partial(time_judging, dataset, splits),
                frozen_encoders=few_images_encoders(self.config, len(splits.train)),
                n_networks=n_networks,
            )
            plan = self._calibrate(work, recipe, device, plan, dataset, splits)
        self.clock.reserve_s = plan.reserve_s
        return data, plan

    def _calibrate(
        self,
        work: Workload,
        recipe: Recipe | None,
        device: torch.device,
        former: Plan | None,
        dataset: CheckedDataset,
        splits: Splits,
    ) -> Plan:
        """Measure what training costs here, and write the plan.

        Args:
            work: What there is to do.
            recipe: What trains a former model on; None: the run searches.
            device: Where.
            former: The plan of the device or machine on which the run began; None: it begins here.
            dataset: The data.
            splits: Their division.
        """
        config, clock = self.config, self.clock
        if former is not None:
            plan = measure_again(former, work, device, clock, config.seed, recipe)
            self.journal.tell_times(plan)
        elif self.start is None or recipe is None:
            plan = make_plan(work, config, device, clock, self.journal.progress)
            if config.warm_start:
                plan = with_earlier_winners(plan, dataset, splits, self.run)
        else:
            plan = plan_training_on(work, recipe, self.start.weights, config, device, clock)
        plan = replace(plan, device=device_key(device))
        write_json(self.run.path / "plan.json", to_dict(plan))
        if recipe is None:  # Another recipe's steps say nothing of the default's.
            window_pixels = float(np.prod(work.geometry.window))
            cached = float(work.data.cache.shapes.astype(np.float64).prod(1).mean())
            space = plan.space
            told = {
                name: cost
                for name, cost in plan.costs.items()
                if name not in space.frozen_encoders
                and space.first_decoder(name) == decoders_for(name)[0]
            }
            remember_costs(autoseg_home(), device, told, window_pixels, cached)
        return plan

    def _search(self, study: Study, bench: Bench) -> dict[int, Candidate]:
        """Run the trials the plan has time for; those that were compared."""
        plan = bench.plan
        if plan.search_s > 0:
            self.journal.enter("searching")
            until_s = self._search_until_s(plan)
            SearchLoop(study, bench, self.journal, lambda: until_s - self.clock.elapsed()).run()
        candidates: dict[str, dict[int, Candidate]] = {"complete": {}, "pruned": {}}
        for number, record in self.journal.trials.items():
            confusions = self.journal.confusions(number)
            if record.status in candidates and confusions is not None:
                cost = plan.costs[record.recipe.encoder_name]
                image_s = cost.time_with(record.recipe.decoder_name)
                candidates[record.status][number] = Candidate(number, confusions, image_s)
        return candidates["complete"] or candidates["pruned"]

    def _search_until_s(self, plan: Plan) -> float:
        """Time used by the run when the search must end, in seconds; it ends before if all trials
        are made that the user asked for, and later than planned for their sake."""
        until_s, asked = plan.search_until_s, self.config.n_trials
        # Many more than there is time for are meant as a limit.
        if asked is None or asked > 2 * max(1, plan.space.expected_trials):
            return until_s
        final_s = self.clock.left() + self.clock.elapsed() - until_s
        return until_s + ASKED_SHARE * max(0.0, final_s)

    def _choose(
        self,
        study: Study,
        dataset: CheckedDataset,
        bench: Bench,
        candidates: dict[int, Candidate],
    ) -> tuple[int, Recipe, Weights | None]:
        """The trial to continue: the winner, or the one recipe there is time for."""
        finalists = self.journal.finalists()
        kept = {n: c for n, c in candidates.items() if n in finalists}
        if kept:
            groups = group_near_duplicates(dataset)[0][list(bench.data.val)]
            number = choose_winner(kept, default_number(self.journal), self.config.seed, groups)
            recipe, weights = self.journal.trials[number].recipe, self.journal.weights(number)
        elif self.start is not None:
            number, recipe, weights = *self._start_trial(self.start, bench.plan), self.start.weights
            self._refuse_if_stopped()
        else:
            number, recipe = self._only_trial(study, bench.plan)
            weights = None
            self._refuse_if_stopped()
        for trial in list(self.journal.trials.values()):
            tags = ("winner",) if trial.number == number else ()
            if trial.tags != tags:  # An earlier attempt may have had another winner.
                self.journal.record(replace(trial, tags=tags))
        return number, recipe, weights

    def _reserve_s(self, plan: Plan, number: int, recipe: Recipe) -> float:
        """Time to keep back for the evaluation of the model that was chosen, in seconds.

        A search has kept back as much for the default recipe beside it, which is not judged twice.
        """
        reserve_s = plan.reserve_for(recipe.encoder_name, recipe.decoder_name)
        if plan.search_s > 0 and number == default_number(self.journal):
            reserve_s -= plan.evaluation_s(recipe.encoder_name, recipe.decoder_name)
        return reserve_s

    def _goes_on(self, start: StartModel) -> Recipe:
        """The recipe with which a former model is trained on, at its own learning rates.

        Measured on coffee_leaf, 20 images and 20 more, two seeds: half the rates cost 0.3 points
        of macro-imagewise IoU both times, a fifth 0.7. What it began with stays where training on
        made it clearly worse (`train_final`).
        """
        return replace(start.recipe, flip=self.config.flip or start.recipe.flip)

    def _start_trial(self, start: StartModel, plan: Plan) -> tuple[int, Recipe]:
        """The only trial of a run that trains a former model on."""
        if 0 not in self.journal.trials:
            recipe = self._goes_on(start)
            image_s = plan.costs[recipe.encoder_name].time_with(recipe.decoder_name)
            self.journal.begin_trial(0, recipe, TRAINED_ON, image_s)
        return 0, self.journal.trials[0].recipe

    def _only_trial(self, study: Study, plan: Plan) -> tuple[int, Recipe]:
        """The recipe of a run without a search, as the study's first trial."""
        number = default_number(self.journal)
        if number is not None:
            return number, self.journal.trials[number].recipe
        trial, params, origin = study.ask()
        if plan.frozen_only:
            params = {**params, "frozen_depth": MAX_FROZEN_DEPTH}
        recipe = plan.space.recipe(params)
        image_s = plan.costs[recipe.encoder_name].time_with(recipe.decoder_name)
        self.journal.begin_trial(trial.number, recipe, origin, image_s)
        return trial.number, recipe
