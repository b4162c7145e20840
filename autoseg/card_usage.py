"""The lines of a card that load the model: with autoseg, and with stock smp."""

from autoseg.bundle import BundleInfo
from autoseg.text import printable

_USE = """\
### With autoseg

It resizes the image as the model wants it, cuts large ones into tiles, and gives the mask back at
the image's own size. `pip install autoseg-search`, then

```python
import autoseg

predictor = autoseg.Predictor.from_pretrained("{repo}")
prediction = predictor.predict("image.png")
prediction.mask  # (H, W) uint8, class indices at the image's own size
prediction.save_overlay("overlay.png")
```

### With segmentation_models_pytorch alone

`pip install segmentation-models-pytorch`, then

```python
import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image

model = smp.from_pretrained("{repo}").eval()
image = Image.open("image.png").convert("RGB")
width, height = image.size
{resize}
pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
mean, std = torch.tensor({mean}), torch.tensor({std})
pixels = (pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
bottom, right = -pixels.shape[2] % 32, -pixels.shape[3] % 32
padded = torch.nn.functional.pad(pixels, (0, right, 0, bottom), mode="replicate")
with torch.inference_mode():
    logits = model(padded)[:, :, : pixels.shape[2], : pixels.shape[3]]
probabilities = torch.nn.functional.interpolate(
    logits.softmax(1), size=(height, width), mode="bilinear"
)
mask = probabilities.argmax(1)[0].numpy()  # (H, W), class indices at the image's own size
```

{tiles}
"""

_TILES = """\
These lines take the image as a whole, so memory limits its size; autoseg cuts it into tiles."""

_TILES_VIT = """\
These lines take the image as a whole. Its encoder is a plain ViT, which works best on tiles of
{width}x{height} pixels as it was trained with; autoseg cuts larger images into such tiles."""

_RESIZE_BOX = """\
factor = min({box_height} / height, {box_width} / width)
size = max(1, round(width * factor)), max(1, round(height * factor))
image = image.resize(size, Image.Resampling.BILINEAR)"""

_RESIZE_SCALE = """\
size = max(1, round(width * {scale})), max(1, round(height * {scale}))
image = image.resize(size, Image.Resampling.BILINEAR)"""


def usage(info: BundleInfo, repo: str) -> str:
    """Both ways to load the model, complete enough to be copied and run.

    Args:
        info: What the bundle knows of itself.
        repo: Folder or repository to load from.
    """
    geometry = info.preprocessing.geometry
    if geometry.box is not None:
        box_height, box_width = geometry.box
        resize = _RESIZE_BOX.format(box_height=box_height, box_width=box_width)
    elif geometry.scale != 1:
        resize = _RESIZE_SCALE.format(scale=geometry.scale)
    else:
        resize = "# The model sees images at their own size."
    tiles = _TILES
    if info.recipe is not None and info.recipe.decoder_name == "dpt":
        tiles = _TILES_VIT.format(width=geometry.window[1], height=geometry.window[0])
    return "## How to use it\n\n" + _USE.format(
        repo=printable(repo).replace("\\", "/").replace('"', "").replace("`", ""),
        resize=resize,
        mean=list(info.preprocessing.mean),
        std=list(info.preprocessing.std),
        tiles=tiles,
    )
