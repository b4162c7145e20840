"""Pictures of what the best trial so far makes of validation images, while a search goes on."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from autoseg.checkpoint import Weights
from autoseg.config import Recipe
from autoseg.data.dataset import CheckedDataset
from autoseg.evaluation import forward_of
from autoseg.examples import draw_example, image_scores
from autoseg.files import replacing, write_json
from autoseg.inference import Forward, segment
from autoseg.metrics import confusion_matrix, iou, macro_imagewise
from autoseg.search.bench import Bench
from autoseg.search.run_folder import RunFolder
from autoseg.training.hardware import free_memory, is_out_of_memory
from autoseg.training.trial import build_network, preprocessing_of, tile_of

MAX_IMAGES = 4

BUDGET_SHARE = 0.02
"""Most of a run's time that drawing may take."""

FIRST_SHARE = 0.5
"""Most of that time that the first drawing may take."""

_DRAWING_S = 0.03
"""Putting one picture together, roughly, in seconds: until it has been measured."""

RecipeOf = Callable[[int], Recipe]


class LivePictures:
    """The pictures of one run (`live/live.json` and the JPEG files beside it).

    Images are those of the cache, at the size the network sees, so that large ones cost no more
    than a validation.

    Args:
        run: The run.
        dataset: Names and classes.
        bench: The cached images, and what an encoder costs.
        recipe_of: The recipe of a trial.
        budget_s: Time of the run, in seconds.
    """

    def __init__(
        self,
        run: RunFolder,
        dataset: CheckedDataset,
        bench: Bench,
        recipe_of: RecipeOf,
        budget_s: float,
    ) -> None:
        self._run = run
        self._dataset = dataset
        self._bench = bench
        self._recipe_of = recipe_of
        shown = run.json("live/live.json") or {}
        self._best = float(shown.get("score", -1.0))
        self._drawing = int(shown.get("drawing", -1))
        self._used_s = float(shown.get("seconds", 0.0))
        self._most_s = BUDGET_SHARE * budget_s
        self._slowness = 1.0
        self._count: int | None = None

    def offer(self, number: int, weights: Weights, confusions: np.ndarray) -> None:
        """Draw anew if this trial scores better than the one shown, and there is time for it.

        Args:
            number: The trial.
            weights: Its weights.
            confusions: On the validation images, (n, K, K).
        """
        score = float(macro_imagewise(iou, confusions))
        if not score > self._best:
            return
        recipe = self._recipe_of(number)
        each_s = _DRAWING_S + self._bench.plan.costs[recipe.encoder_name].validation_s
        # The first draw says how many; it leaves time for some more.
        share = FIRST_SHARE if self._count is None else 1.0
        affordable = int(share * (self._most_s - self._used_s) / (self._slowness * each_s))
        count = min(MAX_IMAGES, affordable) if self._count is None else self._count
        if count < 1 or count > affordable:
            return
        self._count = count
        started = time.monotonic()
        try:
            self._draw(number, recipe, weights, score, self._spread(count))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            free_memory(self._bench.device)  # Training needs it more.
        seconds = time.monotonic() - started
        self._slowness = seconds / (count * each_s)
        self._used_s += seconds
        self._best = score

    def _spread(self, count: int) -> list[int]:
        """Validation images, evenly spread over the set; always the same."""
        places = np.linspace(0, len(self._bench.data.val) - 1, count).round().astype(int)
        return [self._bench.data.val[place] for place in dict.fromkeys(places.tolist())]

    def _draw(
        self, number: int, recipe: Recipe, weights: Weights, score: float, indices: Sequence[int]
    ) -> None:
        """Write pictures under new names, then the record, and then remove the former ones.

        Whoever reads meanwhile, or after a kill, has the pictures that the record is about.
        """
        started = time.monotonic()
        self._drawing += 1
        forward = self._network(recipe, weights)
        rows = []
        for place, index in enumerate(indices):
            picture, value = self._picture(forward, recipe, index)
            name = f"{self._drawing}-{place}.jpg"
            with replacing(self._run.live / name) as temporary:
                temporary.write_bytes(picture)
            known = round(value, 4) if np.isfinite(value) else None
            rows.append({"file": name, "name": self._dataset.samples[index].name, "iou": known})
        record = {
            "trial": number,
            "score": score,
            "updated_at": time.time(),
            "drawing": self._drawing,
            "seconds": round(self._used_s + time.monotonic() - started, 3),
            "images": rows,
        }
        write_json(self._run.live / "live.json", record)
        shown = {row["file"] for row in rows}
        for path in self._run.live.glob("[!.]*.jpg"):
            if path.name not in shown:
                path.unlink(missing_ok=True)

    def _network(self, recipe: Recipe, weights: Weights) -> Forward:
        model = build_network(recipe, self._bench.data.num_classes, weights)
        model = model.eval().to(self._bench.device).to(memory_format=torch.channels_last)
        return forward_of(model)

    def _picture(self, forward: Forward, recipe: Recipe, index: int) -> tuple[bytes, float]:
        """A JPEG file of one image, and its mean IoU."""
        cache, classes = self._bench.data.cache, self._dataset.classes
        image, truth = np.array(cache.image(index)), np.array(cache.mask(index))
        as_it_is = preprocessing_of(recipe).without_resizing()
        with self._bench.precision(recipe.encoder_name).autocast():
            found = segment(
                forward, image, as_it_is, device=self._bench.device, tile=tile_of(recipe)
            ).mask
        matrix = confusion_matrix(truth, found, classes.num_classes)
        return draw_example(image, truth, found, classes), float(image_scores(matrix[None])[0])
