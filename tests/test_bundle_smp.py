import json
import warnings

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from bundle_helpers import make_info
from safetensors.torch import load_file, save_file
from smp_helpers import TINY, change_json, make_smp

from autoseg.bundle import check_bundle, copy_bundle, load_bundle, read_info, save_bundle
from autoseg.encoder_inputs import encoder_input
from autoseg.errors import BundleError
from autoseg.export import export_onnx
from autoseg.predictor import Predictor

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def stock(folder) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return smp.from_pretrained(folder).eval()


def change_weights(folder, change) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(change(weights), folder / "model.safetensors")


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


CASES = [
    ("Unet", TINY, {}),
    ("Unet", TINY, {"decoder_attention_type": "scse", "decoder_use_norm": "identity"}),
    ("UnetPlusPlus", TINY, {"decoder_channels": (64, 32, 16, 8, 4)}),
    ("MAnet", TINY, {"decoder_channels": (64, 32, 16, 8, 4), "decoder_pab_channels": 16}),
    ("Linknet", TINY, {"decoder_use_norm": {"type": "batchnorm", "eps": 1e-4}}),
    ("FPN", TINY, {"decoder_merge_policy": "cat", "decoder_pyramid_channels": 32}),
    ("PSPNet", TINY, {"psp_out_channels": 64}),
    ("DeepLabV3", TINY, {"decoder_channels": 32, "decoder_atrous_rates": (6, 12, 18)}),
    ("DeepLabV3Plus", TINY, {"decoder_channels": 32}),
    ("PAN", TINY, {}),
    ("UPerNet", TINY, {"decoder_channels": 32}),
    ("Segformer", "mit_b0", {"decoder_segmentation_channels": 32}),
    ("Segformer", "timm-mobilenetv3_small_minimal_100", {"decoder_segmentation_channels": 32}),
    ("DPT", "tu-test_vit.r160_in1k", {"dynamic_img_size": True, "decoder_fusion_channels": 32}),
    ("FPN", "mobilenet_v2", {"decoder_pyramid_channels": 32, "encoder_depth": 4}),
]


