"""smp's own example, the loop of `examples/camvid_segmentation_multiclass.ipynb`, plainly.

FPN, Adam at 2e-4 falling to 1e-5 along a cosine, Dice loss, batches of 32 crops of 320x320 with the
example's augmentation, images read from disk every time, validation images padded to a multiple of
32, float32. Three things are other than there, all in its favour: pixels are scaled to 0..1 before
the encoder's mean is taken off (the example forgets it), the cosine is laid over the budget instead
of 50 epochs, and nothing is validated between epochs (the example chooses nothing by it).
"""

import math
import os
from collections.abc import Sequence

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # It would ask the network for its newest version.

import albumentations as A  # noqa: E402 - after its switch
import cv2  # noqa: E402
import numpy as np  # noqa: E402
import segmentation_models_pytorch as smp  # noqa: E402
import torch  # noqa: E402
from task import (  # noqa: E402
    ENCODERS,
    IGNORE_INDEX,
    Task,
    encoder_facts,
    hand_in,
    pretrained_fpn,
    read_task,
)
from torch.utils.data import DataLoader  # noqa: E402

LR, LEAST_LR = 2e-4, 1e-5
BATCH_SIZE = 32
CROP = 320


def training_augmentation(seed: int) -> A.Compose:
    """The example's, with the names of albumentations 2."""
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(scale=(0.5, 1.5), translate_percent=(-0.1, 0.1), p=1),
            A.PadIfNeeded(CROP, CROP),
            A.RandomCrop(CROP, CROP),
            A.GaussNoise(p=0.2),
            A.Perspective(p=0.5),
            A.OneOf(
                [A.CLAHE(p=1), A.RandomBrightnessContrast(p=1), A.RandomGamma(p=1)],
                p=0.9,
            ),
            A.OneOf(
                [A.Sharpen(p=1), A.Blur(blur_limit=3, p=1), A.MotionBlur(blur_limit=3, p=1)],
                p=0.9,
            ),
            A.OneOf([A.RandomBrightnessContrast(p=1), A.HueSaturationValue(p=1)], p=0.9),
        ],
        seed=seed,
    )


PADDING = A.PadIfNeeded(
    min_height=None,
    min_width=None,
    pad_height_divisor=32,
    pad_width_divisor=32,
    position="top_left",
    border_mode=cv2.BORDER_REFLECT_101,
)


class Dataset(torch.utils.data.Dataset):
    """Images (3, h, w) and masks (h, w), uint8, augmented."""

    def __init__(self, pairs: Sequence[tuple[str, str]], augmentation: A.Compose) -> None:
        self.pairs = pairs
        self.augmentation = augmentation

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = self.pairs[index]
        sample = self.augmentation(image=read_image(image), mask=cv2.imread(mask, 0))
        return sample["image"].transpose(2, 0, 1), sample["mask"]


def batches(task: Task, data: Dataset, batch_size: int) -> DataLoader:
    """Shuffled batches; as in the example, the last of an epoch may be smaller."""
    workers = task.workers
    return DataLoader(
        data, batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


def read_image(path: str) -> np.ndarray:
    """Image (H, W, 3) uint8."""
    return cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)


class Model(torch.nn.Module):
    """The network with the encoder's normalization in front."""

    def __init__(self, encoder_name: str, num_classes: int) -> None:
        super().__init__()
        self.network = pretrained_fpn(encoder_name, num_classes)
        facts = encoder_facts(encoder_name)
        self.register_buffer("mean", torch.tensor(facts.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(facts.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, h, w) uint8 -> logits (N, K, h, w)."""
        return self.network((images / 255 - self.mean) / self.std)


class Trainer:
    """Steps of one training, none of which begins unless there is time for it."""

    def __init__(self, task: Task, model: Model, lr: float) -> None:
        self.task = task
        self.model = model
        self.lr = lr
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.loss = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE_INDEX)
        self.steps = 0
        self.step_s = 0.0

    def step(self, images: torch.Tensor, masks: torch.Tensor, progress: float) -> bool:
        """One step at a point of the cosine, 0 to 1; whether there was time for it."""
        begun = self.task.elapsed()
        if begun + self.step_s >= self.task.budget_s:
            return False
        cosine = (1 + math.cos(math.pi * progress)) / 2
        for group in self.optimizer.param_groups:
            group["lr"] = LEAST_LR + (self.lr - LEAST_LR) * cosine
        logits = self.model(images.to(self.task.device))
        loss = self.loss(logits, masks.to(self.task.device).long())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        self.step_s = self.task.elapsed() - begun
        return True


@torch.inference_mode()
def predict(model: Model, path: str, device: torch.device) -> np.ndarray:
    """Mask (H, W) uint8 of a whole image at its own size."""
    image = read_image(path)
    padded = PADDING(image=image)["image"].transpose(2, 0, 1)
    logits = model(torch.from_numpy(np.ascontiguousarray(padded))[None].to(device))
    mask = logits.argmax(1)[0, : image.shape[0], : image.shape[1]]
    return mask.to(torch.uint8).cpu().numpy()


def main() -> None:
    """Train until the budget is spent, then write the masks of the test images."""
    task = read_task(__doc__)
    data = Dataset(task.train, training_augmentation(task.seed))
    loader = batches(task, data, BATCH_SIZE)
    model = Model(ENCODERS[0], task.num_classes).to(task.device).train()
    trainer = Trainer(task, model, LR)
    begun, going = task.elapsed(), True
    while going:
        for images, masks in loader:
            progress = (task.elapsed() - begun) / (task.budget_s - begun)
            going = trainer.step(images, masks, min(1.0, progress))
            if not going:
                break
    trained_s = task.elapsed()
    model.eval()
    facts = {"steps": trainer.steps, "epochs": round(trainer.steps / len(loader), 1)}
    hand_in(task, trained_s, lambda path: predict(model, path, task.device), **facts)


if __name__ == "__main__":
    main()
