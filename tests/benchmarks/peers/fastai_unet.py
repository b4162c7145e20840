"""fastai: `unet_learner`, `lr_find`, `fine_tune` with the suggested rate, as its tutorials do it.

DynamicUnet on timm's EfficientNet-Lite0 with the ImageNet weights and their normalization; whole
images at half their median size (as the CamVid tutorial has it, but no side below 256), batches of
8, `aug_transforms()`, cross-entropy, float32. Two things are adapted to the budget, in its favour:
`lr_find` gets at most a quarter of it (100 iterations, its default, or as few as 50; below that
fastai's default rate is taken: 20 iterations suggested 2.5e-5, where that is 2e-3), and the
schedule of `fine_tune` is laid over the time that is left: the frozen epoch takes at most a fifth,
the one-cycle of the whole network the rest. Nothing is validated between epochs: it would choose
nothing by it.
"""

import statistics

import numpy as np
import timm
import torch
from fastai.vision.all import (
    Callback,
    CancelFitException,
    CancelValidException,
    CrossEntropyLossFlat,
    DataBlock,
    DataLoaders,
    ImageBlock,
    IndexSplitter,
    Learner,
    MaskBlock,
    Normalize,
    Resize,
    aug_transforms,
    set_seed,
    unet_learner,
)
from PIL import Image
from task import ENCODERS, IGNORE_INDEX, Task, encoder_facts, hand_in, read_task

from autoseg.encoders import load_weights

BATCH_SIZE = 8
DEFAULT_LR = 2e-3
LEAST_ITERATIONS = 50
FACTS = encoder_facts(ENCODERS[0])


def lite0(pretrained: bool) -> torch.nn.Sequential:
    """Stem and stages of EfficientNet-Lite0 with ImageNet weights."""
    assert pretrained
    model = timm.create_model(ENCODERS[0])
    model.load_state_dict(load_weights(FACTS))
    return torch.nn.Sequential(model.conv_stem, model.bn1, *model.blocks)


def image_size(task: Task) -> tuple[int, int]:
    """Height and width at which images are trained and predicted."""
    sizes = [Image.open(image).size for image, _ in task.train]
    width, height = (statistics.median(side) for side in zip(*sizes, strict=True))
    scale = min(1.0, max(0.5, 256 / min(width, height)))
    return round(height * scale / 32) * 32, round(width * scale / 32) * 32


def load(task: Task) -> DataLoaders:
    """Training and validation batches."""
    masks = dict([*task.train, *task.val])
    block = DataBlock(
        blocks=(ImageBlock, MaskBlock([str(k) for k in range(task.num_classes)])),
        get_items=lambda _: list(masks),
        get_y=lambda image: masks[image],
        splitter=IndexSplitter(range(len(task.train), len(masks))),
        item_tfms=Resize(image_size(task), method="squish"),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(FACTS.mean, FACTS.std)],
    )
    batch_size = min(BATCH_SIZE, len(task.train))
    return block.dataloaders(task.out, bs=batch_size, device=task.device, num_workers=task.workers)


def step_seconds(learn: Learner, task: Task) -> float:
    """Time of one step, in seconds."""
    begun = task.elapsed()
    images, masks = learn.dls.one_batch()
    learn.loss_func(learn.model(images), masks).backward()
    learn.model.zero_grad()
    return task.elapsed() - begun


class FillBudget(Callback):
    """Lays the schedule of a fit over time, ends it when that is up, and leaves out validation."""

    order = 0  # After the training's own counters, before the schedule.
    run_valid = False

    def __init__(self, task: Task, step_s: float) -> None:
        self.task = task
        self.step_s = step_s
        self.steps = 0

    def before_fit(self) -> None:
        """Divide the time that is left."""
        frozen = self.opt.frozen_idx > 0
        self.begun = self.task.elapsed()
        self.length_s = max(1e-9, self.task.left() * (0.2 if frozen else 1.0))

    def before_batch(self) -> None:
        """Stop if there is no time for another step."""
        passed = self.task.elapsed() - self.begun
        if passed + self.step_s >= self.length_s:
            raise CancelFitException
        share = passed / self.length_s
        # The frozen phase is one epoch, and may end before its time is up.
        self.learn.pct_train = max(self.pct_train, share) if self.n_epoch == 1 else share
        self.step_began = self.task.elapsed()

    def after_batch(self) -> None:
        """Note what the step took."""
        self.step_s = self.task.elapsed() - self.step_began
        self.steps += 1

    def before_validate(self) -> None:
        """Leave it out."""
        raise CancelValidException


def main() -> None:
    """Train until the budget is spent, then write the masks of the test images."""
    task = read_task(__doc__)
    set_seed(task.seed)
    loss = CrossEntropyLossFlat(axis=1, ignore_index=IGNORE_INDEX)
    learn = unet_learner(
        load(task), lite0, normalize=False, loss_func=loss, cut=lambda body: body, path=task.out
    )
    budget = FillBudget(task, step_seconds(learn, task))
    with learn.no_bar(), learn.no_logging():
        iterations = min(100, int(0.25 * task.left() / budget.step_s))
        lr = DEFAULT_LR
        if iterations >= LEAST_ITERATIONS:
            lr = learn.lr_find(num_it=iterations, show_plot=False).valley
        learn.fine_tune(10**6, lr, cbs=budget)
        trained_s = task.elapsed()
        probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(task.test))

    def predict(path: str) -> np.ndarray:
        width, height = Image.open(path).size
        scores = probabilities[task.test.index(path)][None].as_subclass(torch.Tensor)
        scores = torch.nn.functional.interpolate(scores, (height, width), mode="bilinear")
        return scores.argmax(1)[0].to(torch.uint8).cpu().numpy()

    found = f"{iterations} iterations" if iterations >= LEAST_ITERATIONS else "no time for it"
    hand_in(task, trained_s, predict, steps=budget.steps, lr=f"{lr:.1e}", lr_find=found)


if __name__ == "__main__":
    main()