@pytest.mark.parametrize(("model_class", "encoder_name", "options"), CASES)
def test_it_gives_the_logits_of_stock_smp_and_masks_of_any_size(
    tmp_path, model_class, encoder_name, options
):
    folder = make_smp(tmp_path, model_class, encoder_name, **options)
    predictor = Predictor.from_pretrained(folder, device="cpu")
    bundle = predictor.bundle
    images = torch.randn(2, 3, 256, 320)
    with torch.inference_mode():
        wanted, got = stock(folder)(images), bundle.model(images)
    if wanted.shape[2] != 256:  # smp's FPN on four stages gives masks of twice the size.
        wanted = torch.nn.functional.interpolate(wanted, size=(256, 320), mode="bilinear")
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    assert wanted.std() > 0.01
    for shape in ((37, 301), (1, 1)):
        prediction = predictor.predict(image(*shape))
        assert prediction.mask.shape == shape and prediction.mask.max() < 3
    assert bundle.info.recipe is None
    assert bundle.info == check_bundle(folder) == read_info(folder)
    assert predictor.class_names == ("class 0", "class 1", "class 2")
    assert predictor.notes[0].startswith(f"This is a {model_class} with the encoder {encoder_name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoder_name",
    [
        *("resnet18", "vgg11", "densenet121", "se_resnet50", "xception", "dpn68", "inceptionv4"),
        *("inceptionresnetv2", "efficientnet-b0", "mobileone_s0", "timm-skresnet18"),
        *("timm-efficientnet-b0", "timm-tf_efficientnet_lite0", "timm-resnest14d", "timm-gernet_s"),
        *("timm-regnetx_002", "timm-res2net50_14w_8s", "tu-convnext_atto", "tu-maxvit_nano_rw_256"),
        *("tu-swin_tiny_patch4_window7_224", "tu-hiera_tiny_224", "tu-coat_lite_tiny"),
    ],
)
def test_encoders_of_every_kind_give_the_logits_of_stock_smp(tmp_path, encoder_name):
    folder = make_smp(tmp_path, encoder_name=encoder_name)
    model = load_bundle(folder).model
    side = 256 if encoder_name.endswith("256") else 224
    images = torch.randn(1, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(model(images), stock(folder)(images), atol=1e-4, rtol=1e-4)


def test_one_output_is_a_class_against_the_background(tmp_path):
    folder = make_smp(tmp_path, classes=1, activation="sigmoid")
    predictor = Predictor.from_pretrained(folder, device="cpu")
    assert predictor.class_names == ("background", "class 1")
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        probability = stock(folder)(images)
        got = predictor.bundle.model(images).softmax(1)
    torch.testing.assert_close(got[:, 1:], probability, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", ["softmax2d", "sigmoid", "tanh", "logsoftmax", None])
def test_what_stands_behind_the_logits_does_not_change_the_mask(tmp_path, activation):
    bare, active = make_smp(tmp_path / "bare"), make_smp(tmp_path / "active", activation=activation)
    pixels = image(64, 96)
    masks = [Predictor.from_pretrained(folder).predict(pixels).mask for folder in (bare, active)]
    assert np.array_equal(*masks)
    overlapping = any("overlap" in note for note in read_info(active).notes)
    assert overlapping == (activation == "sigmoid")


def test_a_second_head_that_classifies_images_is_left_out(tmp_path):
    folder = make_smp(tmp_path, aux_params={"classes": 7, "pooling": "max", "dropout": 0.5})
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        wanted, _ = stock(folder)(images)
        torch.testing.assert_close(load_bundle(folder).model(images), wanted)


def test_a_network_for_images_of_one_size_predicts_all_sizes(tmp_path):
    folder = make_smp(tmp_path, encoder_name="tu-test_coatnet")
    predictor = Predictor.from_pretrained(folder, device="cpu")
    assert predictor.bundle.tile == (160, 160)
    images = torch.randn(1, 3, 160, 160)
    with torch.inference_mode():
        wanted, got = stock(folder)(images), predictor.bundle.model(images)
    torch.testing.assert_close(got, wanted, atol=1e-3, rtol=1e-3)
    for shape in ((50, 70), (160, 160), (333, 190)):
        assert predictor.predict(image(*shape)).mask.shape == shape


def test_small_images_are_padded_for_networks_that_need_large_ones(tmp_path):
    folder = make_smp(tmp_path, "PAN")
    model = load_bundle(folder).model
    with pytest.raises(RuntimeError), torch.inference_mode():
        stock(folder)(torch.randn(1, 3, 32, 32))
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 32, 32)).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_precision_are_read_as_stock_smp_reads_them(tmp_path, dtype):
    folder = make_smp(tmp_path)
    change_weights(
        folder,
        lambda weights: {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in weights.items()
        },
    )
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(load_bundle(folder).model(images), stock(folder)(images))


def old_deeplab(weights):
    parts = {"aspp": "0", "conv": "1", "bn": "2"}
    for new, old in parts.items():
        weights = {
            name.replace(f"decoder.{new}.", f"decoder.{old}."): tensor
            for name, tensor in weights.items()
        }
    return weights


@pytest.mark.parametrize(
    ("model_class", "encoder_name", "values", "rename"),
    [
        ("Unet", TINY, {"decoder_use_batchnorm": True, "decoder_use_norm": ...}, dict),
        ("Unet", TINY, {"decoder_use_batchnorm": True, "decoder_use_norm": "identity"}, dict),
        ("PSPNet", TINY, {"psp_use_batchnorm": True, "decoder_use_norm": ...}, dict),
        ("PAN", TINY, {"upscale_mode": "bilinear", "decoder_interpolation": ...}, dict),
        ("DeepLabV3", TINY, {"encoder_output_stride": ...}, old_deeplab),
        (
            "Unet",
            "timm-regnetx_002",
            {},
            lambda weights: {
                k.replace("encoder.model.", "encoder."): v for k, v in weights.items()
            },
        ),
    ],
)
def test_models_of_older_versions_load_as_stock_smp_loads_them(
    tmp_path, model_class, encoder_name, values, rename
):
    """What smp 0.3.4 to 0.4 wrote differs in these names; of 86 real ones, run by hand, 85 load."""
    folder = make_smp(tmp_path, model_class, encoder_name)
    change_json(folder / "config.json", **values)
    change_weights(folder, rename)
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(load_bundle(folder).model(images), stock(folder)(images))


