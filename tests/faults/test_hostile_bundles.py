"""Folders made to run code, to fetch something or to fill the memory of whoever loads them."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from bundle_helpers import make_bundle
from safetensors.torch import load_file, save_file
from smp_helpers import change_json, make_smp

from autoseg import engine_choice
from autoseg.bundle import Bundle, check_bundle, load_bundle
from autoseg.engines import EngineName, import_openvino, is_installed
from autoseg.errors import BundleError, ConfigError
from autoseg.export import describe_onnx, place_openvino, write_onnx
from autoseg.int8_files import (
    Int8Note,
    accept_int8,
    find_int8,
    int8_note_text,
    weights_digest,
)
from autoseg.predictor import Predictor
from autoseg.smp_models import weightless

MARKER = "AUTOSEG_WAS_FOOLED"
"""File in the working directory that every attack tries to make."""

CODE = f"__import__('pathlib').Path('{MARKER}').touch()"


class Attack:
    """Makes the marker when it is unpickled."""

    def __reduce__(self):
        return exec, (CODE,)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return {
        "ours": make_bundle(folder / "ours"),
        "stock": make_smp(folder / "stock"),
        "vit": make_smp(folder / "vit", "DPT", "tu-test_vit", dynamic_img_size=True),
    }


@pytest.fixture
def folder(originals, tmp_path):
    return Path(shutil.copytree(originals["stock"], tmp_path / "model"))


STRANGE_CONFIGS = {
    "a class that is code": {"_model_class": CODE},
    "a class that is a function of smp": {"_model_class": "from_pretrained"},
    "a class that is a module": {"_model_class": "os.system"},
    "a class with dunder": {"_model_class": "__import__"},
    "a class that is a path": {"_model_class": "../../etc/passwd"},
    "a class that is no text": {"_model_class": ["Unet"]},
    "an encoder on the Hub": {"encoder_name": "tu-hf_hub:evil/model"},
    "an encoder on the Hub, spelt otherwise": {"encoder_name": "tu-hf-hub:evil/model"},
    "an encoder in a folder": {"encoder_name": "tu-local-dir:/tmp/evil"},
    "an encoder at an address": {"encoder_name": "https://evil.example/model.pth"},
    "an encoder that is a path": {"encoder_name": "tu-../../evil"},
    "an old encoder that is a path": {"encoder_name": "timm-regnet../../evil"},
    "an encoder that is code": {"encoder_name": CODE},
    "an encoder that nobody knows": {"encoder_name": "resnet99999"},
    "an encoder of an unknown tag": {"encoder_name": "tu-resnet18.evil"},
    "weights from a file": {"checkpoint_path": "evil.pth"},
    "weights from a description": {"pretrained_cfg": {"file": "evil.pth"}},
    "weights over a description": {"pretrained_cfg_overlay": {"file": "evil.pth"}},
    "weights from the network": {"pretrained": True},
    "a folder to write to": {"cache_dir": "/tmp/evil"},
    "code for the features": {"features_cls": CODE},
    "an activation that is code": {"activation": CODE},
    "a norm that is code": {"decoder_use_norm": CODE},
    "a norm with code": {"decoder_use_norm": {"type": "batchnorm", "device": CODE}},
    "a norm that needs a package": {"decoder_use_norm": "inplace"},
    "an attention that is code": {"decoder_attention_type": CODE},
    "grey images": {"in_channels": 1},
    "a million channels in": {"in_channels": 10**6},
    "a billion classes": {"classes": 10**9},
    "no class": {"classes": 0},
    "half a class": {"classes": 1.5},
    "classes that are true": {"classes": True},
    "a wide decoder": {"decoder_channels": [10**9] * 5},
    "a decoder as wide as is let through": {"decoder_channels": [8192] * 5},
    "a decoder of a thousand stages": {"decoder_channels": [16] * 1000},
    "a deep encoder": {"encoder_depth": 10**9},
    "a negative depth": {"encoder_depth": -1},
    "a large image": {"img_size": 10**6},
    "a large patch": {"img_size": 2048, "patch_size": 10**6},
    "an unknown argument": {"surprise": 1},
    "a long unknown argument": {"x" * 100_000: 1},
    "a huge encoder": {"encoder_name": "tu-vit_giant_patch14_dinov2"},
    "another encoder": {"encoder_name": "resnet18"},
    "another class": {"_model_class": "Linknet"},
    "no class of model at all": {"_model_class": ...},
}


@pytest.mark.parametrize("name", STRANGE_CONFIGS)
def test_a_strange_configuration_is_refused_in_one_readable_error(folder, name):
    change_json(folder / "config.json", **STRANGE_CONFIGS[name])
    for read in (check_bundle, load_bundle):
        with pytest.raises(BundleError) as caught:
            read(folder)
        assert str(folder) in str(caught.value)
        assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


STRANGE_TEXTS = {
    "nothing": b"",
    "no object": b"[1]",
    "cut short": b'{"_model_class": "Unet"',
    "nested too deeply": b'{"a":' + b"[" * 400_000 + b"]" * 400_000 + b"}",
    "nested deeply": b'{"_model_class": "Unet", "classes": ' + b"[" * 900 + b"]" * 900 + b"}",
    "far too long": b'{"a": "' + b"x" * 50_000_000 + b'"}',
    "a key that stands twice": b'{"_model_class": "Unet", "_model_class": "FPN"}',
    "a number that is none": b'{"_model_class": "Unet", "decoder_dropout": NaN}',
    "a number without end": b'{"_model_class": "Unet", "decoder_dropout": 1e999}',
    "an integer without end": b'{"_model_class": "Unet", "classes": ' + b"9" * 100_000 + b"}",
    "no text": b"\xff\xfe\x00\x01",
    "a pickle": pickle.dumps(Attack()),
}  # fmt: skip


@pytest.mark.parametrize("name", STRANGE_TEXTS)
def test_a_configuration_that_is_no_sound_json_is_refused(folder, name):
    (folder / "config.json").write_bytes(STRANGE_TEXTS[name])
    with pytest.raises(BundleError) as caught:
        check_bundle(folder)
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 1000


ORDERS = "\x1b]0;pwned\x07\n[ok] pushed\u202e\x9b2J"
"""Text that a terminal would obey: a title, a line of its own, letters turned round, a wipe."""


def test_what_a_terminal_would_obey_is_taken_out_of_names_and_notes(originals, tmp_path):
    folder = shutil.copytree(originals["ours"], tmp_path / "model")
    file = folder / "config.json"
    ours = json.loads(file.read_text())["_autoseg"]
    ours["classes"]["names"] = [f"a{ORDERS}", "b" * 100_000, "ß 類 🌱"]
    ours["notes"] = [ORDERS * 50] * 100
    ours["versions"] = {f"autoseg{ORDERS}": ORDERS}
    ours["weights_licence"] = ORDERS
    change_json(file, _autoseg=ours)
    for info in (check_bundle(folder), load_bundle(folder).info):
        texts = (*info.classes.names, *info.notes, *info.versions, *info.versions.values())
        assert all(text.isprintable() and len(text) <= 500 for text in texts)
        assert info.weights_licence.isprintable() and len(info.notes) <= 20
        assert info.classes.names[2] == "ß 類 🌱"


@pytest.mark.parametrize("kind", ["ours", "stock"])
def test_no_error_repeats_what_a_terminal_would_obey(originals, tmp_path, kind):
    folder = shutil.copytree(originals[kind], tmp_path / "model")
    config, weights = folder / "config.json", folder / "model.safetensors"
    text = config.read_text()

    def refusal() -> str:
        with pytest.raises(BundleError) as caught:
            load_bundle(folder)
        return str(caught.value)

    change_json(config, **{ORDERS: 1})
    assert refusal().isprintable()
    if kind == "ours":
        version = {"format_version": 99, "versions": {"autoseg": ORDERS}}
        for wrong in ({ORDERS: 1}, version):
            change_json(config, _autoseg={**json.loads(text)["_autoseg"], **wrong})
            assert refusal().isprintable()
    config.write_text(text)
    save_file({**load_file(weights), ORDERS: torch.zeros(1)}, weights)
    assert refusal().isprintable()


def write_header(file: Path, header: object, body: bytes = b"", length: int | None = None) -> None:
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + body)


def tensor(shape: list[int], start: int, end: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "body", "length"),
    [
        ({"a": tensor([2**40], 0, 2**42)}, b"", None),  # Terabytes.
        ({"a": tensor([2**32, 2**32], 0, 0)}, b"", None),  # A product that overflows.
        ({"a": tensor([-1], 0, 4)}, b"\0" * 4, None),
        ({"a": tensor([1], 0, 4), "b": tensor([1], 0, 4)}, b"\0" * 4, None),  # Overlapping.
        ({"a": tensor([1], 4, 8)}, b"\0" * 8, None),  # With a hole.
        ({"a": tensor([1], 0, 4)}, b"\0" * 4, 2**62),
        ({"a": tensor([1], 0, 4)}, b"\0" * 4, 2**64 - 1),
        ({"a": tensor([1], 0, 4)}, b"\0" * 4, 0),
        ({"__metadata__": {"x": "y" * 12_000_000}}, b"", None),
        ({f"tensor {k}": tensor([0], 0, 0) for k in range(60_000)}, b"", None),
        ([], b"", None),
    ],
)
def test_weights_whose_header_lies_are_refused(folder, header, body, length):
    write_header(folder / "model.safetensors", header, body, length)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert "model.safetensors" in str(caught.value) and len(str(caught.value)) < 1000


def test_values_that_are_not_finite_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["segmentation_head.0.bias"][0] = float("inf")
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BundleError, match=r"segmentation_head\.0\.bias .*not finite"):
        load_bundle(folder)


SWIN = "tu-swin_tiny_patch4_window7_224"


def write_swin(folder: Path, **options: object) -> None:
    """A folder whose sparse file holds exactly the tensors of its configuration."""
    arguments = {"encoder_name": SWIN, "classes": 3, **options}
    with weightless():
        network = smp.FPN(encoder_weights=None, **arguments)
    header, end = {}, 0
    for name, part in network.state_dict().items():
        kind = {torch.float32: "F32", torch.int64: "I64"}[part.dtype]
        offsets = [end, end := end + part.nbytes]
        header[name] = {"dtype": kind, "shape": list(part.shape), "data_offsets": offsets}
    folder.mkdir(parents=True)
    file = folder / "model.safetensors"
    write_header(file, header)
    os.truncate(file, file.stat().st_size + end)
    (folder / "config.json").write_text(json.dumps({"_model_class": "FPN", **arguments}))


@pytest.mark.parametrize("side, window", [(2048, 64), (1024, 32)])
def test_a_network_that_makes_up_far_more_than_its_file_holds_is_refused(tmp_path, side, window):
    """Masks of attention stand in no file, and grow with what the configuration says alone."""
    write_swin(tmp_path / "model", img_size=side, window_size=window)
    with pytest.raises(BundleError, match="beside its weights"):
        check_bundle(tmp_path / "model")


def test_a_network_for_large_images_whose_masks_fit_its_file_is_let_through(tmp_path):
    write_swin(tmp_path / "model", img_size=1024, window_size=7)
    check_bundle(tmp_path / "model")


def test_one_tensor_under_its_old_and_its_new_name_is_refused(tmp_path):
    folder = make_smp(tmp_path, "DeepLabV3", decoder_channels=32)
    weights = load_file(folder / "model.safetensors")
    weights["decoder.2.bias"] = weights["decoder.bn.bias"].clone()
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BundleError, match="under two names"):
        load_bundle(folder)


def test_a_pickle_is_never_read_and_the_error_says_why(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save(Attack(), folder / "pytorch_model.bin")
    with pytest.raises(BundleError, match=r"only pytorch_model\.bin.*can run any code"):
        load_bundle(folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(folder)
    assert not (tmp_path / MARKER).exists()


def test_weights_in_several_files_are_refused_as_such(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(BundleError, match="split over several files"):
        load_bundle(folder)


def test_a_model_of_another_library_is_named(folder):
    (folder / "config.json").write_text('{"model_type": "segformer"}')
    with pytest.raises(BundleError, match="model of another library.*segformer"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_link_that_leads_out_of_the_folder_is_refused(folder, tmp_path, name):
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(BundleError, match="outside of the model's folder"):
        load_bundle(folder)


def test_links_of_the_hub_s_cache_are_followed(folder, tmp_path):
    repository = tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / ("a" * 40)
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.move(folder / name, repository / "blobs" / name)
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    load_bundle(snapshot)
    secret = tmp_path / "secret"
    shutil.copy(repository / "blobs" / "config.json", secret)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(secret)
    with pytest.raises(BundleError, match="outside of the model's folder"):
        load_bundle(snapshot)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_what_is_no_regular_file_is_refused_without_waiting(folder, make, name):
    (folder / name).unlink()
    make(folder / name)
    with pytest.raises(BundleError, match="no regular file"):
        load_bundle(folder)


RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(not is_installed(name), reason=f"no {name} here"))
    for name in ("onnxruntime", "openvino")
]


def forged(bundle: Bundle, name: EngineName, note: Int8Note) -> Path:
    """A sound network beside a model that says of itself what an accepted one does."""
    network = bundle.path / "forged.onnx"
    write_onnx(bundle, network)
    text = int8_note_text(bundle, note)
    if name == "openvino":
        return place_openvino(network, bundle.path / "forged.xml", text, lambda file: None)
    describe_onnx(network, text)
    return network


@pytest.fixture
def parsed(monkeypatch):
    """What the runtimes' parsers are given."""
    given: list[str] = []

    def watch(owner: object, function: str) -> None:
        original = getattr(owner, function)

        def watched(*arguments: object, **options: object) -> object:
            given.extend(
                str(argument) for argument in arguments if isinstance(argument, str | Path)
            )
            return original(*arguments, **options)

        monkeypatch.setattr(owner, function, watched)

    import onnx  # noqa: PLC0415
    import onnxruntime  # noqa: PLC0415

    watch(onnx, "load")
    watch(onnxruntime, "InferenceSession")
    if is_installed("openvino"):
        watch(import_openvino().Core, "read_model")
        watch(import_openvino().Core, "compile_model")
    return given


