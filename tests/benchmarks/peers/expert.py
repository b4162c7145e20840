"""An expert's plain loop for a few minutes on two cores: smp, AdamW, one-cycle, no search.

FPN of default width on EfficientNet-Lite0 with ImageNet weights; images at half size (small ones at
less or no reduction, so that a crop of 256x256 is filled), decoded once and kept in memory; flips
and crops; cross-entropy and Dice; channels-last; on a GPU bfloat16. The one-cycle schedule is laid
over the whole budget, which counts from the start of the process and includes the decoding. The
weights at the end are taken; predicting comes after the budget.
"""

import math
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image
from task import ENCODERS, IGNORE_INDEX, Task, encoder_facts, hand_in, pretrained_fpn, read_task

from autoseg.data.images import read_image

CROP = 256
BATCH_SIZE = 8
DECODER_LR = 1e-3
ENCODER_LR = 0.3 * DECODER_LR
FACTS = encoder_facts(ENCODERS[0])


def working_size(size: tuple[int, int]) -> tuple[int, int]:
    """Half of (width, height), but no side below a crop unless the image's own is."""
    scale = min(1.0, max(0.5, CROP / min(size)))
    return round(scale * size[0]), round(scale * size[1])


def shrink(image: np.ndarray) -> np.ndarray:
    """Image (h, w, 3) uint8 at working size."""
    whole = Image.fromarray(image)
    return np.array(whole.resize(working_size(whole.size), Image.Resampling.BILINEAR))


def load_mask(path: str) -> np.ndarray:
    """Mask (h, w) uint8 at working size."""
    mask = Image.open(path)
    return np.asarray(mask.resize(working_size(mask.size), Image.Resampling.NEAREST))


def crop(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random crop of 256x256, flipped at random; what is smaller is padded and ignored."""
    height, width = mask.shape
    top = int(rng.integers(0, max(0, height - CROP) + 1))
    left = int(rng.integers(0, max(0, width - CROP) + 1))
    image = image[top : top + CROP, left : left + CROP]
    mask = mask[top : top + CROP, left : left + CROP]
    for axis in (0, 1):
        if rng.random() < 0.5:
            image, mask = np.flip(image, axis), np.flip(mask, axis)
    below, right = CROP - mask.shape[0], CROP - mask.shape[1]
    image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
    return image, np.pad(mask, ((0, below), (0, right)), constant_values=IGNORE_INDEX)


def normalize(images: torch.Tensor) -> torch.Tensor:
    """Images (N, h, w, 3) uint8 -> (N, 3, h, w) float32, channels last in memory."""
    mean, std = (
        torch.tensor(value, device=images.device).mul(255) for value in (FACTS.mean, FACTS.std)
    )
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def one_cycle(progress: float, peak: float) -> float:
    """Smith's one-cycle with torch's defaults, over a share of the time instead of steps."""
    start, end, rise = peak / 25, peak / 25 / 1e4, 0.3
    if progress < rise:
        return start + (peak - start) * (1 - math.cos(math.pi * progress / rise)) / 2
    fall = (progress - rise) / (1 - rise)
    return end + (peak - end) * (1 + math.cos(math.pi * fall)) / 2


def train(model: smp.FPN, pairs: list[tuple[np.ndarray, np.ndarray]], task: Task) -> int:
    """Train until the budget is spent; the number of steps taken."""
    rng = np.random.default_rng(task.seed)
    encoder = list(model.encoder.parameters())
    decoder = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
    peaks = (ENCODER_LR, DECODER_LR)
    optimizer = torch.optim.AdamW(
        [{"params": part, "lr": lr} for part, lr in zip((encoder, decoder), peaks, strict=True)],
        fused=True,
    )
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE_INDEX)
    on_gpu = task.device.type == "cuda"
    torch.backends.cudnn.benchmark = on_gpu
    begun = task.elapsed()
    order: list[int] = []
    steps, step_s = 0, 0.0
    model.train()
    while (now := task.elapsed()) + step_s < task.budget_s:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = one_cycle((now - begun) / (task.budget_s - begun), peak)
        while len(order) < BATCH_SIZE:
            order += rng.permutation(len(pairs)).tolist()
        batch = [crop(*pairs[k], rng) for k in order[:BATCH_SIZE]]
        order = order[BATCH_SIZE:]
        images = torch.from_numpy(np.stack([image for image, _ in batch])).to(task.device)
        masks = torch.from_numpy(np.stack([mask for _, mask in batch])).to(task.device).long()
        with torch.autocast(task.device.type, torch.bfloat16, enabled=on_gpu):
            logits = model(normalize(images)).float()
        loss = cross_entropy(logits, masks) + dice(logits, masks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step_s = task.elapsed() - now
        steps += 1
    return steps


@torch.inference_mode()
def predict(model: smp.FPN, path: str, device: torch.device) -> np.ndarray:
    """Mask (H, W) uint8 at the image's own size: predicted at working size, logits upsampled."""
    image = read_image(Path(path))
    small = normalize(torch.from_numpy(shrink(image))[None].to(device))
    height, width = small.shape[-2:]
    padded = torch.nn.functional.pad(small, (0, -width % 32, 0, -height % 32), mode="replicate")
    logits = model(padded)[..., :height, :width]
    logits = torch.nn.functional.interpolate(logits, image.shape[:2], mode="bilinear")
    return logits.argmax(1)[0].to(torch.uint8).cpu().numpy()


def main() -> None:
    """Train, then write the masks of the test images."""
    task = read_task(__doc__)
    pairs = [(shrink(read_image(Path(image))), load_mask(mask)) for image, mask in task.train]
    model = pretrained_fpn(ENCODERS[0], task.num_classes).to(
        task.device, memory_format=torch.channels_last
    )
    steps = train(model, pairs, task)
    trained_s = task.elapsed()
    model.eval()
    facts = {"steps": steps, "epochs": round(steps * BATCH_SIZE / len(pairs), 1)}
    hand_in(task, trained_s, lambda path: predict(model, path, task.device), **facts)


if __name__ == "__main__":
    main()