def test_an_upernet_of_smp_0_4_is_refused_as_stock_smp_does(tmp_path):
    folder = make_smp(tmp_path, "UPerNet")
    change_json(folder / "config.json", decoder_pyramid_channels=256, decoder_channels=...)
    with pytest.raises(BundleError, match="another version of segmentation_models_pytorch"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("encoder_name", "weights", "expected"),
    [
        ("resnet34", "imagenet", IMAGENET),
        ("xception", "imagenet", HALF),
        ("efficientnet-b3", "advprop", HALF),
        ("efficientnet-b3", None, IMAGENET),
        ("timm-tf_efficientnet_lite0", "imagenet", HALF),
        ("tu-tf_efficientnet_lite0.in1k", None, HALF),
        ("tu-resnet18", None, IMAGENET),
        ("dpn68", "imagenet", ((0.4863, 0.4588, 0.4078), (0.2348, 0.2348, 0.2348))),
    ],
)
def test_pixels_are_standardised_as_for_the_encoder(encoder_name, weights, expected):
    found = encoder_input(encoder_name, weights)
    assert np.allclose((found.mean, found.std), expected, atol=5e-5)


def write_transforms(folder, *transforms) -> None:
    inner = [{"__class_fullname__": name, "p": 1.0, **arguments} for name, arguments in transforms]
    outer = {"__class_fullname__": "Compose", "p": 1.0, "transforms": inner}
    content = {"__version__": "2.0.8", "transform": outer}
    (folder / "albumentations_config_eval.json").write_text(json.dumps(content))


