"""What a budget buys a model that is trained on, told from what the run that made it measured."""

import math
from dataclasses import dataclass

from autoseg.bundle import read_info, trained
from autoseg.config import from_dict
from autoseg.data.splits import Splits
from autoseg.errors import AutosegError, BudgetError
from autoseg.search.budget import MIN_STEPS_ON, RESERVE_S, RESERVE_SHARE, Plan
from autoseg.search.run_folder import RunFolder

ROUND_TO_S = 10.0
"""Budgets are named in steps of so many seconds."""

USUAL_S = 300.0
"""Budget that is proposed where it holds enough training."""


@dataclass(frozen=True)
class Outlook:
    """What training a model on costs on this machine, in rough numbers."""

    preparing_s: float
    """Until the first training step, in seconds."""
    judging_s: float
    """Scoring the model and the former one on the test images, in seconds."""
    scoring_s: float
    """Scoring before the training and after it, in seconds."""
    steps_s: float
    """As many steps as there must be, in seconds."""
    epoch_s: float
    """Seeing every training image once, in seconds."""

    @property
    def least_s(self) -> float:
        """The smallest budget that is worth a try, in seconds."""
        fixed = self.preparing_s + self.judging_s + self.scoring_s + self.steps_s + RESERVE_S
        return _rounded_up(fixed / (1 - RESERVE_SHARE))

    @property
    def proposed_s(self) -> float:
        """A budget at least half of which goes to training, in seconds."""
        return max(USUAL_S, _rounded_up(2 * self.overhead_s(2 * self.least_s)))

    def overhead_s(self, budget_s: float) -> float:
        """What of a budget does not go to training, in seconds."""
        fixed = self.preparing_s + self.judging_s + self.scoring_s + RESERVE_S
        return fixed + RESERVE_SHARE * budget_s

    def training_s(self, budget_s: float) -> float:
        """What of a budget goes to training, in seconds."""
        return max(0.0, budget_s - self.overhead_s(budget_s))

    def epochs(self, budget_s: float) -> float:
        """Times that every training image is seen."""
        return self.training_s(budget_s) / self.epoch_s

    def refuse_less(self, budget_s: float) -> None:
        """Refuse a budget that would be used up before the training.

        Raises:
            BudgetError: With the budget that would do.
        """
        if budget_s < self.least_s:
            raise BudgetError(
                f"A budget of {budget_s:.0f} s is too small to train this model on: preparing and "
                f"judging take about {self.overhead_s(budget_s):.0f} s. Give it at least "
                f"{self.least_s:.0f} s."
            )


def outlook(run: RunFolder, more_images: int = 0) -> Outlook | None:
    """What training a finished run's model on will cost; None where the run does not say.

    Args:
        run: The run that made the model.
        more_images: Corrections that it has not learnt from.
    """
    try:
        plan = from_dict(Plan, run.json("plan.json"), "plan.json")
        splits = from_dict(Splits, run.json("splits.json"), "splits.json")
        recipe = trained(read_info(run.model))
    except AutosegError:
        return None
    cost = plan.costs.get(recipe.encoder_name)
    if cost is None:
        return None
    return Outlook(
        preparing_s=plan.search_until_s - plan.search_s,
        judging_s=2 * plan.evaluation_s(recipe.encoder_name, recipe.decoder_name),
        scoring_s=2 * cost.validation_s * len(plan.val),
        steps_s=MIN_STEPS_ON * cost.step_s * recipe.batch_size,
        epoch_s=max(1e-6, cost.step_s * (len(splits.train) + more_images)),
    )


def _rounded_up(seconds: float) -> float:
    return math.ceil(seconds / ROUND_TO_S) * ROUND_TO_S
