import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bundle_helpers import make_bundle

from autoseg.data.workers import cpu_count
from autoseg.errors import ConfigError, TrainingError
from autoseg.training.hardware import (
    Precision,
    autotuned,
    choose_device,
    is_out_of_memory,
    limit_threads,
    only_fp16_is_fast,
    telling_of_memory,
)


def test_an_unknown_device_is_refused_with_the_way_out():
    for name in ("tpu", "cuda:99", "no such thing"):
        with pytest.raises(ConfigError, match='Try "auto" or "cpu"'):
            choose_device(name)


def test_auto_and_cpu_are_devices():
    assert choose_device("cpu").type == "cpu"
    torch.empty(1, device=choose_device("auto"))


def test_running_out_of_memory_is_told_from_other_errors():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_only_memory_that_ran_out_is_told_as_a_training_error():
    cpu = torch.device("cpu")
    with pytest.raises(TrainingError, match="Memory ran out on cpu"), telling_of_memory(cpu):
        torch.empty(2**62, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shape mismatch"), telling_of_memory(cpu):
        raise RuntimeError("shape mismatch")


@pytest.mark.parametrize(("bf16", "dtype"), [(False, torch.float32), (True, torch.bfloat16)])
def test_precision_decides_how_a_forward_pass_computes(bf16, dtype):
    with Precision(torch.device("cpu"), bf16).autocast():
        assert torch.nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2)).dtype == dtype


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_autotuning_holds_in_its_block_alone(monkeypatch, before, wanted):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    with pytest.raises(KeyError), autotuned(wanted):
        assert torch.backends.cudnn.benchmark is wanted
        raise KeyError
    assert torch.backends.cudnn.benchmark is before


@pytest.mark.parametrize(
    ("bf16", "fp16", "training", "predicting"),
    [
        (False, None, torch.float32, torch.float32),
        (True, None, torch.bfloat16, torch.bfloat16),
        (True, True, torch.bfloat16, torch.bfloat16),
        (False, True, torch.float16, torch.float32),
        (False, False, torch.float32, torch.float32),
    ],
)
def test_float16_is_for_training_alone(bf16, fp16, training, predicting):
    precision = Precision(torch.device("cpu"), bf16, fp16)
    network, images = torch.nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)
    assert precision.training_dtype == training
    with precision.training_autocast():
        assert network(images).dtype == training
    with precision.autocast():
        assert network(images).dtype == predicting


def test_no_cpu_trains_in_float16_unasked():
    assert not only_fp16_is_fast(torch.device("cpu"))


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """The root of a file system in which 0.7 of a core may be used."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text("70000 100000\n")
    return tmp_path


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_a_quota_is_rounded_up_to_whole_cores(container):
    assert cpu_count(container) == 1
    (container / "sys/fs/cgroup/cpu.max").write_text("9900000 100000\n")
    assert cpu_count(container) == cpu_count()


def test_torch_gets_no_more_threads_than_a_container_may_use_cores(
    container, three_threads, monkeypatch
):
    """With a quota of two cores on a host of 64 each operation waited for 64 threads."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert limit_threads(container) == 1 == torch.get_num_threads()


def test_who_sets_the_number_of_threads_has_it(container, three_threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert limit_threads(container) == 3 == torch.get_num_threads()


def test_threads_are_never_more_than_torch_has(container, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    (container / "sys/fs/cgroup/cpu.max").write_text("max 100000\n")
    assert torch.get_num_threads() == 1 == limit_threads(container)


ENTRIES = {
    "search": "autoseg.search(sys.argv[1], budget='1m', run=sys.argv[1] + '/run')",
    "predict": "autoseg.Predictor.from_pretrained(sys.argv[2])",
}


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or cpu_count() < 2, reason="needs two cores to leave one"
)
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_search_and_a_prediction_keep_to_the_cores_that_are_left(entry, tmp_path):
    """As torch is loaded it has two, and then one is taken away."""
    model = make_bundle(tmp_path / "model")
    code = (
        "import os, sys, torch, autoseg\n"
        "torch.set_num_threads(2)\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        f"try: {ENTRIES[entry]}\n"
        "except autoseg.AutosegError as error: print(error, file=sys.stderr)\n"
        "print(torch.get_num_threads())"
    )
    (tmp_path / "nothing").mkdir()
    environment = {
        **os.environ,
        "AUTOSEG_HOME": str(tmp_path / "home"),
        "OMP_NUM_THREADS": "",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "nothing"), str(model)],
        capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.stdout == "1\n", done.stderr
