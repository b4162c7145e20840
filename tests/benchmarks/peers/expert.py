"""An expert's plain loop for a few minutes on two cores: smp, AdamW, one-cycle, no search.

FPN of default width on EfficientNet-Lite0 with ImageNet weights; images at half size, decoded once
and kept in memory; flips and crops; cross-entropy and Dice; channels-last. The one-cycle schedule
is laid over the whole budget, which counts from the start of the process and includes the
decoding. The weights at the end are taken; predicting comes after the budget.

Reads a JSON task (see `quality.py`): `train`, a list of [image, index mask], `test`, a list of
images, and `num_classes`. Writes one index PNG per test image.
"""

import time

STARTED_AT = time.monotonic()  # Before the heavy imports: the budget counts them too.

import argparse  # noqa: E402 - after the clock has started
import json  # noqa: E402
import math  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import segmentation_models_pytorch as smp  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from autoseg.data.images import image_size, read_image  # noqa: E402
from autoseg.encoders import find_encoder, load_weights  # noqa: E402

IGNORE_INDEX = 255
CROP = 256
BATCH_SIZE = 8
DECODER_LR = 1e-3
ENCODER_LR = 0.3 * DECODER_LR
ENCODER = find_encoder("tf_efficientnet_lite0.in1k")


def build_model(num_classes: int) -> torch.nn.Module:
    """FPN of default width with ImageNet weights in its encoder."""
    model = smp.FPN("tu-tf_efficientnet_lite0", encoder_weights=None, classes=num_classes)
    result = model.encoder.model.load_state_dict(load_weights(ENCODER), strict=False)
    assert not result.missing_keys, result.missing_keys
    return model.to(memory_format=torch.channels_last)


def half(size: tuple[int, int]) -> tuple[int, int]:
    """Half of (width, height), at least a pixel."""
    return max(1, round(size[0] / 2)), max(1, round(size[1] / 2))


def load_image(path: str) -> np.ndarray:
    """Image (h, w, 3) uint8 at half size."""
    image = Image.fromarray(read_image(Path(path)))
    return np.asarray(image.resize(half(image.size), Image.Resampling.BILINEAR))


def load_mask(path: str) -> np.ndarray:
    """Mask (h, w) uint8 at half size."""
    mask = Image.open(path)
    return np.asarray(mask.resize(half(mask.size), Image.Resampling.NEAREST))


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
    mean = torch.tensor(ENCODER.mean).mul(255)
    std = torch.tensor(ENCODER.std).mul(255)
    return ((images.float() - mean) / std).permute(0, 3, 1, 2)


def one_cycle(progress: float, peak: float) -> float:
    """Smith's one-cycle with torch's defaults, over a share of the time instead of steps."""
    start, end, rise = peak / 25, peak / 25 / 1e4, 0.3
    if progress < rise:
        return start + (peak - start) * (1 - math.cos(math.pi * progress / rise)) / 2
    fall = (progress - rise) / (1 - rise)
    return end + (peak - end) * (1 + math.cos(math.pi * fall)) / 2


def train(
    model: torch.nn.Module, pairs: list[tuple[np.ndarray, np.ndarray]], budget_s: float, seed: int
) -> int:
    """Train until the budget is spent; the number of steps taken."""
    rng = np.random.default_rng(seed)
    encoder = list(model.encoder.parameters())
    decoder = [*model.decoder.parameters(), *model.segmentation_head.parameters()]
    peaks = (ENCODER_LR, DECODER_LR)
    optimizer = torch.optim.AdamW(
        [{"params": part, "lr": lr} for part, lr in zip((encoder, decoder), peaks, strict=True)],
        fused=True,
    )
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE_INDEX)
    begun = time.monotonic() - STARTED_AT
    order: list[int] = []
    steps, step_s = 0, 0.0
    model.train()
    while (now := time.monotonic() - STARTED_AT) + step_s < budget_s:
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = one_cycle((now - begun) / (budget_s - begun), peak)
        while len(order) < BATCH_SIZE:
            order += rng.permutation(len(pairs)).tolist()
        batch = [crop(*pairs[k], rng) for k in order[:BATCH_SIZE]]
        order = order[BATCH_SIZE:]
        images = normalize(torch.from_numpy(np.stack([image for image, _ in batch])))
        masks = torch.from_numpy(np.stack([mask for _, mask in batch])).long()
        logits = model(images)
        loss = cross_entropy(logits, masks) + dice(logits, masks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        step_s = time.monotonic() - STARTED_AT - now
        steps += 1
    return steps


def predict(model: torch.nn.Module, path: str) -> np.ndarray:
    """Mask (H, W) uint8 at the image's own size: the whole image at half size, logits upsampled."""
    own = image_size(Path(path))
    small = normalize(torch.from_numpy(np.array(load_image(path)))[None])
    height, width = small.shape[-2:]
    padded = torch.nn.functional.pad(small, (0, -width % 32, 0, -height % 32), mode="replicate")
    with torch.inference_mode():
        logits = model(padded)[..., :height, :width]
        logits = torch.nn.functional.interpolate(logits, own, mode="bilinear")
    return logits.argmax(1)[0].to(torch.uint8).numpy()


def main() -> None:
    """Train, then write the masks of the test images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", type=Path, help="JSON file")
    parser.add_argument("out", type=Path, help="folder for the masks, 0.png and so on")
    parser.add_argument("--budget", type=float, required=True, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    task = json.loads(args.task.read_text(encoding="utf-8"))
    pairs = [(load_image(image), load_mask(mask)) for image, mask in task["train"]]
    model = build_model(task["num_classes"])
    steps = train(model, pairs, args.budget, args.seed)
    trained_s = time.monotonic() - STARTED_AT
    model.eval()
    args.out.mkdir(parents=True, exist_ok=True)
    for k, path in enumerate(task["test"]):
        Image.fromarray(predict(model, path)).save(args.out / f"{k}.png")
    print(json.dumps({"steps": steps, "trained_s": round(trained_s, 2)}))


if __name__ == "__main__":
    main()
