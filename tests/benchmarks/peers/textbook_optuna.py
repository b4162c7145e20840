"""Textbook Optuna around the loop of `smp_example.py`: TPE, MedianPruner, fixed epochs.

Encoder size, learning rate and batch size are searched, every epoch is scored on the validation
images by what the benchmark scores (macro IoU) and reported to the pruner, as in Optuna's PyTorch
example; the weights of the best trial are used. All trials have the same number of epochs: the 50
of smp's example, or as many as let eight full trials fit into the budget, by the time of two steps.
"""

import logging
import time

import cv2
import optuna
import segmentation_models_pytorch as smp
import torch
from smp_example import Dataset, Model, Trainer, batches, predict, training_augmentation
from task import ENCODERS, IGNORE_INDEX, Task, hand_in, read_task

MOST_EPOCHS = 50
TRIALS_TO_FIT = 8


class Search:
    """The study and the model of its best trial so far."""

    def __init__(self, task: Task, epochs: int) -> None:
        self.task = task
        self.epochs = epochs
        self.data = Dataset(task.train, training_augmentation(task.seed))
        self.validation_s = 0.0
        self.model: Model | None = None
        self.best: Model | None = None

    def objective(self, trial: optuna.Trial) -> float:
        """Train one model for the fixed number of epochs; its macro IoU on the validation images.

        Raises:
            TrialPruned: By the pruner, or because the budget is spent.
        """
        encoder = trial.suggest_categorical("encoder", ENCODERS)
        lr = trial.suggest_float("lr", 1e-5, 1e-2, log=True)
        batch_size = trial.suggest_categorical("batch_size", (8, 16, 32))
        loader = batches(self.task, self.data, batch_size)
        model = Model(encoder, self.task.num_classes).to(self.task.device)
        self.model = model
        trainer = Trainer(self.task, model, lr)
        score = 0.0
        for epoch in range(self.epochs):
            model.train()
            for images, masks in loader:
                progress = trainer.steps / (self.epochs * len(loader))
                if not trainer.step(images, masks, progress):
                    self.give_up(trial)
            if self.task.left() < self.validation_s:
                self.give_up(trial)
            score = self.validate(model)
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return score

    def give_up(self, trial: optuna.Trial) -> None:
        """End the study: the budget is spent."""
        trial.study.stop()
        raise optuna.TrialPruned

    def validate(self, model: Model) -> float:
        """Macro IoU of all validation pixels, at the images' own size."""
        begun = time.monotonic()
        model.eval()
        totals = torch.zeros(4, self.task.num_classes, dtype=torch.long)
        for image, mask in self.task.val:
            predicted = torch.from_numpy(predict(model, image, self.task.device)).long()[None]
            true = torch.from_numpy(cv2.imread(mask, 0)).long()[None]
            totals += torch.stack(
                smp.metrics.get_stats(
                    predicted,
                    true,
                    mode="multiclass",
                    ignore_index=IGNORE_INDEX,
                    num_classes=self.task.num_classes,
                )
            )[:, 0]
        self.validation_s = time.monotonic() - begun
        return float(smp.metrics.iou_score(*totals[:, None], reduction="macro"))

    def keep_best(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Keep the model of the trial that has just become the best."""
        complete = trial.state == optuna.trial.TrialState.COMPLETE
        if complete and study.best_trial.number == trial.number:
            self.best = self.model


def fixed_epochs(task: Task) -> int:
    """Epochs of every trial."""
    data = Dataset(task.train, training_augmentation(task.seed))
    loader = batches(task, data, batch_size=8)
    trainer = Trainer(task, Model(ENCODERS[0], task.num_classes).to(task.device).train(), 1e-4)
    seconds = []
    for images, masks in [next(iter(loader)), next(iter(loader))]:
        begun = time.monotonic()
        trainer.step(images, masks, 0.0)
        seconds.append((time.monotonic() - begun) / len(images))
    epoch_s = seconds[-1] * len(data)
    return min(MOST_EPOCHS, max(1, int(task.left() / (TRIALS_TO_FIT * epoch_s))))


def main() -> None:
    """Search until the budget is spent, then write the masks of the test images."""
    task = read_task(__doc__)
    logging.getLogger("optuna").setLevel(logging.WARNING)
    search = Search(task, fixed_epochs(task))
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=task.seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(search.objective, timeout=task.left(), callbacks=[search.keep_best])
    trained_s = task.elapsed()
    model = search.best or search.model
    assert model is not None
    model.eval()
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    hand_in(
        task,
        trained_s,
        lambda path: predict(model, path, task.device),
        trials=len(study.trials),
        complete=len(complete),
        epochs=search.epochs,
        best=study.best_params if complete else "the last trial, cut off",
    )


if __name__ == "__main__":
    main()
