"""Networks of stock segmentation-models-pytorch behind the interface of ours."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from autoseg.config import WINDOW_MULTIPLE
from autoseg.errors import ConfigError
from autoseg.preprocessing import pad_image, round_up
from autoseg.smp_config import SmpConfig
from autoseg.unfilled import filled_by

_MAX_GAIN = 4
"""A mask may have this many times the height and width of its image before it is refused: smp's own
FPN on four stages gives twice the size."""


@dataclass(frozen=True)
class InputRule:
    """Which images a network takes."""

    multiple: int
    """Height and width must be multiples of this, in pixels."""
    minimum: tuple[int, int]
    """Smallest height and width, in pixels."""
    fixed: tuple[int, int] | None = None
    """The only height and width it takes, where there is but one."""

    def shape_for(self, height: int, width: int) -> tuple[int, int]:
        """The smallest shape it takes that holds an image of this shape, in pixels."""
        if self.fixed is not None:
            return self.fixed
        height, width = max(height, self.minimum[0]), max(width, self.minimum[1])
        return round_up(height, self.multiple), round_up(width, self.multiple)


class SmpNetwork(nn.Module):
    """A network of smp that takes images of any size and knows two classes at least."""

    def __init__(self, network: nn.Module, rule: InputRule) -> None:
        super().__init__()
        self.network = network
        self.rule = rule

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (N, 3, h, w) -> logits (N, K, h, w)."""
        height, width = images.shape[-2:]
        shape = self.rule.shape_for(height, width)
        logits: torch.Tensor = self.network(pad_image(images, *shape))
        if tuple(logits.shape[-2:]) != shape:  # A head that upsamples too little or too much.
            logits = nn.functional.interpolate(logits, size=shape, mode="bilinear")
        logits = logits[..., :height, :width]
        if logits.shape[1] == 1:  # The sigmoid of z is the softmax of (0, z).
            logits = torch.cat([torch.zeros_like(logits), logits], 1)
        return logits


@contextmanager
def weightless() -> Iterator[None]:
    """Build networks on the "meta" device: names and shapes, but neither memory nor values."""
    with torch.device("meta"), _Unfilled():
        yield


def build_smp(config: SmpConfig) -> nn.Module:
    """The untrained network itself, in eval mode, with logits as its output.

    Raises:
        ConfigError: smp or timm cannot build such a network.
    """
    arguments = {**config.arguments, "encoder_weights": None, "in_channels": 3}
    try:
        with _quiet():
            network: nn.Module = getattr(smp, config.model_class)(
                encoder_name=config.encoder_name, classes=config.num_outputs, **arguments
            )
    except Exception as error:  # Whatever smp and timm raise for arguments that do not fit.
        raise ConfigError(
            f"{config.model_class} with the encoder {config.encoder_name} cannot be built as "
            f"described: {_reason(error)}"
        ) from error
    return network.eval()


def find_input_rule(network: nn.Module, pretrained_size: tuple[int, int] | None) -> InputRule:
    """Find by trial which images a network takes.

    Args:
        network: On the "meta" device, so that a trial costs shapes only.
        pretrained_size: Height and width that its encoder was made for, if known, in pixels.

    Raises:
        ConfigError: It takes none, or gives masks larger than its images.
    """
    stride = getattr(network.encoder, "output_stride", 32)
    # A grid of patches must be even for DPT, and a whole number of windows for some encoders.
    multiples = [stride, 2 * stride, *([max(pretrained_size)] if pretrained_size else [])]
    for multiple in multiples:
        for minimum in sorted({round_up(side, multiple) for side in (32, 64, 128, 256)}):
            if _takes(network, minimum, minimum + multiple):
                return InputRule(multiple, minimum=(minimum, minimum))
    if (
        pretrained_size
        and min(pretrained_size) >= WINDOW_MULTIPLE
        and _takes(network, *pretrained_size)
    ):
        return InputRule(stride, minimum=pretrained_size, fixed=pretrained_size)
    raise ConfigError(
        "The network as described takes no images with the installed segmentation_models_pytorch: "
        "none of the sizes that were tried went through it."
    )


def rename_weight(name: str, config: SmpConfig) -> str | None:
    """The network's name of a tensor in a file, which an older smp may have called otherwise.

    None: it belongs to the second head, which gives no mask and is not built.
    """
    if name.startswith("classification_head."):
        return None
    if config.model_class == "DeepLabV3":
        for old, new in (("0", "aspp"), ("1", "conv"), ("2", "bn")):
            if name.startswith(f"decoder.{old}."):
                return name.replace(f"decoder.{old}.", f"decoder.{new}.", 1)
    encoder = config.encoder_name.partition("-")[2].removeprefix("tf_")
    moved = encoder.startswith(("regnet", "res2", "resnest", "mobilenetv3", "gernet"))
    if moved and name.startswith("encoder.") and not name.startswith("encoder.model."):
        name = f"encoder.model.{name.removeprefix('encoder.')}"
        if encoder.startswith("gernet"):
            name = name.replace(".stages.", ".stages_")
    return name


def _takes(network: nn.Module, height: int, width: int) -> bool:
    """Whether the network makes a mask of an image of that shape, and not a far larger one."""
    images = torch.empty(1, 3, height, width, device="meta")
    try:
        with torch.inference_mode(), _quiet():
            shape = network(images).shape
    except Exception:  # Networks refuse shapes with errors of all kinds.
        return False
    fits = len(shape) == 4 and shape[2] <= _MAX_GAIN * height and shape[3] <= _MAX_GAIN * width
    return bool(fits)


class _Unfilled(TorchFunctionMode):
    """Leave tensors on "meta" as they are, but compute the few numbers that encoders read."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensor = filled_by(func, args, kwargs)
        if tensor is not None and tensor.is_meta:
            return tensor
        if func is torch.linspace:
            return func(*args, **{**kwargs, "device": "cpu"})
        return func(*args, **kwargs)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without smp's advice to whoever writes such configurations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _reason(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0] or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}..."
