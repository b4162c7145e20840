"""One client: push and pull fresh models of one size by autoseg and by bare huggingface_hub.

Bare pulls check nothing over plain HTTP, so a third way verifies what it pulled, as ours does.

Prints, as JSON, the seconds of each round by name. Its Hub, token and switches come from the
environment, which huggingface_hub reads as it is imported: hence a process of its own.
"""

import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from safetensors.torch import load_file, save_file

from autoseg.hub.connection import connect
from autoseg.hub.pull import pull_model
from autoseg.hub.push import plan_push, push


def renew(folder: Path, seed: int) -> None:
    """Give a bundle other weights, so that the Hub has none of their bytes yet."""
    generator = torch.Generator().manual_seed(seed)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.normal_(generator=generator)
    save_file(tensors, file, metadata={"format": "pt"})


def seconds_of(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def bare_push(folder: Path, repo_id: str) -> None:
    huggingface_hub.create_repo(repo_id, private=True)
    huggingface_hub.upload_folder(repo_id=repo_id, folder_path=folder)


def our_push(folder: Path, repo_id: str) -> None:
    connection = connect()
    push(plan_push(folder, repo_id, connection), connection)


def bare_pull(repo_id: str, cache: Path) -> None:
    huggingface_hub.snapshot_download(repo_id, cache_dir=cache)


def verified_pull(repo_id: str, cache: Path) -> None:
    huggingface_hub.snapshot_download(repo_id, cache_dir=cache)
    huggingface_hub.HfApi().verify_repo_checksums(repo_id, cache_dir=cache)


def our_pull(repo_id: str, cache: Path) -> None:
    pull_model(repo_id, connect(cache_dir=cache))


PAIRS = {
    "autoseg": (our_push, our_pull),
    "bare": (bare_push, bare_pull),
    "verified": (bare_push, verified_pull),
}


def main() -> None:
    folder, work, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):  # The first warms both up.
        names = sorted(PAIRS, reverse=bool(number % 2))
        for name in names:
            renew(folder, seed=hash((number, name)) % 2**32)
            do_push, _ = PAIRS[name]
            repo_id = f"alice/{name}-{number}"
            took = seconds_of(lambda do=do_push, repo_id=repo_id: do(folder, repo_id))
            times.setdefault(f"push {name}", []).append(took)
        for name in names:
            _, do_pull = PAIRS[name]
            repo_id, cache = f"alice/{name}-{number}", work / f"{name}-{number}"
            took = seconds_of(lambda do=do_pull, repo_id=repo_id, cache=cache: do(repo_id, cache))
            times.setdefault(f"pull {name}", []).append(took)
            shutil.rmtree(cache)
    print(json.dumps({name: series[1:] for name, series in times.items()}))


if __name__ == "__main__":
    main()
