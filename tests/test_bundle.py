import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import time
import warnings
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from bundle_helpers import make_bundle, make_info, make_model, make_report
from safetensors.torch import load_file, save_file

from autoseg.bundle import check_bundle, load_bundle, read_info, save_bundle
from autoseg.errors import BundleError


@pytest.fixture
def folder(tmp_path):
    return make_bundle(tmp_path / "model")


def change_config(folder: Path, change) -> None:
    values = json.loads((folder / "config.json").read_text())
    change(values)
    (folder / "config.json").write_text(json.dumps(values))


def change_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize("decoder_name", ["fpn", "unet", "segformer"])
def test_stock_smp_loads_it_and_gives_the_same_logits(tmp_path, decoder_name):
    folder = make_bundle(tmp_path / "model", decoder_name=decoder_name)
    images = torch.randn(2, 3, 64, 96)
    stock = smp.from_pretrained(folder).eval()
    with torch.inference_mode():
        wanted, got = stock(images), load_bundle(folder).model(images)
    # Where a tensor lies in memory decides the order of some sums.
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


def test_what_is_saved_is_loaded(tmp_path):
    info = make_info()
    model = make_model(info)
    report, card = make_report(info.classes.names), "# A card\n"
    folder = save_bundle(tmp_path / "model", model, info, report=report, card=card)
    bundle = load_bundle(folder)
    assert bundle.info == info == read_info(folder)
    assert not bundle.model.training
    assert json.loads((folder / "report.json").read_text()) == report
    assert (folder / "README.md").read_text() == card
    assert sorted(os.listdir(tmp_path)) == ["model"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(bundle.model.state_dict()[name], tensor)


def test_half_precision_and_channels_last_weights_are_stored_as_plain_float32(tmp_path):
    info = make_info()
    model = make_model(info).half().to(memory_format=torch.channels_last)
    weights = load_file(save_bundle(tmp_path / "model", model, info) / "model.safetensors")
    floats = [tensor for tensor in weights.values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floats} == {torch.float32}
    assert all(tensor.is_contiguous() for tensor in weights.values())


def test_a_bundle_is_replaced_but_nothing_else_is(tmp_path, folder):
    info = make_info(num_classes=4)
    save_bundle(folder, make_model(info), info)
    assert load_bundle(folder).info.classes.num_classes == 4
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(BundleError, match="is no bundle"):
        save_bundle(photos, make_model(info), info)
    assert os.listdir(photos) == ["holiday.jpg"]


def test_a_model_of_another_recipe_is_not_saved(tmp_path):
    with pytest.raises(BundleError, match="shape"):
        save_bundle(tmp_path / "model", make_model(make_info(3)), make_info(4))
    assert os.listdir(tmp_path) == []


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    info = make_info()
    model = make_model(info)
    with torch.no_grad():
        model.segmentation_head[0].bias[0] = float("nan")
    with pytest.raises(BundleError, match="not finite"):
        save_bundle(tmp_path / "model", model, info)
    assert os.listdir(tmp_path) == []


def test_a_killed_save_leaves_a_whole_bundle_or_none(folder):
    info = make_info(4)
    model = make_model(info)
    for attempt in range(12):
        with warnings.catch_warnings():
            # Python 3.12 warns of forks in processes with threads; the child only saves.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            while True:
                save_bundle(folder, model, info)
        time.sleep(0.02 + 0.013 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if folder.exists():
            load_bundle(folder)
    save_bundle(folder, model, info)
    assert os.listdir(folder.parent) == ["model"]


def test_weights_that_do_not_fit_are_an_error_and_the_old_bundle_stays(folder):
    info = make_info(4)
    model = make_model(info)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(BundleError, match="cannot be written"):
            save_bundle(folder, model, info)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_bundle(folder).info.classes.num_classes == 3
    assert os.listdir(folder.parent) == ["model"]


def test_a_full_disk_is_an_error_and_nothing_is_half_written(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    try:
        info = make_info()
        with pytest.raises(BundleError, match="No space left"):
            save_bundle(disk / "model", make_model(info), info)
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_an_incomplete_folder_is_an_error(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(BundleError, match=missing):
        load_bundle(folder)


def test_no_folder_is_an_error(tmp_path):
    with pytest.raises(BundleError, match="no folder"):
        load_bundle(tmp_path / "nothing")


def test_another_format_version_is_refused_with_the_version_that_wrote_it(folder):
    change_config(folder, lambda values: values["_autoseg"].update(format_version=99))
    with pytest.raises(BundleError, match=r"version 99.*reads 1.*0\.1\.0"):
        load_bundle(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(classes=10**9),
        lambda values: values.update(decoder_pyramid_channels=10**6),
        lambda values: values.update(encoder_name="tu-vit_giant_patch14_dinov2"),
        lambda values: values.update(encoder_weights="imagenet"),
        lambda values: values.update(_model_class="__import__"),
        lambda values: values.update(output_stride=16),
        lambda values: values.pop("encoder_depth"),
        lambda values: [values.pop(name) for name in ("_autoseg", "_model_class")],
        lambda values: values["_autoseg"].update(recipe=None),
        lambda values: values["_autoseg"]["recipe"]["geometry"].update(window=[32, 32]),
        lambda values: values["_autoseg"]["preprocessing"]["geometry"].update(fit="stretch"),
        lambda values: values.update(_autoseg=[]),
        lambda values: values["_autoseg"]["recipe"].update(encoder_name="hf-hub:evil/model"),
        lambda values: values["_autoseg"]["recipe"].update(decoder_name="dpt"),
        lambda values: values["_autoseg"]["classes"].update(names=["only"]),
        lambda values: values["_autoseg"]["classes"]["names"].append("one more"),
        lambda values: values["_autoseg"]["preprocessing"].update(std=[0, 1, 1]),
        lambda values: values["_autoseg"]["preprocessing"].update(mean=[float("nan"), 0, 0]),
        lambda values: values["_autoseg"]["preprocessing"]["geometry"].update(window=[2**20] * 2),
        lambda values: values["_autoseg"]["preprocessing"]["geometry"].update(box=[2**30] * 2),
        lambda values: values["_autoseg"].update(surprise=1),
    ],
)
def test_a_changed_configuration_is_refused(folder, change):
    change_config(folder, change)
    for read in (load_bundle, check_bundle):
        with pytest.raises(BundleError):
            read(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 100_000, '{"a": "' + "x" * 2_000_000 + '"}']
)
def test_a_configuration_that_is_none_is_refused(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(BundleError):
        load_bundle(folder)


def test_a_check_reads_no_values_and_finds_what_loading_would(folder):
    assert check_bundle(folder) == load_bundle(folder).info
    change_weights(folder, lambda weights: weights["segmentation_head.0.bias"].fill_(float("nan")))
    assert check_bundle(folder) == make_info()
    with pytest.raises(BundleError, match="not finite"):
        load_bundle(folder)
    change_weights(folder, lambda weights: weights.pop("segmentation_head.0.bias"))
    with pytest.raises(BundleError, match="1 tensors are missing"):
        check_bundle(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(BundleError, match="no model.safetensors"):
        check_bundle(folder)


def test_weights_of_another_network_are_refused_by_name_and_shape(folder):
    change_weights(folder, lambda weights: weights.pop("segmentation_head.0.bias"))
    with pytest.raises(BundleError, match=r"missing \(such as segmentation_head\.0\.bias\)"):
        load_bundle(folder)
    change_weights(
        folder, lambda weights: weights.update({"segmentation_head.0.bias": torch.zeros(4)})
    )
    with pytest.raises(BundleError, match=r"bias must be F32 of shape \(3,\), but is F32 of .*4"):
        load_bundle(folder)
    change_weights(
        folder,
        lambda weights: weights.update({"segmentation_head.0.bias": torch.zeros(3).double()}),
    )
    with pytest.raises(BundleError, match="but is F64"):
        load_bundle(folder)


def test_damaged_weights_are_refused(folder):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    for damaged in (
        whole[: len(whole) // 2],
        b"",
        b"\x80\x04pickle" * 10,
        struct.pack("<Q", 2**60) + whole[8:],
        whole + b"tail",
    ):
        file.write_bytes(damaged)
        with pytest.raises(BundleError, match="cannot be read"):
            load_bundle(folder)


def test_a_pickle_beside_the_weights_is_never_read(folder):
    shutil.move(folder / "model.safetensors", folder / "pytorch_model.bin")
    with pytest.raises(BundleError, match=r"no model\.safetensors"):
        load_bundle(folder)
