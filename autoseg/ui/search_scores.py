"""How good the model of a run is, in one short text: on test images once it was measured there."""

from dataclasses import dataclass
from typing import Any

from autoseg.errors import RunError
from autoseg.search.run_folder import RunFolder, RunState
from autoseg.ui import views
from autoseg.ui.texts import tr


@dataclass(frozen=True)
class Headline:
    """The score that stands for a run, and the images that it was measured on."""

    value: float
    """IoU per image, mean of classes, in [0, 1]."""
    low: float | None = None
    """Lower end of its 95 % interval; None where there is none."""
    high: float | None = None
    """Upper end of it."""
    split: str = "validation"
    """"test", "folds" or "validation"."""
    n_images: int = 0
    """Images it was measured on; 0 where that is not known."""

    @property
    def interval(self) -> str:
        """The 95 % interval in per cent, without the sign; "" where there is none."""
        if self.low is None or self.high is None:
            return ""
        return tr("{low} to {high}", low=f"{100 * self.low:.1f}", high=f"{100 * self.high:.1f}")

    @property
    def images(self) -> str:
        """What it was measured on."""
        if self.split == "test":
            return tr("on {count} test images", count=self.n_images)
        if self.split == "folds":
            return tr("on {count} images not learnt from", count=self.n_images)
        if self.n_images:
            return tr("on {count} validation images", count=self.n_images)
        return tr("on validation images")

    @property
    def text(self) -> str:
        """All of it, for a list."""
        interval = f" ({self.interval})" if self.interval else ""
        return f"{views.percent(self.value)}{interval} {self.images}"


def headline(state: RunState | None, report: dict[str, Any] | None) -> Headline | None:
    """The score of a run: that of its report, or the best of the search while there is none.

    Args:
        state: The run's record; None where it has none.
        report: Its report (`report/report.json`), as far as it came.
    """
    done = state is not None and state.status == "done"
    score = (report or {}).get("model", {}).get("scores", {}).get("macro_imagewise_iou", {})
    if report and done and score.get("value") is not None:
        split, number = str(report.get("split")), int(report.get("n_images") or 0)
        return Headline(score["value"], score.get("low"), score.get("high"), split, number)
    if state is None or state.best_score is None:
        return None
    return Headline(state.best_score)


def headline_of(run: RunFolder) -> Headline | None:
    """The same, read from disk; a report that cannot be read counts as none.

    Raises:
        RunError: The run's record is damaged, or of another version.
    """
    state = run.state()
    try:
        report = run.json("report/report.json")
    except RunError:
        report = None
    return headline(state, report)
