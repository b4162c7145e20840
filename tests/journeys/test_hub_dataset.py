"""From a data set of the Hub to its model, as a person types it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_hub import LoopbackHub

from autoseg.data.sample import make_sample_dataset
from autoseg.hub.origins import read_card
from autoseg.search.run_folder import RunFolder

CARD = b"---\nlicense: cc-by-4.0\n---\n# Scenes\n"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = make_sample_dataset(tmp_path_factory.mktemp("scenes") / "set", 70, size=(64, 96))
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}
    return {**files, "README.md": CARD}


@pytest.fixture
def run(hub: LoopbackHub, tmp_path: Path) -> Run:
    """Run a command of autoseg whose Hub is the one of the tests."""

    def run(
        *arguments: object, token: str | None = None, xet: bool = True, offline: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        environment = hub.environment(tmp_path / "hf", token, xet)
        environment |= {"AUTOSEG_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
        environment |= {"HF_HUB_OFFLINE": "1"} if offline else {}
        return subprocess.run(
            [sys.executable, "-m", "autoseg", *map(str, arguments)],
            capture_output=True, text=True, env=environment, timeout=300,
        )  # fmt: skip

    return run


def test_a_private_data_set_is_checked_with_a_token_then_offline(hub, scenes, run):
    hub.add_repo("alice/scenes", scenes, repo_type="dataset", private=True)
    refused = run("check", "hf://alice/scenes")
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "alice/scenes" in refused.stderr and "sign" in refused.stderr

    checked = run("check", "hf://alice/scenes", "--json", token="hf_alice")
    assert checked.returncode == 0, checked.stderr
    commit = hub.repository("alice/scenes", "dataset").found_commit("main").oid
    assert f"Data set alice/scenes at {commit[:7]}" in checked.stderr
    value = json.loads(checked.stdout)
    assert value["verdict"]["pairs"] == 70 and value["verdict"]["skipped_count"] == 0
    note = f"From the Hub: alice/scenes at {commit[:7]}, licence cc-by-4.0."
    assert note in value["verdict"]["notes"]

    again = run("check", "hf://alice/scenes", "--json", offline=True)
    assert json.loads(again.stdout) == value


@pytest.mark.parametrize("xet", [True, False])
def test_a_table_is_checked_over_either_way_of_transfer(hub, scenes, run, tmp_path, xet):
    stems = sorted(Path(path).stem for path in scenes if path.startswith("images/"))
    by_stem = {(Path(p).parent.name, Path(p).stem): data for p, data in scenes.items()}
    columns = {
        name: [{"bytes": by_stem[folder, stem], "path": stem} for stem in stems]
        for name, folder in (("pixel_values", "images"), ("label", "masks"))
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    table = {"data/train-00000-of-00001.parquet": (tmp_path / "a.parquet").read_bytes()}
    hub.add_repo("alice/table", table, repo_type="dataset")
    checked = run("check", "hf://datasets/alice/table", "--json", xet=xet)
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["verdict"]["pairs"] == 70
    assert any("xet-read-token" in path for _, path, _ in hub.requests) == xet


@pytest.mark.slow
def test_a_search_from_the_hub_names_its_data_set(hub, scenes, run, tmp_path):
    hub.add_repo("alice/scenes", scenes, repo_type="dataset")
    # Half of it would do on a machine that has nothing else to do.
    command = ("search", "hf://alice/scenes", "--budget", "90s", "--max-side", "96")
    done = run(*command)
    assert done.returncode == 0, done.stderr + done.stdout
    found = RunFolder(tmp_path / "home" / "runs" / "scenes-1")
    commit = hub.repository("alice/scenes", "dataset").found_commit("main").oid
    source = {"repo_id": "alice/scenes", "revision": commit, "licence": "cc-by-4.0"}
    assert found.json("report/report.json")["data"]["source"] == source
    assert read_card(found.model / "README.md")["datasets"] == ["alice/scenes"]
    assert any("alice/scenes at" in note for note in found.json("verdict.json")["notes"])
