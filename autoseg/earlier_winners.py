"""What won earlier runs on similar data, tried early in a new one."""

from dataclasses import replace

from autoseg.data.dataset import CheckedDataset
from autoseg.data.splits import Splits
from autoseg.files import autoseg_home
from autoseg.image_roles import has_seen, roles_of
from autoseg.search.budget import Plan
from autoseg.search.earlier_runs import Traits
from autoseg.search.run_folder import RunFolder
from autoseg.search.warm_start import warm_started


def with_earlier_winners(
    plan: Plan, dataset: CheckedDataset, splits: Splits, run: RunFolder
) -> Plan:
    """A plan that has these recipes tried early, if it searches at all.

    Runs that know images which test this one are left out: they may have chosen by them.

    Args:
        plan: What was planned without them.
        dataset: The data set.
        splits: Its division.
        run: The run that is planned; it does not learn from itself.
    """
    if plan.search_s <= 0:
        return plan
    tests = roles_of(dataset, splits).judging()
    space = warm_started(
        plan.space,
        Traits.of(dataset, splits),
        autoseg_home() / "runs",
        run,
        knows_too_much=lambda earlier: has_seen(earlier, tests),
    )
    return replace(plan, space=space)