@pytest.mark.skipif(not is_installed("onnxruntime"), reason="the extra onnx is not installed")
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_network_that_this_machine_did_not_accept_is_neither_parsed_nor_used(
    originals, tmp_path, monkeypatch, parsed, name
):
    """All that it says of itself can be computed by whoever publishes a model."""
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(engine_choice, "PATIENCE_S", 0.0)
    monkeypatch.setattr(engine_choice, "_FASTER", 1e9)
    bundle = load_bundle(shutil.copytree(originals["ours"], tmp_path / "model"))
    note = Int8Note(weights_digest(bundle), 0.9, 0.9, "every layer")
    file = forged(bundle, name, note)
    (tmp_path / "own.onnx").write_bytes(b"accepted")  # That there is another one changes nothing.
    accept_int8(tmp_path / "own.onnx", "onnxruntime", note)
    parsed.clear()
    image = np.zeros((90, 80, 3), np.uint8)
    asked = Predictor.from_pretrained(bundle.path, device="cpu", engine=name)
    auto = Predictor.from_pretrained(bundle.path, device="cpu")
    for _ in range(3):
        assert asked.predict(image).engine == name
        auto.predict(image)
    auto._network.preparing.join()
    assert auto.engine in ("onnxruntime", "openvino")
    with pytest.raises(ConfigError, match="accepted on this machine"):
        Predictor.from_pretrained(bundle.path, device="cpu", engine=f"{name} int8")
    assert parsed and not [path for path in parsed if path.startswith(str(bundle.path))]
    accept_int8(file, name, note)
    in_int8 = Predictor.from_pretrained(bundle.path, device="cpu", engine=f"{name} int8")
    assert in_int8.predict(image).engine == f"{name} int8"
    assert str(file) in parsed


