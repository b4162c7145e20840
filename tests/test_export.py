import json
import sys

import numpy as np
import pytest
import torch
from bundle_helpers import TINY, make_bundle

from autoseg.bundle import load_bundle
from autoseg.config import Geometry, to_dict
from autoseg.engines import is_installed, openvino_session
from autoseg.errors import BundleError
from autoseg.export import export_onnx, export_openvino

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")


@pytest.mark.parametrize(
    ("encoder_name", "decoder_name"),
    [
        (TINY, "fpn"),
        (TINY, "unet"),
        (TINY, "segformer"),
        ("tf_efficientnet_lite0.in1k", "fpn"),
    ],
)
def test_onnxruntime_gives_the_model_s_logits_at_any_size(tmp_path, encoder_name, decoder_name):
    folder = make_bundle(tmp_path / "model", encoder_name=encoder_name, decoder_name=decoder_name)
    bundle = load_bundle(folder)
    path = export_onnx(bundle, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 160, 96)).astype(np.float32)
    (got,) = session.run(None, {"images": images})
    inputs = bundle.info.preprocessing.normalize(torch.from_numpy(images).byte())
    with torch.inference_mode():
        wanted = bundle.model(inputs)
    torch.testing.assert_close(torch.from_numpy(got), wanted, atol=1e-3, rtol=1e-3)
    stored = json.loads(session.get_modelmeta().custom_metadata_map["autoseg"])
    assert stored == json.loads(json.dumps(to_dict(bundle.info)))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model", "model.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "encoder_name", ["vit_small_patch14_dinov2.lvd142m", "vit_small_patch16_dinov3.lvd1689m"]
)
def test_a_plain_vit_is_exported_at_its_window(tmp_path, encoder_name):
    """ONNX cannot resample the position embedding, so it is resampled before."""
    folder = make_bundle(
        tmp_path / "model",
        encoder_name=encoder_name,
        decoder_name="dpt",
        geometry=Geometry(window=(96, 128), scale=1.0),
    )
    path = export_onnx(load_bundle(folder), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", 3, 96, 128]


def test_without_onnx_the_error_says_what_to_install(tmp_path, monkeypatch):
    bundle = load_bundle(make_bundle(tmp_path / "model"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BundleError, match=r"autoseg-search\[onnx\]"):
        export_onnx(bundle, tmp_path / "model.onnx")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    bundle = load_bundle(make_bundle(tmp_path / "model"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BundleError, match="cannot be written"):
        export_onnx(bundle, tmp_path / "file" / "model.onnx")


def test_openvino_gives_the_model_s_logits_at_any_size(tmp_path):
    if not is_installed("openvino"):
        pytest.skip("the extra openvino is not installed")
    bundle = load_bundle(make_bundle(tmp_path / "model"))
    path = export_openvino(bundle, tmp_path / "out" / "model.xml")
    assert sorted(file.name for file in path.parent.iterdir()) == ["model.bin", "model.xml"]
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 160, 96), np.uint8))
    with torch.inference_mode():
        wanted = bundle.model(bundle.info.preprocessing.normalize(pixels))
    got = openvino_session(path)(pixels.float().numpy())
    torch.testing.assert_close(torch.from_numpy(got), wanted, atol=1e-3, rtol=1e-3)
    with pytest.raises(BundleError, match=r"NAME\.xml"):
        export_openvino(bundle, tmp_path / "model.onnx")