NORMALIZE = (
    "Normalize",
    {"mean": [0.6, 0.4, 0.3], "std": [0.1, 0.2, 0.3], "max_pixel_value": 255.0,
     "normalization": "standard"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("transforms", "image_shape", "seen", "mean"),
    [
        ([NORMALIZE], (100, 200), (100, 200), (0.6, 0.4, 0.3)),
        ([("Resize", {"height": 320, "width": 256}), NORMALIZE], (100, 200), (320, 256), 0.6),
        ([("LongestMaxSize", {"max_size": [128]})], (100, 200), (64, 128), 0.5),
        ([("SmallestMaxSize", {"max_size": 128})], (100, 200), (128, 256), 0.5),
        ([("PadIfNeeded", {"min_height": 384, "min_width": 480})], (100, 200), (100, 200), 0.5),
        ([("albumentations.pytorch.transforms.ToTensorV2", {})], (9, 9), (9, 9), 0.5),
        ([("ToFloat", {"max_value": 255.0})], (9, 9), (9, 9), 0.0),
        (
            [
                ("ToFloat", {"max_value": 255}),
                ("Normalize", {**NORMALIZE[1], "max_pixel_value": 1}),
            ],
            (9, 9),
            (9, 9),
            (0.6, 0.4, 0.3),
        ),
    ],
)
def test_sizes_and_standardisation_come_from_the_transforms_beside_the_model(
    tmp_path, transforms, image_shape, seen, mean
):
    folder = make_smp(tmp_path)
    write_transforms(folder, *transforms)
    preprocessing = load_bundle(folder).info.preprocessing
    assert preprocessing.geometry.resized_shape(*image_shape) == seen
    got = preprocessing.mean if isinstance(mean, tuple) else preprocessing.mean[0]
    assert got == pytest.approx(mean)
    names = [name for name, _ in transforms]
    notes = " ".join(read_info(folder).notes)
    sized = {"Resize", "LongestMaxSize", "SmallestMaxSize"} & set(names)
    assert ("images are taken at their own size" in notes) == (not sized)
    standardised = {"Normalize", "ToFloat"} & set(names)
    assert ("standardised" in notes) == (not standardised)


def test_small_images_are_padded_as_the_transforms_do(tmp_path):
    folder = make_smp(tmp_path)
    write_transforms(folder, ("PadIfNeeded", {"min_height": 128, "min_width": 160}), NORMALIZE)
    assert load_bundle(folder).model.rule.shape_for(32, 64) == (128, 160)


def test_a_transform_that_is_not_done_is_named(tmp_path):
    folder = make_smp(tmp_path)
    write_transforms(folder, ("CLAHE", {}), ("CenterCrop", {"height": 64, "width": 64}), NORMALIZE)
    assert "CLAHE, CenterCrop" in read_info(folder).notes[-1]


@pytest.mark.parametrize("mode", ["min_max", "image_per_channel", "\x1b[2J", ["x"] * 99])
def test_pixels_that_are_standardised_in_an_unknown_way_are_guessed_with_a_note(tmp_path, mode):
    """A repository of the Hub cannot be corrected by who loads it."""
    folder = make_smp(tmp_path)
    pretrained = read_info(folder).preprocessing
    scaled = ("ToFloat", {"max_value": 255.0})
    resized = ("Resize", {"height": 320, "width": 256})
    write_transforms(folder, resized, scaled, ("Normalize", {"normalization": mode}))
    info = load_bundle(folder).info
    assert info.preprocessing.mean == pretrained.mean and info.preprocessing.std == pretrained.std
    assert info.preprocessing.geometry.box == (320, 256)
    assert ascii(mode)[:40] in info.notes[-1] and "encoder's pretraining" in info.notes[-1]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (("Normalize", {**NORMALIZE[1], "std": [0, 1, 1]}), "std"),
        (("Normalize", {**NORMALIZE[1], "mean": [1, 2]}), "three numbers"),
        (("Normalize", {**NORMALIZE[1], "mean": "os.system"}), "three numbers"),
        (("Resize", {"height": 10**9, "width": 10}), "1 to 16384"),
        (("Resize", {"height": "__import__('os')", "width": 10}), "1 to 16384"),
        (("LongestMaxSize", {"max_size": [64, 128]}), "1 to 16384"),
    ],
)
def test_transforms_that_cannot_be_done_are_an_error_that_names_the_file(
    tmp_path, transform, message
):
    folder = make_smp(tmp_path)
    write_transforms(folder, transform)
    with pytest.raises(BundleError, match=f"albumentations_config_eval.json.*{message}"):
        load_bundle(folder)


def test_a_strip_of_an_image_that_must_cover_a_box_stays_small(tmp_path):
    folder = make_smp(tmp_path)
    write_transforms(folder, ("SmallestMaxSize", {"max_size": 256}))
    geometry = read_info(folder).preprocessing.geometry
    assert max(geometry.resized_shape(1, 30000)) == 8 * 256


def test_it_can_be_copied_but_not_saved_as_one_of_ours(tmp_path):
    folder = make_smp(tmp_path / "stock")
    write_transforms(folder, NORMALIZE)
    copy = copy_bundle(folder, tmp_path / "copy")
    assert read_info(copy) == read_info(folder)
    bundle = load_bundle(folder)
    with pytest.raises(BundleError, match="not trained by autoseg"):
        save_bundle(tmp_path / "ours", bundle.model, bundle.info)
    assert make_info().recipe is not None


def test_it_can_be_exported(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    bundle = load_bundle(make_smp(tmp_path / "model", classes=1))
    file = export_onnx(bundle, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    images = np.zeros((1, 3, 64, 128), np.float32)
    assert session.run(None, {"images": images})[0].shape == (1, 2, 64, 128)