@pytest.mark.skipif(not is_installed("onnxruntime"), reason="the extra onnx is not installed")
def test_what_is_large_or_no_file_is_not_read_as_a_network(originals, tmp_path, monkeypatch):
    """Reading any of these would go on for ever."""
    monkeypatch.setenv("AUTOSEG_HOME", str(tmp_path / "home"))
    bundle = load_bundle(shutil.copytree(originals["ours"], tmp_path / "model"))
    note = Int8Note(weights_digest(bundle), 0.9, 0.9, "every layer")
    (bundle.path / "own.onnx").write_bytes(b"accepted")
    accept_int8(bundle.path / "own.onnx", "onnxruntime", note)
    os.utime(bundle.path / "own.onnx", (0, 0))  # The others are looked at before it.
    for name in ("queue.onnx", "network.bin"):
        os.mkfifo(bundle.path / name)
    (bundle.path / "network.xml").write_text("<net/>")
    (bundle.path / "folder.onnx").mkdir()
    (bundle.path / "link.onnx").symlink_to("/dev/zero")
    (bundle.path / "large.onnx").touch()
    os.truncate(bundle.path / "large.onnx", 2**40)
    assert find_int8(bundle, "onnxruntime").path == bundle.path / "own.onnx"
    assert find_int8(bundle, "openvino") is None
    with pytest.raises(OSError, match="no regular file"):
        accept_int8(bundle.path / "large.onnx", "onnxruntime", note)


