"""What the networks of the folds predicted, on disk, so that a resumed run trains none again."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoseg.config import Recipe, from_dict, to_dict
from autoseg.evaluation import Predictions
from autoseg.files import replacing, write_json
from autoseg.search.folds import Folds, FoldTimes
from autoseg.search.run_folder import RunFolder

_TIMES = "folds/times.json"


class FoldResults:
    """Predictions of the folds of one recipe (`folds/` in the run's folder).

    Args:
        run: The run.
        recipe: What the folds train; results of another one are none.
        folds: Images of each fold; none where no network is trained beside the model.
    """

    def __init__(self, run: RunFolder, recipe: Recipe, folds: Folds) -> None:
        self._run = run
        self._folder = run.path / "folds"
        self._folds = folds
        # The final training changes the epochs; the folds are trained for a time.
        named = to_dict(replace(recipe, epochs=1.0))
        wanted = json.loads(json.dumps({"recipe": named, "folds": folds}))
        if folds and run.json("folds/folds.json") != wanted:
            for fold in folds:
                self._file(fold).unlink(missing_ok=True)
            (run.path / _TIMES).unlink(missing_ok=True)
            write_json(self._folder / "folds.json", wanted)

    def begin(self, times: FoldTimes) -> None:
        """Note what the folds take; from now on the time left is theirs."""
        write_json(self._run.path / _TIMES, to_dict(times))

    def times(self) -> FoldTimes | None:
        """What the folds take, as they began; None: they have not."""
        stored = self._run.json(_TIMES)
        return None if stored is None else from_dict(FoldTimes, stored, _TIMES)

    def have_begun(self) -> bool:
        """Whether an earlier attempt has come to the folds."""
        return (self._run.path / _TIMES).is_file()

    def known(self) -> dict[tuple[int, ...], Predictions]:
        """Those that were made, by the images that the network never saw."""
        found = {}
        for fold in self._folds:
            if self._file(fold).is_file():
                with np.load(self._file(fold), allow_pickle=False) as arrays:
                    found[fold] = Predictions(
                        arrays["confusions"], arrays["boundaries"], arrays["calibration"]
                    )
        return found

    def keep(self, left_out: tuple[int, ...], found: Predictions) -> None:
        """Write one fold's predictions, whole or not at all."""
        content = io.BytesIO()  # To a file, numpy reports a full disk without its error code.
        np.savez(
            content,
            confusions=found.confusions,
            boundaries=found.boundaries,
            calibration=found.calibration,
        )
        with replacing(self._file(left_out)) as temporary:
            temporary.write_bytes(content.getvalue())

    def _file(self, fold: tuple[int, ...]) -> Path:
        return self._folder / f"{self._folds.index(fold)}.npz"
