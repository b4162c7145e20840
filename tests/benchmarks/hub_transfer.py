"""Push and pull of a model of 100 MB against the bare calls of huggingface_hub, on loopback.

Push does all its checks (sound weights, account, rights, licences, card) and one atomic commit,
and is compared with `create_repo` + `upload_folder`; pull checks the digest of every file and is
compared with `snapshot_download`, which checks none over plain HTTP, and with the same followed by
`verify_repo_checksums`. The Hub is a process of its own on this machine, so a second of
network hides nothing. Rounds are interleaved, each with weights the Hub has never seen; the best
of each is compared, and both run once before. The target is 1.1.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from measuring import ROOT, child_environment, print_table, run_child

TARGET = 1.1
ENCODER = "resnet50.a1_in1k"
"""With a decoder it has some 26 million parameters, 104 MB."""

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


@contextmanager
def running_hub(folder: Path, *, xet: bool) -> Iterator[str]:
    """The address of a loopback Hub in a process of its own."""
    command = [sys.executable, "-m", "loopback_hub", "--folder", str(folder)]
    process = subprocess.Popen(
        command + ([] if xet else ["--no-xet"]),
        cwd=ROOT / "tests",
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def environment_for(endpoint: str, home: Path, *, xet: bool) -> dict[str, str]:
    """Variables of a client: this Hub, Alice's token, an empty home, no bars."""
    environment = {k: v for k, v in child_environment(threads=2).items() if k[:3] != "HF_"}
    return environment | {
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": "hf_alice",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "NO_PROXY": "*",
    }


def measure(bundle: Path, work: Path, rounds: int, *, xet: bool) -> dict[str, list[float]]:
    """Seconds of each round, by "push autoseg" and so on."""
    with running_hub(work / "hub", xet=xet) as endpoint:
        log = work / "client.log"
        client = Path(__file__).parent / "peers" / "transfer.py"
        run_child(
            [str(client), str(bundle), str(work / "cache"), str(rounds)],
            environment_for(endpoint, work / "home", xet=xet),
            log,
        )
    times: dict[str, list[float]] = json.loads(log.read_text().splitlines()[-1])
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--encoder", default=ENCODER)
    options = parser.parse_args()
    from bundle_helpers import make_bundle  # noqa: PLC0415 - found through sys.path above

    rows = []
    with TemporaryDirectory() as scratch:
        bundle = make_bundle(Path(scratch) / "bundle", encoder_name=options.encoder)
        (bundle / "README.md").write_text("---\ntags: [autoseg]\n---\n")
        size = (bundle / "model.safetensors").stat().st_size
        for xet in (True, False):
            work = Path(scratch) / ("xet" if xet else "lfs")
            work.mkdir()
            times = measure(bundle, work, options.rounds, xet=xet)
            for what in ("push", "pull"):
                ours, bare, verified = (
                    min(times[f"{what} {name}"]) for name in ("autoseg", "bare", "verified")
                )
                verdict = "met" if ours <= TARGET * bare else "missed"
                row = [f"{what}, {'Xet' if xet else 'LFS'}", f"{ours:.3f}", f"{bare:.3f}"]
                row += [f"{ours / bare:.2f}", verdict]
                checked = [f"{verified:.3f}", f"{ours / verified:.2f}"] if what == "pull" else []
                rows.append(row + (checked or ["", ""]))
    title = (
        f"{size / 1e6:.0f} MB over loopback, best of {options.rounds}, {os.cpu_count()} cores, in "
        f"seconds (target: ratio of {TARGET} or less)"
    )
    print_table(
        title, ["", "autoseg", "huggingface_hub", "ratio", "target", "verified", "ratio"], rows
    )


if __name__ == "__main__":
    main()