LOAD_ALL = """
import os, resource, sys, time
from pathlib import Path
from autoseg.bundle import load_bundle
from autoseg.errors import BundleError

root = Path(sys.argv[1])
for name in ("ours", "stock", "vit"):
    load_bundle(root / "sound" / name)

FORBIDDEN = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen",
             "socket.connect", "socket.getaddrinfo", "os.fork", "ctypes.dlopen")
caught = []

def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY
    if event in FORBIDDEN or writes:
        caught.append((event, str(arguments)[:200]))

def peak():
    # Not `ru_maxrss`: a child inherits that from the process that started it.
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(status["VmHWM"].split()[0]) * 1024

def refused(folder):
    start = time.process_time()
    try:
        load_bundle(folder)
    except BundleError:
        return time.process_time() - start, folder.name
    raise SystemExit(f"{folder} was loaded")

folders = sorted(root.glob("hostile/*"))
before = peak()
slowest = max(refused(folder) for folder in folders)
grown = peak() - before
sys.addaudithook(watch)
for folder in folders:
    refused(folder)
assert not caught, caught
print(grown, *slowest, sep="|")
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own record")
def test_refusing_runs_nothing_and_takes_little_time_and_memory(originals, tmp_path):
    """All attacks in one process that notes every file opened to write, socket and unpickling."""
    root = tmp_path / "all"
    for name, original in originals.items():
        shutil.copytree(original, root / "sound" / name)
    for name, values in STRANGE_CONFIGS.items():
        folder = root / "hostile" / name
        shutil.copytree(originals["vit" if "encoder" in name else "stock"], folder)
        change_json(folder / "config.json", **values)
        torch.save(Attack(), folder / "evil.pth")
        torch.save(Attack(), folder / "pytorch_model.bin")
    for name, text in STRANGE_TEXTS.items():
        folder = root / "hostile" / name
        shutil.copytree(originals["stock"], folder)
        (folder / "config.json").write_bytes(text)
    # Large networks around small files.
    lies = {"encoder_name": "tu-vit_giant_patch14_dinov2", "img_size": 2016}
    shutil.copytree(originals["vit"], root / "hostile" / "giant")
    change_json(root / "hostile" / "giant" / "config.json", **lies)
    shutil.copytree(originals["ours"], root / "hostile" / "large")
    config = root / "hostile" / "large" / "config.json"
    recipe = json.loads(config.read_text())["_autoseg"]
    recipe["recipe"]["encoder_name"] = "convnext_base.fb_in22k_ft_in1k"
    change_json(config, _autoseg=recipe, encoder_name="tu-convnext_base.fb_in22k_ft_in1k")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD_ALL, str(root)],
        capture_output=True, text=True, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    grown, seconds, slowest = done.stdout.strip().split("|")
    print(f"{int(grown) / 1e6:.0f} MB more, the slowest {slowest!r} with {float(seconds):.2f} s")
    assert not (tmp_path / MARKER).exists()
    assert int(grown) < 200e6
    assert float(seconds) < 1
